from __future__ import annotations

import sys
from datetime import date, time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar, exchange_table, library_table
from marketpipe.shared_kernel.infrastructure.exchange_exceptions import KNOWN_EXCEPTIONS
from marketpipe.shared_kernel.infrastructure.session_table import (
    LAST_SHIPPED_YEAR,
    RULES,
    SHIPPED,
    SessionTable,
    installed_rules,
    shipped_table,
    title,
)

TITLE = "sessions of an exchange"
ENCODED = exchange_table(2027).encode(TITLE)
PLACES = st.integers(0, len(ENCODED) - 1)


def test_sessions_are_exactly_those_of_exchange_calendars_but_for_the_exceptions() -> None:
    import exchange_calendars

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


def test_the_shipped_table_is_what_the_library_answers() -> None:
    """If this fails after an upgrade of exchange_calendars: python .ci/make_session_table.py."""
    rules = installed_rules(sys.path)
    assert rules is not None
    assert SHIPPED.read_bytes() == library_table(LAST_SHIPPED_YEAR).encode(title(rules))
    assert len(SHIPPED.read_bytes()) < 30_000


def test_the_shipped_table_is_believed_for_the_rules_that_it_was_made_from() -> None:
    shipped = shipped_table()
    assert shipped is not None
    assert (min(shipped.years), max(shipped.years)) == (1980, LAST_SHIPPED_YEAR)
    assert SessionTable.decode(SHIPPED.read_bytes(), title("of another version")) is None


def test_rules_are_those_of_the_library_that_would_be_imported(tmp_path: Path) -> None:
    for version in ("older", "newer"):
        folder = tmp_path / version / "exchange_calendars"
        folder.mkdir(parents=True)
        for name in ("__init__.py", *RULES):
            (folder / name).write_text(f"# {version}")
    older, newer = str(tmp_path / "older"), str(tmp_path / "newer")
    assert installed_rules(["", str(tmp_path), older, newer]) == installed_rules([older])
    assert installed_rules([older]) != installed_rules([newer])


def test_a_library_without_these_files_has_no_known_rules(tmp_path: Path) -> None:
    assert installed_rules([str(tmp_path)]) is None
    folder = tmp_path / "exchange_calendars"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / RULES[0]).touch()
    assert installed_rules([str(tmp_path), *sys.path]) is None


def test_changes_leave_all_other_sessions_as_they_are() -> None:
    table, christmas, monday, far = exchange_table(2027), date(2026, 12, 25), date(2026, 12, 28), date(2030, 1, 2)
    changed = table.with_changes({christmas: (time(10), time(13)), monday: None, far: None})
    assert changed.hours_on(christmas) == (time(10), time(13))
    assert changed.hours_on(monday) is None
    assert {year for year in table.years if changed.sessions(year) != table.sessions(year)} == {2026}
    assert table.until(2020).years == {year: days for year, days in table.years.items() if year <= 2020}
