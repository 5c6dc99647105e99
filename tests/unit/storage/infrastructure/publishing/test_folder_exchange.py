from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk, exchange_folders
from marketpipe.storage.infrastructure.compacted.month_file import StoredDayFile
from marketpipe.storage.infrastructure.publishing.access_rights import (
    ACCESS_LISTS,
    AccessRights,
    give_rights,
    rights_of,
)
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.folder_exchange import (
    Exchanged,
    FolderExchange,
)
from marketpipe.storage.infrastructure.publishing.temporary_files import is_temporary

ANYONE = 0xFFFFFFFF
"""In the place of a user, in entries of an access control list that are of none."""
OLD, NEW = {"a": b"old a", "b": b"old b"}, [StoredDayFile("c", b"new c", 1_700_000_000_123_456_789)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made(root: Path) -> Path:
    folder = root / "data" / "month=01"
    folder.mkdir(parents=True)
    for name, content in OLD.items():
        (folder / name).write_bytes(content)
    return folder


def exchange_in(
    root: Path, how: Callable[[Path, Path], None] = exchange_folders, machine: Machine = HERE
) -> FolderExchange:
    return FolderExchange(DurableFiles(), root / "data", root / "staging", None, how, machine)


def test_the_files_of_a_folder_are_replaced_and_the_former_ones_removed(tmp_path: Path) -> None:
    folder = made(tmp_path)

    assert exchange_in(tmp_path).replace(folder, NEW, lambda _: True) is Exchanged.DONE

    assert contents(folder) == {"c": b"new c"}
    assert (folder / "c").stat().st_mtime_ns == NEW[0].modified_ns
    assert contents(tmp_path / "staging") == {}


def test_the_former_folder_is_seen_by_who_decides_and_gets_its_place_back(tmp_path: Path) -> None:
    folder, seen = made(tmp_path), list[dict[str, bytes]]()

    def is_as_expected(former: Path) -> bool:
        seen.append(contents(former))
        return False

    assert exchange_in(tmp_path).replace(folder, NEW, is_as_expected) is Exchanged.CHANGED_MEANWHILE
    assert seen == [OLD]
    assert contents(folder) == OLD
    assert contents(tmp_path / "staging") == {}


def test_an_error_of_who_decides_gives_the_former_folder_its_place_back(tmp_path: Path) -> None:
    folder = made(tmp_path)

    def refuse(_: Path) -> bool:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(StorageError, match="broken"):
        exchange_in(tmp_path).replace(folder, NEW, refuse)
    assert contents(folder) == OLD


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EXDEV])
def test_where_folders_cannot_be_exchanged_nothing_changes(tmp_path: Path, code: int) -> None:
    folder = made(tmp_path)

    def refuse(_: Path, other: Path) -> None:
        raise OSError(code, os.strerror(code), str(other))

    assert exchange_in(tmp_path, refuse).replace(folder, NEW, lambda _: True) is Exchanged.UNSUPPORTED
    assert contents(folder) == OLD
    assert contents(tmp_path / "staging") == {}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPERM, errno.EACCES])
def test_another_error_names_the_folder_and_changes_nothing(tmp_path: Path, code: int) -> None:
    folder = made(tmp_path)

    def refuse(_: Path, other: Path) -> None:
        raise OSError(code, os.strerror(code), str(other))

    with pytest.raises(StorageError, match=rf"month=01: {os.strerror(code)}. Nothing was lost"):
        exchange_in(tmp_path, refuse).replace(folder, NEW, lambda _: True)
    assert contents(folder) == OLD
    assert contents(tmp_path / "staging") == {}


def test_a_system_without_the_call_cannot_exchange_folders(tmp_path: Path) -> None:
    folder = made(tmp_path)

    def exchange(one: Path, other: Path) -> None:
        exchange_folders(one, other, object())

    assert exchange_in(tmp_path, exchange).replace(folder, NEW, lambda _: True) is Exchanged.UNSUPPORTED
    assert contents(folder) == OLD


