"""In a folder that others may write to, nothing is written through what they put there; modes follow the umask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import FileRateLimit, RateWindow
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.temporary_files import temporary_name
from marketpipe.testing import FakeClock


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_bytes(b"precious")
    os.utime(file, ns=(1, 1))
    return file


def test_a_link_under_a_temporary_name_is_not_followed(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    before, number = temporary_name("day=02.parquet").removesuffix(".tmp").rsplit("-", 1)
    (folder / f"{before}-{int(number) + 1}.tmp").symlink_to(victim)

    DurableFiles().publish({folder / "day=02.parquet": b"bars"}, modified_ns=5_000_000_000)

    assert (victim.read_bytes(), victim.stat().st_mtime_ns) == (b"precious", 1)
    assert (folder / "day=02.parquet").read_bytes() == b"bars"
    assert not (folder / "day=02.parquet").is_symlink()


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "day=02.parquet").symlink_to(victim)

    DurableFiles().publish({tmp_path / "day=02.parquet": b"bars"})

    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "day=02.parquet").is_symlink()


def test_a_link_in_the_place_of_the_shared_rate_limit_is_not_followed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "rate-limit-alpaca").symlink_to(victim)
    turns = FileRateLimit(tmp_path / "rate-limit-alpaca", [RateWindow(10)], FakeClock())

    with pytest.raises(StateError, match="cannot share the rate limit"):
        turns.reserve()

    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(("umask", "folder", "file"), [(0o077, 0o700, 0o600), (0o002, 0o775, 0o664)])
def test_files_and_folders_are_as_private_as_the_umask_says(tmp_path: Path, umask: int, folder: int, file: int) -> None:
    before = os.umask(umask)
    try:
        DurableFiles().publish({tmp_path / "symbol=AAPL" / "day=02.parquet": b"bars"})
    finally:
        os.umask(before)

    assert (tmp_path / "symbol=AAPL").stat().st_mode & 0o777 == folder
    assert (tmp_path / "symbol=AAPL" / "day=02.parquet").stat().st_mode & 0o777 == file
