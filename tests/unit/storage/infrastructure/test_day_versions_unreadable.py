"""Day files that cannot be read: what is damaged is replaced by a whole answer, and what may be whole is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.infrastructure.day_versions import find_stored
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

AAPL = day("AAPL", "2024-01-02")


class Refusing(RealDisk):
    """A disk on which files whose names have ``part`` in them cannot be opened to be read."""

    def __init__(self, part: str, code: int = errno.EIO, times: int = 99) -> None:
        self._part, self._code, self._times = part, code, times

    def open(self, path: Any, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if self._part in str(path) and not flags & (os.O_WRONLY | os.O_RDWR) and self._times:
            self._times -= 1
            raise OSError(self._code, os.strerror(self._code), str(path))
        return os.open(path, flags, mode, dir_fd=dir_fd)


def test_a_stored_file_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    found = find_stored(store.path(AAPL), dict, Refusing("day=02"))
    assert found is not None
    assert str(found.damage).endswith("day=02.parquet cannot be read: Input/output error")


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_an_error_that_does_not_come_again_costs_no_version(tmp_path: Path, code: int) -> None:
    store = StoreOnDisk(tmp_path, machine=Machine(Refusing("day=02", code, times=1)))
    (first,) = store.keep((AAPL, [at(0)]))
    store.clock.advance(60)

    store.keep((AAPL, [at(minute, 200.0) for minute in range(390)]))

    assert first.known_since is not None
    assert store.layout.revision(Revision(AAPL, first.known_since)).exists()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_file_that_cannot_be_read_for_want_of_means_is_not_replaced(tmp_path: Path, code: int) -> None:
    """It is whole, and would be lost without a revision."""
    StoreOnDisk(tmp_path).keep((AAPL, [at(0)]))
    path = StoreOnDisk(tmp_path).path(AAPL)
    before, store = path.read_bytes(), StoreOnDisk(tmp_path, machine=Machine(Refusing("day=02", code)))

    with pytest.raises(StorageError, match=rf"cannot read .*day=02\.parquet: {os.strerror(code)}"):
        store.keep((AAPL, [at(minute, 200.0) for minute in range(390)]))

    assert path.read_bytes() == before


class WithoutLinks(Refusing):
    """A disk that refuses a link to a file that cannot be read, as Linux does for those of other users."""

    def link(self, source: Any, target: Any, /) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(source))


@pytest.mark.parametrize("disk", [Refusing("day=02"), WithoutLinks("day=02", errno.EACCES)])
@pytest.mark.parametrize("withdrawn", [False, True])
def test_what_cannot_be_read_is_kept_before_a_whole_answer_takes_its_place(
    tmp_path: Path, disk: Refusing, withdrawn: bool, caplog: pytest.LogCaptureFixture
) -> None:
    StoreOnDisk(tmp_path).keep((AAPL, [at(0)]))
    store = StoreOnDisk(tmp_path, machine=Machine(disk))
    before = store.path(AAPL).read_bytes()

    if withdrawn:
        store.partitions.withdraw([AAPL])
    else:
        store.keep((AAPL, [at(minute, 200.0) for minute in range(390)]))

    kept = store.layout.quarantine / "symbol=AAPL/year=2024/month=01/day=02.parquet.1.bak"
    assert (store.path(AAPL).exists(), kept.read_bytes()) == (not withdrawn, before)
    assert f"It is {kept} now" in caplog.text


def test_what_is_damaged_and_can_be_read_is_not_kept(tmp_path: Path) -> None:
    """Nobody can make bars of it again."""
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    store.path(AAPL).write_bytes(b"damaged")

    store.keep((AAPL, [at(minute, 200.0) for minute in range(390)]))

    assert not list(store.layout.quarantine.rglob("*.bak"))