def test_the_new_files_are_synced_before_the_exchange_and_both_folders_before_the_former_files_go(
    tmp_path: Path,
) -> None:
    folder, steps = made(tmp_path), list[str]()

    class Watched(RealDisk):
        def fsync(self, fd: int, /) -> None:
            steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).name.partition('.tmp')[0]}")
            os.fsync(fd)

    def exchange(one: Path, other: Path) -> None:
        steps.append("exchange")
        exchange_folders(one, other)

    exchange_in(tmp_path, exchange, Machine(Watched())).replace(folder, NEW, lambda _: not steps.append("kept"))

    assert [step.partition(" .")[0] for step in steps] == [
        "sync",
        "sync month=01",
        "exchange",
        "kept",
        "sync data",
        "sync",
    ]


def test_what_a_process_that_is_gone_has_left_is_swept(tmp_path: Path) -> None:
    exchange = exchange_in(tmp_path)
    names = list[str]()

    def keep_the_name(staged: Path, other: Path) -> None:
        names.append(staged.parent.name)
        exchange_folders(staged, other)

    exchange_in(tmp_path, keep_the_name).replace(made(tmp_path), NEW, lambda _: True)
    (ours,) = names
    assert is_temporary(ours)
    gone = tmp_path / "staging" / ".exchange.999999999-1.tmp"
    for left in (gone, tmp_path / "staging" / ours, tmp_path / "staging" / "symbol=AAPL"):
        (left / "month=01").mkdir(parents=True)

    exchange.sweep()

    assert {path.name for path in (tmp_path / "staging").iterdir()} == {ours, "symbol=AAPL"}


def test_the_new_folder_and_its_files_have_group_and_mode_of_the_former_ones(tmp_path: Path) -> None:
    folder = made(tmp_path)
    groups = [*os.getgroups(), *([54321] if os.geteuid() == 0 else [])]  # root may give any
    for path in folder.iterdir():
        os.chown(path, -1, groups[-1])
        path.chmod(0o660)
    os.chown(folder, -1, groups[-1])
    folder.chmod(0o2770)
    before = rights(folder), rights(folder / "a")

    assert exchange_in(tmp_path).replace(folder, NEW, lambda _: True) is Exchanged.DONE

    assert (rights(folder), rights(folder / "c")) == before


def rights(path: Path) -> tuple[int, int]:
    return path.stat().st_gid, path.stat().st_mode


def access_list(user: int) -> bytes:
    """Return what ``setfacl -m u:USER:r`` writes: read for the owner and this user, nothing for anyone else."""
    entries = [(1, 6, ANYONE), (2, 4, user), (4, 0, ANYONE), (16, 4, ANYONE), (32, 0, ANYONE)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="access control lists of another kind")
def test_what_access_control_lists_grant_is_kept(tmp_path: Path) -> None:
    rights = AccessRights(os.getuid(), os.getgid(), 0o640, {ACCESS_LISTS[0]: access_list(12345)})
    plain, listed = tmp_path / "plain", tmp_path / "listed"
    for path in (plain, listed):
        path.write_bytes(b"bars")
    before = rights_of(plain)
    try:
        give_rights(listed, rights)
    except OSError as error:
        pytest.skip(f"{tmp_path} is on a file system without access control lists: {error}")

    assert rights_of(listed) == rights
    give_rights(plain, rights_of(listed))
    assert rights_of(plain) == rights
    give_rights(plain, before)
    assert rights_of(plain) == before


def test_a_folder_without_a_file_gets_files_and_what_was_swept_once_is_not_swept_again(tmp_path: Path) -> None:
    folder, exchange = tmp_path / "data" / "month=01", exchange_in(tmp_path)
    folder.mkdir(parents=True)
    assert exchange.replace(folder, NEW, lambda _: True) is Exchanged.DONE
    left = tmp_path / "staging" / ".exchange.999999999-1.tmp"
    left.mkdir()

    assert exchange.replace(folder, [], lambda _: True) is Exchanged.DONE

    assert (contents(folder), left.exists()) == ({}, True)


def test_a_group_that_may_not_be_given_leaves_the_new_file_no_more_rights_than_others_have(tmp_path: Path) -> None:
    class NotAllowed(RealDisk):
        def chown(self, path: AnyPath | int, /, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    new = tmp_path / "new"
    new.write_bytes(b"bars")

    give_rights(new, AccessRights(12345, 54321, 0o664, {}), NotAllowed())

    assert stat.S_IMODE(new.stat().st_mode) == 0o644
