from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.application.batch_runner import FAILURES_IN_A_ROW, RequestBisection
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import JobScheduler
from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.ingestion_plan import SessionFinality
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    BadRequestError,
    CredentialsError,
    EndlessPagingError,
    EntitlementError,
    MalformedResponseError,
    MarketPipeError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ProviderUnreachableError,
    RateLimitedError,
    StorageError,
)
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.testing import FakeClock, bars_request
from tests.support.builders import CALENDAR
from tests.support.examples import examples
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory

MANY = tuple(f"S{number}" for number in range(100, 140))
WHOLE = bars_request(MANY, "2024-03-04", "2024-03-08")
BROKEN = ProviderUnavailableError("500")


def new_bisection() -> RequestBisection:
    state = InMemoryIngestionState()
    scheduler = JobScheduler(CALENDAR, SessionFinality(timedelta()), PackingLimits(10_000, symbols_per_request=200))
    return RequestBisection(
        IngestionPlanner(
            scheduler, state.checkpoints, state.statistics, InMemoryInventory(state.checkpoints), FakeClock()
        )
    )


def bisected(
    bisection: RequestBisection, whole: BarsRequest, is_bad: Callable[[SymbolDay], bool]
) -> tuple[list[SymbolDay], list[SymbolDay], int]:
    """Return the answered and the failed symbol-days, and the number of failed requests."""
    left, answered, failed, failures = deque([whole]), list[SymbolDay](), list[SymbolDay](), 0
    while left:
        asked = left.popleft()
        if not any(map(is_bad, asked.symbol_days)):
            bisection.reset()
            answered += asked.symbol_days
            continue
        failures += 1
        parts = bisection.parts(asked, asked.symbol_days, BROKEN)
        left.extend(parts)
        failed += () if parts else asked.symbol_days
    return sorted(answered), sorted(failed), failures


def is_of(symbols: Collection[str] = (), dates: Collection[str] = ()) -> Callable[[SymbolDay], bool]:
    return lambda found: str(found.symbol) in symbols or str(found.trading_date) in dates


@examples(25)
@given(st.sets(st.integers(0, len(MANY) * 5 - 1), max_size=2))
def test_exactly_the_bad_symbol_days_fail(numbers: set[int]) -> None:
    bad = {WHOLE.symbol_days[number] for number in numbers}
    answered, failed, failures = bisected(new_bisection(), WHOLE, bad.__contains__)
    assert failed == sorted(bad)
    assert answered == sorted(set(WHOLE.symbol_days) - bad)
    assert failures <= 7 * len(bad)


@pytest.mark.parametrize(
    "is_bad",
    [
        is_of(symbols=["S117"]),
        is_of(symbols=["S100", "S139"]),
        is_of(dates=["2024-03-06"]),
    ],
    ids=["a symbol", "two symbols", "a date"],
)
def test_a_symbol_or_a_date_that_always_fails_takes_nothing_else_with_it(is_bad: Callable[[SymbolDay], bool]) -> None:
    answered, failed, _ = bisected(new_bisection(), WHOLE, is_bad)
    assert failed == sorted(filter(is_bad, WHOLE.symbol_days))
    assert len(answered) == len(WHOLE.symbol_days) - len(failed)


def test_a_provider_that_answers_nothing_gets_few_requests() -> None:
    bisection = new_bisection()
    _, failed, failures = bisected(bisection, WHOLE, lambda _: True)
    assert failed == sorted(WHOLE.symbol_days)
    assert failures < 4 * FAILURES_IN_A_ROW < len(failed)
    assert bisected(bisection, WHOLE, lambda _: True)[2] == 1  # the next batch of the same job
    bisection.reset()
    assert bisected(bisection, WHOLE, is_of(symbols=["S117"]))[1] != sorted(WHOLE.symbol_days)


def test_the_twelfth_failure_in_a_row_is_the_first_that_is_not_bisected() -> None:
    bisection = new_bisection()
    cut = [bool(bisection.parts(WHOLE, WHOLE.symbol_days, BROKEN)) for _ in range(13)]
    assert cut == [True] * 11 + [False] * 2


def test_a_reset_forgets_earlier_failures() -> None:
    bisection = new_bisection()
    bisected(bisection, WHOLE, lambda _: True)
    bisection.reset()
    assert len(bisection.parts(WHOLE, WHOLE.symbol_days, BROKEN)) == 4


def test_only_days_that_are_still_open_are_asked_for() -> None:
    small = bars_request(("AAPL", "MSFT", "NVDA"), "2024-03-04", "2024-03-06")
    open_days = small.symbol_days[2:]
    parts = new_bisection().parts(small, open_days, BROKEN)
    assert sorted(found for part in parts for found in part.symbol_days) == open_days


def test_parts_are_probed_but_a_single_symbol_day_gets_full_retries() -> None:
    small = bars_request(("AAPL", "MSFT", "NVDA"), "2024-03-04", "2024-03-05")
    parts = new_bisection().parts(small, small.symbol_days, BROKEN)
    assert {len(part.symbol_days): part.probing for part in parts} == {1: False, 2: True}
    assert len({part.batch_id for part in parts} | {small.batch_id}) == len(parts) + 1


@pytest.mark.parametrize(
    "error", [ProviderTimeoutError(""), MalformedResponseError(""), EndlessPagingError("")], ids=repr
)
def test_an_error_that_one_symbol_day_may_cause_is_bisected(error: MarketPipeError) -> None:
    assert new_bisection().parts(WHOLE, WHOLE.symbol_days, error)


@pytest.mark.parametrize(
    "error",
    [
        CredentialsError(""),
        ProviderUnreachableError(""),
        EntitlementError(""),
        BadRequestError(""),
        StorageError(""),
        RateLimitedError(""),
    ],
    ids=repr,
)
def test_an_error_that_has_nothing_to_do_with_what_was_asked_for_is_not(error: MarketPipeError) -> None:
    assert new_bisection().parts(WHOLE, WHOLE.symbol_days, error) == ()


def test_a_rate_limit_met_while_probing_fails_no_symbol_day() -> None:
    part = new_bisection().parts(WHOLE, WHOLE.symbol_days, BROKEN)[0]
    assert new_bisection().parts(part, part.symbol_days, RateLimitedError("429"))
