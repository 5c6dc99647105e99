from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.application.job_scheduler import JobScheduler
from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.ingestion_plan import (
    IngestionPlan,
    IngestionScope,
    SessionFinality,
    TypicalVolume,
    TypicalVolumes,
)
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.testing import sessions
from tests.support.builders import CALENDAR

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
LONG_AFTER = Timestamp.parse("2025-06-02T12:00:00Z")
FIRST, LAST = "2024-06-24", "2024-07-12"
DATES = [session.trading_date for session in sessions(FIRST, LAST)]  # without 2024-07-04 and the weekends


def scheduler(limits: PackingLimits | None = None, delay: int = 15) -> JobScheduler:
    return JobScheduler(CALENDAR, SessionFinality(timedelta(minutes=delay)), limits or PackingLimits(10_000, 200))


def scope(
    *symbols: str, first: str = FIRST, last: str = LAST, kind: SessionKind = SessionKind.EXTENDED
) -> IngestionScope:
    return IngestionScope(symbols, TradingDate.parse(first), TradingDate.parse(last), kind)


def hours_of(
    settled: Mapping[Symbol, Iterable[TradingDate]], hours: SessionHours = SessionHours.EXTENDED
) -> dict[Symbol, dict[TradingDate, SessionHours]]:
    return {symbol: dict.fromkeys(dates, hours) for symbol, dates in settled.items()}


def volumes(bars_per_day: float | None) -> TypicalVolumes:
    volume = TypicalVolume(bars_per_day, 30.0, 10) if bars_per_day else None
    return TypicalVolumes({AAPL: volume, MSFT: volume} if volume else {}, volume)


def planned_days(plan: IngestionPlan) -> Counter[SymbolDay]:
    return Counter(day for batch in plan.batches for day in batch.symbol_days)


SETTLED = st.fixed_dictionaries({symbol: st.frozensets(st.sampled_from(DATES)) for symbol in (AAPL, MSFT)})
LIMITS = st.builds(PackingLimits, st.integers(1, 5000), st.integers(1, 3), st.integers(1, 8))


@given(settled=SETTLED, limits=LIMITS, bars_per_day=st.none() | st.floats(1, 960))
def test_the_calendar_minus_what_is_settled_is_asked_for_once(
    settled: dict[Symbol, frozenset[TradingDate]], limits: PackingLimits, bars_per_day: float | None
) -> None:
    plan = scheduler(limits).plan(scope("AAPL", "MSFT"), hours_of(settled), LONG_AFTER, volumes(bars_per_day))

    wanted = {SymbolDay(symbol, date) for symbol in (AAPL, MSFT) for date in DATES}
    known = {SymbolDay(symbol, date) for symbol, dates in settled.items() for date in dates}
    assert planned_days(plan) == Counter(wanted - known)
    assert (plan.planned, plan.settled, plan.not_begun) == (len(wanted - known), len(known), 0)


@given(settled=SETTLED, limits=LIMITS)
def test_the_sessions_of_a_batch_follow_one_another_with_none_left_out(
    settled: dict[Symbol, frozenset[TradingDate]], limits: PackingLimits
) -> None:
    plan = scheduler(limits).plan(scope("AAPL", "MSFT"), hours_of(settled), LONG_AFTER)

    for batch in plan.batches:
        dates = [asked.trading_date for asked in batch.sessions]
        start = DATES.index(dates[0])
        assert dates == DATES[start : start + len(dates)]
        assert len(batch.symbols) <= limits.symbols_per_request


def test_closed_days_are_never_asked_for() -> None:
    plan = scheduler().plan(scope("AAPL", first="2024-07-04", last="2024-07-07"), {}, LONG_AFTER)

    assert [str(asked.trading_date) for batch in plan.batches for asked in batch.sessions] == ["2024-07-05"]


def test_a_scope_without_a_session_is_an_empty_plan() -> None:
    plan = scheduler().plan(scope("AAPL", first="2024-07-06", last="2024-07-07"), {}, LONG_AFTER)

    assert (plan.batches, plan.planned, plan.settled, plan.not_begun) == ((), 0, 0, 0)


def test_everything_settled_is_an_empty_plan() -> None:
    plan = scheduler().plan(scope("AAPL"), hours_of({AAPL: frozenset(DATES)}), LONG_AFTER)

    assert (plan.batches, plan.settled) == ((), len(DATES))


def test_settled_days_outside_the_scope_do_not_count() -> None:
    elsewhere = frozenset({TradingDate.parse("2024-01-02"), DATES[0]})

    plan = scheduler().plan(scope("AAPL", last=FIRST), hours_of({AAPL: elsewhere, MSFT: elsewhere}), LONG_AFTER)

    assert (plan.planned, plan.settled) == (0, 1)


