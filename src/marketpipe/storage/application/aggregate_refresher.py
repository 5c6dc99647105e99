from __future__ import annotations

from collections.abc import Sequence

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

    def __init__(self, aggregator: Aggregator, bus: EventBus) -> None:
        self._aggregator, self._bus = aggregator, bus

    def refresh(
        self,
        symbols: Sequence[Symbol],
        timeframes: Sequence[Timeframe],
        first: TradingDate | None = None,
        last: TradingDate | None = None,
    ) -> RefreshCount:
        wanted = [timeframe for timeframe in timeframes if timeframe is not Timeframe.MINUTE_1]
        counts = (self._refresh(symbol, wanted, first, last) for symbol in symbols if wanted)
        total = sum(counts, start=RefreshCount(0, 0))
        self._bus.publish(AggregatesRefreshed(total.written, total.unchanged))
        return total

    def _refresh(
        self, symbol: Symbol, timeframes: Sequence[Timeframe], first: TradingDate | None, last: TradingDate | None
    ) -> RefreshCount:
        try:
            return self._aggregator.refresh(symbol, timeframes, first, last)
        except StorageError as error:
            return RefreshCount(0, 0, (f"{symbol}: {error}",))
