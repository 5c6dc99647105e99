"""Who may read files that take the place of others: those who could read the others."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK

ACCESS_LISTS: Final = ("system.posix_acl_access", "system.posix_acl_default")
"""The attributes in which Linux keeps what ``setfacl`` grants; only a folder has the second one."""


class AccessRights(NamedTuple):
    """Owner, group and mode of a file or folder, and its access control lists, on Linux."""

    owner: int
    group: int
    mode: int
    lists: Mapping[str, bytes]


def rights_of(path: Path, disk: Disk = REAL_DISK) -> AccessRights:
    """Return the rights of a file or folder; of a link its own. Raises ``OSError``."""
    found = disk.lstat(path)
    return AccessRights(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), _access_lists(path, disk))


def give_rights(new: Path, former: AccessRights, disk: Disk = REAL_DISK) -> None:
    """Give a new file or folder the rights of a former one, durably. Raises ``OSError``.

    An owner or a group that this process may not give is left out; then the group of the new one has no more rights
    than others, and access lists are not kept.
    """
    found, mode = rights_of(new, disk), former.mode
    if found == former:
        return
    if found.owner != former.owner:
        with suppress(PermissionError):
            disk.chown(new, former.owner, -1, follow_symlinks=False)
    if found.group != former.group:
        with suppress(PermissionError):
            disk.chown(new, -1, former.group, follow_symlinks=False)
    has_group = disk.lstat(new).st_gid == former.group
    if not has_group:
        mode = mode & ~(stat.S_IRWXG | stat.S_ISGID) | (mode & stat.S_IRWXO) << 3
    _set_access_lists(new, found.lists, former.lists if has_group else {}, disk)
    disk.chmod(new, mode)
    descriptor = disk.open(new, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def _access_lists(path: Path, disk: Disk) -> Mapping[str, bytes]:
    """Return the lists of a file or folder by attribute; none where the system or the file system has none."""
    found = dict[str, bytes]()
    for name in ACCESS_LISTS:
        with suppress(OSError):
            found[name] = disk.getxattr(path, name, follow_symlinks=False)
    return found


def _set_access_lists(path: Path, found: Mapping[str, bytes], wanted: Mapping[str, bytes], disk: Disk) -> None:
    """Replace the lists that a new file or folder was found with, such as those that its folder gives to new files."""
    for name in found.keys() - wanted.keys():
        disk.removexattr(path, name, follow_symlinks=False)
    for name, content in wanted.items():
        disk.setxattr(path, name, content, follow_symlinks=False)
