from __future__ import annotations

import os
from datetime import date, time
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.trading_date import CalendarException, TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache, Exceptions
from marketpipe.shared_kernel.infrastructure.session_table import SessionTable
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles

VERSION = "9.9"
MOURNING = (CalendarException(TradingDate.parse("2024-01-03"), closed=True),)


class Exchange:
    """An exchange that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, last_year: int, exceptions: Exceptions = ()) -> SessionTable:
        self.asked += 1
        days = {date(2024, 1, day): (time(9, 30), time(16)) for day in (2, 3)}
        closed = dict.fromkeys(each.trading_date.day for each in exceptions)
        return SessionTable.of(days, 2024, last_year).with_changes(closed)


def not_shipped(last_year: int, exceptions: Exceptions) -> None:
    """The package has no table, as with another version of the library."""


def cache(file: Path, exchange: Exchange, exceptions: Exceptions = ()) -> CalendarCache:
    state, publish = file.with_name("state.sqlite"), DurableFiles().publish
    return CalendarCache(state, lambda: VERSION, publish, exceptions, exchange, not_shipped)


def beside_a_shipped_table(file: Path, exceptions: Exceptions | None = ()) -> CalendarCache:
    def asked(last_year: int, exceptions: Exceptions) -> SessionTable:
        raise AssertionError("the library is asked")

    state, publish = file.with_name("state.sqlite"), DurableFiles().publish
    return CalendarCache(state, lambda: VERSION, publish, exceptions, asked, Exchange())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """In a folder that does not exist yet."""
    return tmp_path / "state" / f"sessions-XNYS-{VERSION}.txt"


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


def test_a_table_with_other_exceptions_is_rebuilt(file: Path) -> None:
    written(file)
    exchange = Exchange()
    assert cache(file, exchange, MOURNING)(2025)
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
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, "state.sqlite"]


def test_a_state_folder_that_is_a_file_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    assert cache(tmp_path / "state" / f"sessions-XNYS-{VERSION}.txt", Exchange())(2025) == Exchange()(2025)


def test_a_shipped_table_is_neither_read_from_a_file_nor_written_to_one(file: Path) -> None:
    assert beside_a_shipped_table(file)(2025) == Exchange()(2025)
    make_state(file)
    cached = beside_a_shipped_table(file)
    assert cached(2025) == Exchange()(2025)
    cached.save()
    assert [path.name for path in file.parent.iterdir()] == ["state.sqlite"]


def test_exceptions_to_a_shipped_table_are_kept_for_processes_without_a_configuration(file: Path) -> None:
    make_state(file)
    assert beside_a_shipped_table(file, MOURNING)(2025) == Exchange()(2025, MOURNING)
    assert beside_a_shipped_table(file, None)(2025) == Exchange()(2025, MOURNING)


def test_exceptions_that_the_configuration_drops_are_forgotten(file: Path) -> None:
    make_state(file)
    older = file.with_name("sessions-XNYS-9.8.txt")
    beside_a_shipped_table(file, MOURNING)(2025)
    file.rename(older)
    os.utime(older, (0, 0))
    assert beside_a_shipped_table(file)(2025) == Exchange()(2025)
    assert beside_a_shipped_table(file, None)(2025) == Exchange()(2025)
    assert older.is_file()


def test_exceptions_are_kept_once_the_state_exists(file: Path) -> None:
    cached = beside_a_shipped_table(file, MOURNING)
    assert cached(2025)
    assert not file.parent.exists()
    make_state(file)
    cached.save()
    assert beside_a_shipped_table(file, None)(2025) == Exchange()(2025, MOURNING)


def test_years_after_the_shipped_table_come_from_the_library(file: Path) -> None:
    make_state(file)
    exchange, state = Exchange(), file.with_name("state.sqlite")

    def shipped(last_year: int, exceptions: Exceptions) -> SessionTable | None:
        return Exchange()(last_year, exceptions) if last_year <= 2025 else None

    for asked in (0, 1, 1):
        cached = CalendarCache(state, lambda: VERSION, DurableFiles().publish, (), exchange, shipped)
        assert 2025 + asked in cached(2025 + asked).years
        assert exchange.asked == asked
