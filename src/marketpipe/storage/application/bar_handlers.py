from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsCompared,
    BarsStored,
    BarsValidated,
    PartitionFoundDamaged,
    StoredBarsRead,
)
from marketpipe.storage.application.ports import BarComparer, BarStore, StoredBars


class BarStorer:
    """Publishes day files. Of a symbol-day nothing is written without its lease: ``pin_lease`` is called before.

    It raises ``StoreBusyError`` if the lease ran out and another worker has taken it; then nothing is stored.
    """

    def __init__(self, store: BarStore, pin_lease: Callable[[BarsRequest], None], bus: EventBus) -> None:
        self._store, self._pin_lease, self._bus = store, pin_lease, bus

    def on_bars_validated(self, event: BarsValidated) -> None:
        self._pin_lease(event.request)
        days = self._store.store(event.accepted, event.rejected)
        self._bus.publish(BarsStored(event.request, days))


class BarAuditor:
    def __init__(self, comparer: BarComparer, bus: EventBus) -> None:
        self._comparer, self._bus = comparer, bus

    def on_bars_validated(self, event: BarsValidated) -> None:
        days = self._comparer.compare(event.accepted, event.rejected)
        self._bus.publish(BarsCompared(event.request, days))


SYMBOL_DAYS_AT_A_TIME = 32


class StoredBarsReviewer:
    """Brings stored bars back for another judgement, a few symbol-days at a time so that memory stays flat."""

    def __init__(self, bars: StoredBars, bus: EventBus) -> None:
        self._bars, self._bus = bars, bus

    def review(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> None:
        days = self._bars.stored_days(symbols, first, last)
        while some := list(islice(days, SYMBOL_DAYS_AT_A_TIME)):
            self._review(some)

    def _review(self, days: list[SymbolDay]) -> None:
        try:
            bars = self._bars.read(days)
        except PartitionUnreadableError as error:
            self._review_apart(days, error)
        else:
            self._bus.publish(StoredBarsRead(bars))

    def _review_apart(self, days: list[SymbolDay], error: PartitionUnreadableError) -> None:
        """One damaged file must not hide its neighbours."""
        if len(days) == 1:
            self._bus.publish(PartitionFoundDamaged(days[0], str(error)))
            return
        for day in days:
            self._review([day])
