from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import AggregatesRefreshed
from marketpipe.storage.application.ports import Aggregator
from marketpipe.storage.domain.storage_metadata import AggregationReport


class AggregateRefresher:
    """Only what no longer agrees with its minutes is made anew. A damaged file holds up its own symbol alone."""

    def __init__(self, aggregator: Aggregator, bus: EventBus, new_executor: Callable[[], Executor]) -> None:
        """On the executor several symbols are refreshed at once."""
        self._aggregator, self._bus, self._new_executor = aggregator, bus, new_executor

    def refresh(
        self,
        symbols: Sequence[Symbol],
        timeframes: Sequence[Timeframe],
        first: TradingDate | None = None,
        last: TradingDate | None = None,
    ) -> AggregationReport:
        wanted = [timeframe for timeframe in timeframes if timeframe is not Timeframe.MINUTE_1]
        looking = partial(self._aggregator.up_to_date, timeframes=wanted, first=first, last=last)
        refreshing = partial(self._aggregator.refresh, timeframes=wanted, first=first, last=last)
        counts = self._counts(symbols if wanted else (), partial(_tried, looking), partial(_tried, refreshing))
        total = sum(counts, start=AggregationReport(0, 0))
        self._bus.publish(AggregatesRefreshed(total.written, total.unchanged))
        return total

    def _counts(
        self,
        symbols: Sequence[Symbol],
        look: Callable[[Symbol], AggregationReport | None],
        refresh: Callable[[Symbol], AggregationReport | None],
    ) -> Iterator[AggregationReport]:
        """In the order of the symbols. One thread looks: that is all system calls, and so short that others wait."""
        looked = [look(symbol) for symbol in symbols]
        stale = [symbol for symbol, count in zip(symbols, looked, strict=True) if count is None]
        with self._new_executor() as executor:  # where this ends early, what has not begun never begins
            made = executor.map(refresh, stale)
            yield from (count for found in looked if (count := found or next(made)))


def _tried(ask: Callable[[Symbol], AggregationReport | None], symbol: Symbol) -> AggregationReport | None:
    try:
        return ask(symbol)
    except StorageError as error:
        return AggregationReport(0, 0, (f"{symbol}: {error}",))