def test_sessions_that_have_not_begun_are_counted_and_not_asked_for() -> None:
    during_the_first = Timestamp.parse("2024-07-01T15:00:00Z")

    plan = scheduler().plan(scope("AAPL", "MSFT", first="2024-06-28", last="2024-07-03"), {}, during_the_first)

    (batch,) = plan.batches
    assert [(str(asked.trading_date), asked.final) for asked in batch.sessions] == [
        ("2024-06-28", True),
        ("2024-07-01", False),
    ]
    assert str(batch.window.end) == "2024-07-01T14:45:00Z"
    assert (plan.planned, plan.settled, plan.not_begun) == (4, 0, 4)


def test_a_scope_in_the_future_is_an_empty_plan() -> None:
    plan = scheduler().plan(
        scope("AAPL", first="2024-07-08", last="2024-07-09"), {}, Timestamp.parse(f"{FIRST}T12:00:00Z")
    )

    assert (plan.planned, plan.not_begun) == (0, 2)


def test_regular_hours_are_asked_for_where_only_those_are_wanted() -> None:
    plan = scheduler().plan(
        scope("AAPL", first="2024-07-02", last="2024-07-03", kind=SessionKind.REGULAR), {}, LONG_AFTER
    )

    (batch,) = plan.batches
    assert batch.session_kind is SessionKind.REGULAR
    assert [(str(a.window.start), str(a.window.end)) for a in batch.sessions] == [
        ("2024-07-02T13:30:00Z", "2024-07-02T20:00:00Z"),
        ("2024-07-03T13:30:00Z", "2024-07-03T17:00:00Z"),
    ]


def test_no_two_batches_of_one_scheduler_share_a_number() -> None:
    planner = scheduler(PackingLimits(100, 1))
    plans = [planner.plan(scope("AAPL", "MSFT"), {}, LONG_AFTER) for _ in range(2)]

    numbers = [batch.batch_id for plan in plans for batch in plan.batches]

    assert len(numbers) == len(set(numbers)) > 2


@pytest.mark.parametrize("kind", SessionKind)
def test_unknown_symbols_are_assumed_to_be_thin(kind: SessionKind) -> None:
    limits = PackingLimits(bars_per_page=60, symbols_per_request=1)

    (whole, rest) = scheduler(limits).plan(scope("AAPL", kind=kind), {}, LONG_AFTER).batches[:2]

    assert (len(whole.sessions), len(rest.sessions)) == (7, 7)


def test_what_a_symbol_is_known_to_bring_sizes_the_batches() -> None:
    limits = PackingLimits(bars_per_page=100, symbols_per_request=1)

    plan = scheduler(limits).plan(scope("AAPL"), {}, LONG_AFTER, volumes(100.0))

    assert [len(batch.sessions) for batch in plan.batches] == [7, 7]


def test_what_is_known_of_the_regular_session_is_only_widened() -> None:
    known = hours_of({AAPL: DATES[:3], MSFT: DATES[1:2]}, SessionHours.REGULAR)

    plan = scheduler().plan(scope("AAPL", "MSFT", last=str(DATES[2])), known, LONG_AFTER)

    whole = [batch for batch in plan.batches if SessionHours.REGULAR in batch.sessions[0].hours]
    around = [batch for batch in plan.batches if batch not in whole]
    assert Counter(day for batch in whole for day in batch.symbol_days) == Counter(
        SymbolDay(MSFT, date) for date in (DATES[0], DATES[2])
    )
    lacking = Counter((day, asked.hours) for batch in around for day, asked in _with_hours(batch))
    assert set(lacking.values()) == {1}
    assert {day for day, _ in lacking} == {
        *(SymbolDay(AAPL, date) for date in DATES[:3]),
        SymbolDay(MSFT, DATES[1]),
    }
    assert plan.settled == 0


def _with_hours(batch: BarsRequest) -> list[tuple[SymbolDay, AskedSession]]:
    return [(SymbolDay(symbol, asked.trading_date), asked) for symbol in batch.symbols for asked in batch.sessions]


def test_a_symbol_may_be_wanted_from_a_later_date_on() -> None:
    late = evolve(scope("AAPL", "MSFT"), since={MSFT: DATES[-2]})

    plan = scheduler().plan(late, {}, LONG_AFTER)

    assert Counter(day.symbol for day in planned_days(plan)) == {AAPL: len(DATES), MSFT: 2}
    assert plan.settled == 0


def test_planning_again_requests_the_named_dates_and_nothing_else() -> None:
    wanted = {AAPL: {DATES[1], DATES[2], DATES[7]}, MSFT: set[TradingDate]()}

    plan = scheduler().plan_again(scope("AAPL", "MSFT"), wanted, LONG_AFTER)

    assert planned_days(plan) == Counter(SymbolDay(AAPL, date) for date in wanted[AAPL])
