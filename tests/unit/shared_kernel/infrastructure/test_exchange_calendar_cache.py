from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest

from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache, SessionTable
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles

TITLE = "sessions"


class Exchange:
    """An exchange that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, last_year: int) -> SessionTable:
        self.asked += 1
        return SessionTable.of({date(2024, 1, 2): (time(9, 30), time(16))}, 2024, last_year)


def cache(file: Path, exchange: Exchange, title: str = TITLE) -> CalendarCache:
    return CalendarCache(file, file.with_name("state.sqlite"), title, exchange, DurableFiles().publish)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """In a folder that does not exist yet."""
    return tmp_path / "state" / "sessions.txt"


def make_state(file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    file.with_name("state.sqlite").touch()


def written(file: Path) -> bytes:
    """Write the cache file, and return its content."""
    make_state(file)
    cache(file, Exchange())(2025)
    return file.read_bytes()


def test_exchange_is_asked_once_for_all_processes(file: Path) -> None:
    written(file)
    exchange = Exchange()
    assert cache(file, exchange)(2025) == Exchange()(2025)
    assert cache(file, exchange)(2024).sessions(2024) == Exchange()(2024).sessions(2024)
    assert exchange.asked == 0


def test_a_table_that_does_not_reach_far_enough_is_rebuilt(file: Path) -> None:
    written(file)
    exchange = Exchange()
    assert 2026 in cache(file, exchange)(2026).years
    assert 2026 in cache(file, exchange)(2026).years
    assert exchange.asked == 1


def test_a_table_of_another_title_is_rebuilt(file: Path) -> None:
    written(file)
    exchange = Exchange()
    assert cache(file, exchange, "sessions by a newer version")(2025)
    assert exchange.asked == 1


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\xff\xfe\x00" * 100])
@pytest.mark.parametrize("kept", [0, 40, -1])
def test_a_damaged_file_is_rebuilt(file: Path, damage: bytes, kept: int) -> None:
    content = written(file)
    file.write_bytes(content[:kept] + damage)
    exchange = Exchange()
    assert cache(file, exchange)(2025) == Exchange()(2025)
    assert exchange.asked == 1
    assert file.read_bytes() == content


def test_nothing_is_written_until_the_state_exists(file: Path, tmp_path: Path) -> None:
    exchange = Exchange()
    cached = cache(file, exchange)
    cached.save()
    assert cached(2025)
    cached.save()
    assert list(tmp_path.iterdir()) == []
    file.parent.mkdir()
    cached.save()
    assert list(file.parent.iterdir()) == []

    make_state(file)
    cached.save()
    assert cache(file, exchange)(2025)
    assert exchange.asked == 1
    file.unlink()
    cached.save()
    assert not file.exists()


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_something_unreadable_in_its_place_does_no_harm(file: Path, kind: str) -> None:
    make_state(file)
    if kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(file.with_name("nowhere"))
    assert cache(file, Exchange())(2025) == Exchange()(2025)
    assert sorted(path.name for path in file.parent.iterdir()) == ["sessions.txt", "state.sqlite"]


def test_a_state_folder_that_is_a_file_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    assert cache(tmp_path / "state" / "sessions.txt", Exchange())(2025) == Exchange()(2025)
