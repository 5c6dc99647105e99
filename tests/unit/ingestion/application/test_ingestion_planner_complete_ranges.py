from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import pytest
from attrs import define

from marketpipe.ingestion.application.ingestion_planner import CompleteRanges, GapFinder, RangeOfSymbol
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality
from marketpipe.shared_kernel.domain.store_inventory import VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.testing import FakeClock
from tests.support.builders import CALENDAR
from tests.support.checkpoints import answer, record
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory

AAPL = Symbol("AAPL")
DATES = ("2024-01-02", "2024-01-03", "2024-01-04")
SCOPE = IngestionScope([AAPL], TradingDate.parse(DATES[0]), TradingDate.parse(DATES[-1]))


@define
class CountingInventory(InMemoryInventory):
    asked: int = 0

    def marks(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[date, VersionMark]:
        self.asked += 1
        return super().marks(symbol, first, last)


class OpenStore:
    """Loads again and again, as an open store does: what it knows to be complete outlasts each finder of gaps."""

    def __init__(self, *dates: str) -> None:
        self.state = InMemoryIngestionState()
        record(self.state, [answer("AAPL", each) for each in dates])
        self.inventory = CountingInventory(self.state.checkpoints)
        self.known, self.files = dict[RangeOfSymbol, object](), 1

    def gaps(self, scope: IngestionScope = SCOPE) -> int:
        version = self.state.version()
        complete = CompleteRanges(self.known, lambda _: (version, self.files))
        finality, clock = SessionFinality(timedelta()), FakeClock("2024-02-01T12:00:00Z")
        finder = GapFinder(CALENDAR, finality, self.state.checkpoints, self.inventory, clock, None, complete)
        return len(finder.gaps(scope, [AAPL]))


def test_a_complete_range_is_not_compared_a_second_time() -> None:
    store = OpenStore(*DATES)

    assert (store.gaps(), store.inventory.asked) == (0, 1)
    assert (store.gaps(), store.inventory.asked) == (0, 1)


@pytest.mark.parametrize("what", ["files", "records"])
def test_after_a_change_it_is_compared_again(what: str) -> None:
    store = OpenStore(*DATES)
    store.gaps()
    if what == "files":
        store.files += 1
    else:
        record(store.state, [answer("AAPL", "2024-01-05")])

    assert (store.gaps(), store.inventory.asked) == (0, 2)


def test_another_range_is_compared_for_itself() -> None:
    store = OpenStore(*DATES)
    store.gaps()

    assert store.gaps(IngestionScope([AAPL], SCOPE.first, TradingDate.parse("2024-01-05"))) == 1
    assert store.inventory.asked == 2


def test_a_range_with_a_gap_is_never_taken_for_complete() -> None:
    store = OpenStore(*DATES[:2])

    assert [store.gaps(), store.gaps()] == [1, 1]
    assert store.inventory.asked == 2
