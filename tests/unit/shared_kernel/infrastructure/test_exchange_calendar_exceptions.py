"""Late opens and unusual closes, those of the table and those of a configuration."""

from __future__ import annotations

from datetime import date, time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, CalendarException, TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache, ExchangeCalendar, exchange_table
from marketpipe.shared_kernel.infrastructure.exchange_exceptions import KNOWN_EXCEPTIONS
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.testing import sessions

MOURNING = CalendarException(TradingDate.parse("2026-07-15"), closed=True)
LATE = CalendarException(TradingDate.parse("2026-07-14"), opens=time(11, 5))


def hours(day: str, *exceptions: CalendarException) -> tuple[str, ...]:
    calendar = ExchangeCalendar(TradingDate.parse("2026-12-31"), partial(exchange_table, exceptions=exceptions))
    found = calendar.sessions(TradingDate.parse(day), TradingDate.parse(day))
    moments = [moment for session in found for moment in (session.opens, session.closes)]
    return tuple(f"{moment.moment.astimezone(NEW_YORK):%H:%M}" for moment in moments)


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        ("1981-03-30", "10:00", "15:17"),
        ("1981-09-09", "10:00", "15:28"),
        ("1985-09-27", "", ""),  # closed for a hurricane
        ("1985-09-26", "10:00", "16:00"),
        ("1985-09-30", "09:30", "16:00"),
        ("1987-10-22", "09:30", "16:00"),
        ("1987-10-23", "09:30", "14:00"),
        ("1987-11-04", "09:30", "14:30"),
        ("1987-11-06", "09:30", "15:00"),
        ("1987-11-11", "09:30", "15:30"),
        ("1987-11-12", "09:30", "16:00"),
        ("1989-11-10", "11:00", "16:00"),
        ("1990-12-27", "11:00", "16:00"),
        ("1991-01-17", "09:31", "16:00"),
        ("1994-02-11", "09:30", "14:30"),
        ("1995-12-18", "10:30", "16:00"),
        ("1996-01-08", "11:00", "14:00"),
        ("1997-10-27", "09:30", "15:30"),
        ("2001-09-17", "09:33", "16:00"),
        ("2001-10-08", "09:31", "16:00"),
        ("2002-09-11", "12:00", "16:00"),
        ("2003-03-20", "09:32", "16:00"),
        ("2004-06-07", "09:32", "16:00"),
        ("2005-06-01", "09:30", "15:56"),
        ("2006-12-27", "09:32", "16:00"),
        ("2001-12-24", "09:30", "13:00"),
        ("2002-09-12", "09:30", "16:00"),
    ],
)
def test_the_exchange_opened_and_closed_when_its_own_list_says_so(day: str, opens: str, closes: str) -> None:
    assert hours(day) == ((opens, closes) if opens else ())


def test_every_exception_has_a_source_and_its_date_once() -> None:
    dates = [exception.trading_date for exception in KNOWN_EXCEPTIONS]
    assert dates == sorted(set(dates))
    assert all("http" in exception.source for exception in KNOWN_EXCEPTIONS)


def test_every_closed_day_since_1980_is_known_to_the_library() -> None:
    """Its lower bound in pyproject.toml is the first release that knows 2025-01-09."""
    assert not any(exception.closed for exception in KNOWN_EXCEPTIONS)
    assert sessions("2025-01-09", "2025-01-09") == ()
    lines = (Path(__file__).parents[4] / "pyproject.toml").read_text().splitlines()
    assert '    "exchange_calendars>=4.7",' in lines
    assert tuple(map(int, version("exchange_calendars").split(".")[:2])) >= (4, 7)


def test_a_day_of_mourning_of_the_configuration_has_no_session() -> None:
    assert hours("2026-07-15") == ("09:30", "16:00")
    assert hours("2026-07-15", MOURNING) == ()
    assert hours("2026-07-14", MOURNING) == ("09:30", "16:00")


def test_hours_that_are_not_given_stay_as_they_are() -> None:
    half_day, holiday, known = (TradingDate.parse(day) for day in ("2026-11-27", "2026-12-25", "2002-09-11"))
    assert hours("2026-07-14", LATE) == ("11:05", "16:00")
    assert hours("2026-11-27", CalendarException(half_day, opens=time(10))) == ("10:00", "13:00")
    assert hours("2026-12-25", CalendarException(holiday, closes=time(13))) == ("09:30", "13:00")
    assert hours("2002-09-11", CalendarException(known, opens=time(9, 30))) == ("09:30", "16:00")


