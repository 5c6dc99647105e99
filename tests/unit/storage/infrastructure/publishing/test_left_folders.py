"""What a process has left is removed only if the store surely has all of it."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest
from attrs import define

from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk, Scan
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.folder_exchange import FolderExchange
from marketpipe.storage.infrastructure.publishing.left_folders import remove_left_folder

MONTH = "symbol=AAPL/year=2024/month=01"


@define
class DiskWithAnError(RealDisk):
    """One folder of this name cannot be listed once."""

    name: str

    def scandir(self, path: AnyPath | int, /) -> Scan:  # type: ignore[override]
        if str(path).endswith(self.name):
            self.name = "/"
            raise OSError(errno.EIO, "Input/output error", path)
        return RealDisk.scandir(path)


@pytest.mark.parametrize("name", ["left", "month=01"])
def test_a_folder_that_cannot_be_listed_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    day = tmp_path / "left" / MONTH / "day=02.parquet"
    day.parent.mkdir(parents=True)
    day.write_bytes(b"the only copy")

    with caplog.at_level(logging.WARNING):
        remove_left_folder(tmp_path / "left", tmp_path / "data", DiskWithAnError(name))

    assert day.read_bytes() == b"the only copy"
    assert "was left by a process that ended, and stays" in caplog.text


def test_nothing_is_swept_where_nothing_can_be_listed(tmp_path: Path) -> None:
    left = tmp_path / "staging" / ".exchange.999999999-1.tmp"
    left.mkdir(parents=True)
    machine = Machine(disk=DiskWithAnError("staging"))
    exchange = FolderExchange(DurableFiles(), tmp_path / "data", tmp_path / "staging", machine=machine)

    exchange.sweep()
    assert left.exists()
    exchange.sweep()
    assert not left.exists()
