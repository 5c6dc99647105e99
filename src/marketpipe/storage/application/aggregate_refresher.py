"""Refresh of aggregates: brings those of many symbols up to date, several symbols at a time."""

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
    """Rebuilds the aggregates that no longer agree with their minutes. A damaged file fails its own symbol alone."""

    def __init__(self, aggregator: Aggregator, bus: EventBus, new_executor: Callable[[], Executor]) -> None:
        """The executor refreshes several symbols at the same time."""
        self._aggregator, self._bus, self._new_executor = aggregator, bus, new_executor

    def refresh(
        self,
        symbols: Sequence[Symbol],
        timeframes: Sequence[Timeframe],
        first: TradingDate | None = None,
        last: TradingDate | None = None,
    ) -> AggregationReport:
        """Refresh the months between the dates, both inclusive; None is no bound. Publishes ``AggregatesRefreshed``.

        Weeks and months are made of days whenever they are read: to ask for them is to ask for daily bars.
        An error of a symbol is among the ``failures``, in the order of the symbols.
        """
        files = (Timeframe.DAY_1 if timeframe.is_made_of_days else timeframe for timeframe in timeframes)
        wanted = [timeframe for timeframe in dict.fromkeys(files) if timeframe.is_aggregated]
        check = partial(self._aggregator.up_to_date, timeframes=wanted, first=first, last=last)
        refresh = partial(self._aggregator.refresh, timeframes=wanted, first=first, last=last)
        counts = self._counts(symbols if wanted else (), partial(_attempted, check), partial(_attempted, refresh))
        total = sum(counts, start=AggregationReport(0, 0))
        self._bus.publish(AggregatesRefreshed(total.written, total.unchanged))
        return total

    def _counts(
        self,
        symbols: Sequence[Symbol],
        check: Callable[[Symbol], AggregationReport | None],
        refresh: Callable[[Symbol], AggregationReport | None],
    ) -> Iterator[AggregationReport]:
        # Checked by one thread: it is all short system calls, and with several, threads would wait for one another.
        checked = [check(symbol) for symbol in symbols]
        stale = [symbol for symbol, count in zip(symbols, checked, strict=True) if count is None]
        with self._new_executor() as executor:  # if the caller stops early, what has not begun never begins
            refreshed = executor.map(refresh, stale)
            yield from (count for found in checked if (count := found or next(refreshed)))


def _attempted(act: Callable[[Symbol], AggregationReport | None], symbol: Symbol) -> AggregationReport | None:
    try:
        return act(symbol)
    except StorageError as error:
        return AggregationReport(0, 0, (f"{symbol}: {error}",))
