"""A file whose dataset has rotted is damaged: it blocks nothing, verify names it, and the next ingestion heals it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from marketpipe import DatasetMismatchError
from tests.integration.test_official_days_of_a_store import AAPL, DATES, MONDAY, TUESDAY, known, made, market


def with_other_dataset(path: Path) -> bytes:
    """Alter one bit of the dataset that the file names, and return what it was."""
    content, times = path.read_bytes(), path.stat()
    at = content.index(b"raw", content.index(b"marketpipe.adjustment"))
    path.write_bytes(content[:at] + b"Raw" + content[at + 3 :])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return content


@pytest.mark.parametrize("file", ["official/symbol=AAPL/year=2024.parquet", f"data/symbol=AAPL/{DATES[0]}"])
@pytest.mark.parametrize("times", [1, 2], ids=["verified", "verified twice"])
def test_a_rotted_dataset_is_named_and_healed(tmp_path: Path, file: str, times: int) -> None:
    provider = market(AAPL)
    path = tmp_path / file.replace(DATES[0], "year=2024/month=03/day=08.parquet")
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
    if "data" in file:  # the only one
        for other in path.parent.glob("day=1*.parquet"):
            other.unlink()
    content = with_other_dataset(path)

    with made(tmp_path, provider, AAPL) as opened:
        opened.plan()
        for _ in range(times):
            named = {problem.path for problem in opened.verify().problems}
            assert str(path.relative_to(tmp_path)) in named
        assert opened.ingest().ok
        assert opened.verify().ok
        assert known(opened) == dict.fromkeys(DATES, 100.5)
    assert path.read_bytes() == content


def test_a_file_of_another_dataset_in_the_place_of_a_recorded_one_is_refused_and_stays(tmp_path: Path) -> None:
    with made(tmp_path / "one", market(AAPL), AAPL, official_path=tmp_path / "other" / "official") as opened:
        opened.ingest()
    path = tmp_path / "other" / "official" / "symbol=AAPL" / "year=2024.parquet"
    provider = market(AAPL, feed="another")
    path.rename(tmp_path / "kept")
    with made(tmp_path / "other", provider, AAPL) as opened:
        opened.ingest()
    (tmp_path / "kept").replace(path)
    content = path.read_bytes()

    with (
        made(tmp_path / "other", provider, AAPL) as opened,
        pytest.raises(DatasetMismatchError, match="give another official_path"),
    ):
        opened.ingest()
    assert path.read_bytes() == content


def test_days_of_a_file_that_is_newer_than_its_record_are_known_though_only_some_are_requested(tmp_path: Path) -> None:
    """As after a process that was killed between the two, and days that were to be requested again."""
    provider, state = market(AAPL), tmp_path / "state" / "marketpipe.sqlite"
    with made(tmp_path, provider, AAPL, end=MONDAY) as opened:
        opened.ingest()
    with closing(sqlite3.connect(state)) as connection:
        (former,) = connection.execute("SELECT * FROM official_years").fetchall()
    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest()
    with closing(sqlite3.connect(state)) as connection, connection:
        connection.execute(f"REPLACE INTO official_years VALUES ({', '.join('?' * len(former))})", former)
        connection.execute("UPDATE official_years SET answered = x''")

    with made(tmp_path, provider, AAPL) as opened:
        opened.ingest(start=TUESDAY, end=TUESDAY)
        assert known(opened) == dict.fromkeys(DATES, 100.5)
