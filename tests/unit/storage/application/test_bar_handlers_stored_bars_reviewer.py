from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import define, field

from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import Event, PartitionFoundDamaged, StoredBarsRead
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.storage.application.bar_handlers import SYMBOL_DAYS_AT_A_TIME, StoredBarsReviewer
from marketpipe.testing import bar
from tests.support.builders import columnar

AAPL = Symbol("AAPL")
FIRST = TradingDate.parse("2024-01-01")


@define
class FakeStoredBars:
    """A bar on each of so many days; ``reads`` are the sizes of what was read at a time."""

    days: int
    damaged: frozenset[int] = frozenset()
    reads: list[int] = field(factory=list)
    taken: int = 0

    def stored_days(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> Iterator[SymbolDay]:
        for symbol in symbols:
            for number in range(self.days):
                self.taken += 1
                yield SymbolDay(symbol, first.plus_days(number))

    def read(self, days: Sequence[SymbolDay]) -> ArrowBars:
        self.reads.append(len(days))
        for day in days:
            if (day.trading_date.day - FIRST.day).days in self.damaged:
                raise PartitionUnreadableError(f"{day} is damaged")
        return columnar(*((day, [bar(f"{day.trading_date}T15:00:00Z")]) for day in days))


def review(bars: FakeStoredBars) -> list[Event]:
    bus = EventBus(LoggedIsolation)
    published: list[Event] = []
    bus.subscribe(StoredBarsRead, published.append)
    bus.subscribe(PartitionFoundDamaged, published.append)
    StoredBarsReviewer(bars.stored_days, bars.read, bus).review([AAPL], FIRST, FIRST.plus_days(365))
    return published


def _days(event: Event) -> list[int]:
    days = [event.symbol_day] if isinstance(event, PartitionFoundDamaged) else []
    if isinstance(event, StoredBarsRead):
        days = [part.symbol_day for part in event.bars.slices]
    return [(day.trading_date.day - FIRST.day).days for day in days]


def test_stored_bars_come_back_a_few_symbol_days_at_a_time() -> None:
    bars = FakeStoredBars(2 * SYMBOL_DAYS_AT_A_TIME + 1)

    published = review(bars)

    assert bars.reads == [SYMBOL_DAYS_AT_A_TIME, SYMBOL_DAYS_AT_A_TIME, 1]
    assert [day for event in published for day in _days(event)] == list(range(2 * SYMBOL_DAYS_AT_A_TIME + 1))


def test_the_next_days_are_listed_only_when_the_last_were_validated() -> None:
    bars, taken = FakeStoredBars(3 * SYMBOL_DAYS_AT_A_TIME), []
    bus = EventBus(LoggedIsolation)
    bus.subscribe(StoredBarsRead, lambda _: taken.append(bars.taken))

    StoredBarsReviewer(bars.stored_days, bars.read, bus).review([AAPL], FIRST, FIRST.plus_days(365))

    assert taken == [SYMBOL_DAYS_AT_A_TIME * round for round in (1, 2, 3)]


def test_a_damaged_partition_does_not_hide_its_neighbours() -> None:
    published = review(FakeStoredBars(5, damaged=frozenset({1, 3})))

    assert [(type(event), _days(event)) for event in published] == [
        (StoredBarsRead, [0]),
        (PartitionFoundDamaged, [1]),
        (StoredBarsRead, [2]),
        (PartitionFoundDamaged, [3]),
        (StoredBarsRead, [4]),
    ]
    assert isinstance(published[1], PartitionFoundDamaged)
    assert published[1].reason == "AAPL 2024-01-02 is damaged"


def test_an_empty_store_publishes_nothing() -> None:
    assert review(FakeStoredBars(0)) == []