@pytest.mark.parametrize(
    ("day", "facts", "message"),
    [
        ("2026-07-15", {}, "give either 'closed: true', or 'opens', 'closes' or both"),
        ("2026-07-15", {"closed": True, "opens": time(10)}, "give either 'closed: true'"),
        ("2026-07-18", {"closed": True}, "is a Saturday"),
        ("2026-07-15", {"opens": time(12, 1)}, "opens: 12:01 is not between 04:00 and 12:00"),
        ("2026-07-15", {"opens": time(3, 59)}, "opens: 03:59 is not between"),
        ("2026-07-15", {"closes": time(12)}, "closes: 12:00 is not after 12:00"),
        ("2026-07-15", {"closes": time(20, 1)}, "closes: 20:01 is not after 12:00 and until 20:00"),
        ("2026-07-15", {"opens": time(9, 33, 30)}, "whole minutes"),
    ],
)
def test_an_exception_that_cannot_be_is_refused(day: str, facts: dict[str, time], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CalendarException(TradingDate.parse(day), **facts)  # type: ignore[arg-type]


def test_more_different_hours_than_a_table_can_have_are_refused() -> None:
    days = [each.trading_date for each in sessions("2026-01-02", "2026-06-30")][:100]
    odd = tuple(CalendarException(day, opens=time(8, n % 60), closes=time(13 + n // 60)) for n, day in enumerate(days))
    with pytest.raises(ConfigurationError, match="different opening hours are too many"):
        exchange_table(2026, odd)
    assert exchange_table(2026, odd[:30]).sessions(2026)


def cached(folder: Path, exceptions: tuple[CalendarException, ...] | None = ()) -> CalendarCache:
    (folder / "state.sqlite").touch()
    return CalendarCache(folder / "state.sqlite", lambda: "9.9", DurableFiles().publish, exceptions)


def closed_in(cache: CalendarCache, day: CalendarException = MOURNING) -> bool:
    dates = {session.trading_date for session in cache(2026).sessions(2026)}
    return day.trading_date not in dates


def test_a_changed_table_of_exceptions_rebuilds_the_cache(tmp_path: Path) -> None:
    assert not closed_in(cached(tmp_path))
    assert closed_in(cached(tmp_path, (MOURNING,)))
    assert closed_in(cached(tmp_path, (MOURNING, LATE)))
    assert not closed_in(cached(tmp_path))
    assert len(list(tmp_path.glob("sessions-*"))) == 1


def test_without_a_configuration_the_exceptions_of_the_cache_are_kept(tmp_path: Path) -> None:
    assert not closed_in(cached(tmp_path, None))
    half_day = CalendarException(TradingDate.parse("2026-11-25"), closes=time(13))
    assert closed_in(cached(tmp_path, (MOURNING, LATE, half_day)))
    kept = cached(tmp_path, None)
    assert kept(2026) == cached(tmp_path, (MOURNING, LATE, half_day))(2026)
    assert closed_in(kept)
    later = cached(tmp_path, None)(2029)  # next year's table is made with them too
    assert 2029 in later.years
    assert later.sessions(2026) == kept(2026).sessions(2026)
    newer = CalendarCache(tmp_path / "state.sqlite", lambda: "10.0", DurableFiles().publish, None)
    assert newer(2026).sessions(2026) == later.sessions(2026)  # and so is the one of a new version of the library


def test_exceptions_of_a_damaged_cache_are_not_believed(tmp_path: Path) -> None:
    assert closed_in(cached(tmp_path, (MOURNING,)))
    (file,) = tmp_path.glob("sessions-*")
    file.write_bytes(file.read_bytes().replace(b"2026-07-15=closed", b"2026-07-16=closed"))
    assert not closed_in(cached(tmp_path, None))


def test_dates_after_the_table_do_no_harm() -> None:
    far = CalendarException(TradingDate(date(2031, 1, 2)), closed=True)
    assert exchange_table(2026, (far,)) == exchange_table(2026)
