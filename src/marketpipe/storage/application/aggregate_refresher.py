from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.aggregate_events import AggregatesRefreshed
from marketpipe.storage.application.ports import Aggregator
from marketpipe.storage.domain.refresh_count import RefreshCount


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
    ) -> RefreshCount:
        wanted = [timeframe for timeframe in timeframes if timeframe is not Timeframe.MINUTE_1]
        with self._new_executor() as executor:  # where this ends early, what is not begun is not begun any more
            refresh = partial(self._refresh, timeframes=wanted, first=first, last=last)
            total = sum(executor.map(refresh, symbols if wanted else ()), start=RefreshCount(0, 0))
        self._bus.publish(AggregatesRefreshed(total.written, total.unchanged))
        return total

    def _refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        try:
            return self._aggregator.refresh(symbol, timeframes, first, last)
        except StorageError as error:
            return RefreshCount(0, 0, (f"{symbol}: {error}",))
