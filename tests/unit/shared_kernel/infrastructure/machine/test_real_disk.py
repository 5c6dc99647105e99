from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK, exchange_folders


def test_arrow_reads_a_file_through_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"bars")
    with REAL_DISK.opened(str(tmp_path / "x")) as file:
        assert file.read() == b"bars"
    assert REAL_DISK.mapped(str(tmp_path / "x")).to_pybytes() == b"bars"


def test_a_file_is_on_its_way_to_the_disk_when_asked(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "x", os.O_CREAT | os.O_WRONLY)
    REAL_DISK.begin_to_store(descriptor)
    os.close(descriptor)


def test_locks_are_those_of_the_system(tmp_path: Path) -> None:
    one, other = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    REAL_DISK.flock(one, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        REAL_DISK.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(one)
    os.close(other)


def test_folders_are_exchanged(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).write_bytes(b"")
    try:
        REAL_DISK.exchange(one, other)
    except OSError as error:
        pytest.skip(f"this file system exchanges no folders: {error}")
    assert [os.listdir(one), os.listdir(other)] == [["other"], ["one"]]


def test_an_exchange_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not implemented"):
        exchange_folders(tmp_path, tmp_path, object())
