from __future__ import annotations

from datetime import timedelta

import pytest

from marketpipe.ingestion.application.coverage_assessor import CoverageAssessor
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures, OfficialDay
from marketpipe.shared_kernel.domain.trading_date import TradedMinutes, TradingDate
from marketpipe.testing import FakeClock, sessions
from tests.support.builders import CALENDAR, day
from tests.support.checkpoints import answer, record
from tests.support.coverage_grids import THRESHOLDS
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory
from tests.support.in_memory_official_days import InMemoryOfficialDays

DAY = "2024-03-13"
SESSIONS = sessions("2024-03-04", "2024-03-22")
DATES = [str(session.trading_date) for session in SESSIONS]
OPENS = 330  # minutes after 04:00
FULL = TradedMinutes.of(((1 << 390) - 1) << OPENS)
THIN = TradedMinutes.of(sum(1 << OPENS + minute for minute in range(0, 390, 19)))
"""No silence of this day is long; only other days show that bars are missing."""


def verdict(*known: str) -> str:
    """On the thin ``DAY`` alone, if the ``known`` dates around it are full."""
    state = InMemoryIngestionState()
    record(state, [answer("AAPL", date, minutes=FULL) for date in known])
    record(state, [answer("AAPL", DAY, rows=21, minutes=THIN)])
    inventory, finality = InMemoryInventory(state.checkpoints), SessionFinality(timedelta())
    assessor = CoverageAssessor(CALENDAR, finality, state.checkpoints, inventory, FakeClock(), THRESHOLDS)
    date = TradingDate.parse(DAY)
    (coverage,) = assessor.assess(IngestionScope(["AAPL"], date, date))
    (found,) = coverage.days()
    return str(found.finding.suspicion or found.verdict)


@pytest.mark.parametrize("around", [DATES[:7], DATES[8:]], ids=["before", "after"])
def test_the_sessions_before_and_after_a_scope_are_the_baseline_of_its_days(around: list[str]) -> None:
    assert DATES[7] == DAY
    assert verdict(*around) == "too few bars"


def test_without_sessions_around_it_a_thin_day_is_complete() -> None:
    assert verdict() == "complete"


def test_a_scope_at_the_end_of_the_calendar_is_assessed_with_the_sessions_that_there_are() -> None:
    assert verdict(DATES[6]) == "too few bars"


def test_what_disagrees_with_its_official_day_is_requested_again_though_the_answer_was_repeated() -> None:
    state, official = InMemoryIngestionState(), InMemoryOfficialDays()
    good = DayFigures(open=9.0, high=9.0, low=9.0, close=9.0, volume=1e6)
    for date in DATES:
        official.put("AAPL", date, OfficialDay(9.0, 9.0, 9.0, 9.0, 1e6))
        figures = good._replace(volume=7e5) if date in (DATES[2], DATES[9]) else good
        record(state, [answer("AAPL", date, minutes=FULL, figures=figures)] * (2 if date == DATES[2] else 1))
    inventory, finality = InMemoryInventory(state.checkpoints), SessionFinality(timedelta())
    given = CALENDAR, finality, state.checkpoints, inventory, FakeClock(), THRESHOLDS
    scope = IngestionScope(["AAPL"], TradingDate.parse(DATES[0]), TradingDate.parse(DATES[-1]))

    assert CoverageAssessor(*given, official=official).disagreeing(scope) == {
        day("AAPL", DATES[2]),
        day("AAPL", DATES[9]),
    }
    assert CoverageAssessor(*given).disagreeing(scope) == frozenset()


@pytest.mark.parametrize("first", ["2024-02-01", "2024-03-20"])
def test_a_loss_that_began_long_before_a_scope_is_found_in_it(first: str) -> None:
    state, kept = InMemoryIngestionState(), TradedMinutes.of(1 << OPENS)
    dates = [str(session.trading_date) for session in sessions("2023-12-01", "2024-03-22")]
    record(state, [answer("AAPL", date, minutes=FULL if date < "2024-01-05" else kept) for date in dates])
    inventory, finality = InMemoryInventory(state.checkpoints), SessionFinality(timedelta())
    assessor = CoverageAssessor(CALENDAR, finality, state.checkpoints, inventory, FakeClock(), THRESHOLDS)
    scope = IngestionScope(["AAPL"], TradingDate.parse(first), TradingDate.parse(dates[-1]))

    (coverage,) = assessor.assess(scope)

    assert {str(found.finding.suspicion) for found in coverage.days()} == {"lasting change"}


def test_a_folder_that_cannot_be_read_costs_the_verdicts_on_its_own_month_alone() -> None:
    state = InMemoryIngestionState()
    dates = [str(session.trading_date) for session in sessions("2024-02-27", "2024-03-05")]
    record(state, [answer(symbol, date, minutes=FULL) for symbol in ("AAPL", "MSFT") for date in dates])
    inventory, finality = InMemoryInventory(state.checkpoints), SessionFinality(timedelta())
    inventory.unreadable = {day("AAPL", "2024-03-04")}
    inventory.lost = {day("AAPL", "2024-02-28")}
    assessor = CoverageAssessor(CALENDAR, finality, state.checkpoints, inventory, FakeClock(), THRESHOLDS)
    scope = IngestionScope(["AAPL", "MSFT"], TradingDate.parse(dates[0]), TradingDate.parse(dates[-1]))

    aapl, msft = assessor.assess(scope)

    found = [str(each.finding.suspicion or each.verdict) for each in aapl.days()]
    assert found == ["complete", "missing", "complete", *["cannot be read"] * 3]
    assert {str(each.verdict) for each in msft.days()} == {"complete"}
    assert assessor.suspect(scope) == frozenset()  # another request would not help
