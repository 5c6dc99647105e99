"""Refresh of aggregates: brings those of many symbols up to date, several symbols at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import AggregatesRefreshed
from marketpipe.storage.application.ports import Aggregator
from marketpipe.storage.domain.storage_metadata import AggregationReport

STOPPED: Final = "stopped before all aggregates were up to date: the next ingestion or aggregation refreshes them"


class AggregateRefresher:
    """Rebuilds the aggregates that no longer agree with their minutes. A damaged file fails its own symbol alone."""

    def __init__(
        self,
        aggregator: Aggregator,
        bus: EventBus,
        new_executor: Callable[[], Executor],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """The executor refreshes several symbols at the same time; none is begun once ``stopping`` returns True."""
        self._aggregator, self._bus, self._new_executor = aggregator, bus, new_executor
        self._stopping = stopping

    def refresh(
        self,
        symbols: Sequence[Symbol],
        timeframes: Sequence[Timeframe],
        first: TradingDate | None = None,
        last: TradingDate | None = None,
    ) -> AggregationReport:
        """Refresh the months between the dates, both inclusive; None is no bound. Publishes ``AggregatesRefreshed``.

        Weeks and months are made of days whenever they are read: to ask for them is to ask for daily bars. The files of
        one minute are read copies.
        An error of a symbol is among the ``failures``, in the order of the symbols; ``STOPPED`` is the last of them.
        """
        files = (Timeframe.DAY_1 if timeframe.is_made_of_days else timeframe for timeframe in timeframes)
        wanted = list(dict.fromkeys(files))
        check = partial(self._aggregator.up_to_date, timeframes=wanted, first=first, last=last)
        refresh = partial(self._aggregator.refresh, timeframes=wanted, first=first, last=last)
        attempts = partial(self._attempted, check), partial(self._attempted, refresh)
        total = sum(self._counts(symbols if wanted else (), *attempts), start=AggregationReport(0, 0))
        if wanted and self._stopping():
            total += AggregationReport(0, 0, (STOPPED,))
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

    def _attempted(self, act: Callable[[Symbol], AggregationReport | None], symbol: Symbol) -> AggregationReport | None:
        if self._stopping():
            return AggregationReport(0, 0)
        try:
            return act(symbol)
        except StorageError as error:
            return AggregationReport(0, 0, (f"{symbol}: {error}",))
