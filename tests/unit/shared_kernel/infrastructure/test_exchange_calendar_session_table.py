from __future__ import annotations

from datetime import date, time

import exchange_calendars
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar, SessionTable, exchange_table
from marketpipe.shared_kernel.infrastructure.exchange_exceptions import KNOWN_EXCEPTIONS

TITLE = "sessions of an exchange"
ENCODED = exchange_table(2027).encode(TITLE)
PLACES = st.integers(0, len(ENCODED) - 1)


def test_sessions_are_exactly_those_of_exchange_calendars_but_for_the_exceptions() -> None:
    odd = {exception.trading_date for exception in KNOWN_EXCEPTIONS}
    since = TradingDate.parse("1985-09-30")
    schedule = exchange_calendars.get_calendar("XNYS", start="1980-01-01", end="2027-12-31").schedule
    theirs = tuple(
        TradingSession(TradingDate(day.date()), Timestamp(opens), Timestamp(closes))
        for day, opens, closes in zip(schedule.index, schedule["open"], schedule["close"], strict=True)
    )
    decoded = SessionTable.decode(ENCODED, TITLE)
    assert decoded is not None
    for table in (exchange_table(2027), decoded):
        calendar = ExchangeCalendar(TradingDate.parse("2027-12-31"), lambda _, table=table: table)  # type: ignore[misc]
        ours = calendar.sessions(TradingDate.parse("1980-01-01"), TradingDate.parse("2027-12-31"))
        assert [each.trading_date for each in ours] == [each.trading_date for each in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert (one != other) == (one.trading_date < since or one.trading_date in odd)


def test_table_fits_into_twenty_kilobytes_of_text() -> None:
    assert len(ENCODED) < 20_000
    assert ENCODED.decode("ascii").splitlines()[0] == TITLE


def test_a_table_has_leap_days_and_odd_hours() -> None:
    table = SessionTable.of({date(2024, 2, 29): (time(10), time(12, 30))}, 2023, 2024)
    (session,) = table.sessions(2024)
    assert (str(session.opens), str(session.closes)) == ("2024-02-29T15:00:00Z", "2024-02-29T17:30:00Z")
    assert table.sessions(2023) == ()
    assert SessionTable.decode(table.encode("t"), "t") == table


def test_table_under_another_title_is_refused() -> None:
    assert SessionTable.decode(ENCODED, TITLE) == exchange_table(2027)
    assert SessionTable.decode(ENCODED, f"{TITLE} by another version") is None


@given(PLACES, st.integers(1, 255))
def test_every_changed_byte_is_noticed(place: int, change: int) -> None:
    changed = bytearray(ENCODED)
    changed[place] ^= change
    assert SessionTable.decode(bytes(changed), TITLE) is None


@given(PLACES, st.binary(max_size=40), PLACES)
def test_neither_a_cut_nor_a_stitched_table_is_accepted(place: int, filler: bytes, other: int) -> None:
    stitched = ENCODED[:place] + filler + ENCODED[other:]
    assert SessionTable.decode(stitched, TITLE) is None or stitched == ENCODED
    assert SessionTable.decode(ENCODED[:place], TITLE) is None


@given(st.binary(max_size=200))
def test_foreign_bytes_are_no_table(content: bytes) -> None:
    assert SessionTable.decode(content, TITLE) is None
    assert SessionTable.decode(f"{TITLE}\n".encode() + content, TITLE) is None


def test_sessions_of_a_year_are_made_once_for_equal_tables() -> None:
    decoded = SessionTable.decode(ENCODED, TITLE)
    assert decoded is not None
    assert decoded.sessions(2024) is exchange_table(2027).sessions(2024)
    assert decoded.sessions(2024) != decoded.sessions(2025)
