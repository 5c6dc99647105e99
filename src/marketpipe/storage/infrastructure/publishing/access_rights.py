"""Who may read files that take the place of others: those who could read the others."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def give_rights(new: Path, former: os.stat_result) -> None:
    """Give a new file or folder the group and the mode of a former one, durably. Raises ``OSError``.

    A group that this process may not give is left out; then the group of the new one has no more rights than others.
    """
    found, mode = os.lstat(new), stat.S_IMODE(former.st_mode)
    if (found.st_gid, stat.S_IMODE(found.st_mode)) == (former.st_gid, mode):
        return
    if found.st_gid != former.st_gid:
        with suppress(PermissionError):
            os.chown(new, -1, former.st_gid, follow_symlinks=False)
        if os.lstat(new).st_gid != former.st_gid:
            mode = mode & ~(stat.S_IRWXG | stat.S_ISGID) | (mode & stat.S_IRWXO) << 3
    os.chmod(new, mode)
    descriptor = os.open(new, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
