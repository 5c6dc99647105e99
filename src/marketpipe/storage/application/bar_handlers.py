"""Storage's handlers: they store validated bars, compare them with stored ones, and read stored bars for review."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Final

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted, PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsCompared,
    BarsStored,
    BarsValidated,
    OfficialDayChange,
    OfficialDaysChanged,
    OfficialDaysStored,
    OfficialDaysValidated,
    PartitionFoundDamaged,
    StoredBarsRead,
)
from marketpipe.storage.application.ports import BarStore, OfficialDayStore

SYMBOL_DAYS_AT_A_TIME: Final = 32
CompareBars = Callable[[ColumnarBars, ColumnarBars], tuple[DayComparison, ...]]
"""Takes accepted and rejected bars; returns what storing them would change, an entry for each slice of accepted ones.

A file that cannot be read is the ``error`` of its day.
"""
StoredDays = Callable[[Iterable[Symbol], TradingDate, TradingDate], Iterator[SymbolDay]]
"""Yields the stored days between the dates, both inclusive, ascending by symbol, then date."""
Together = Callable[[], AbstractContextManager[None]]
"""Makes one transaction of all that this thread writes into the state inside; an error ends it, and nothing is kept."""
NewLock = Callable[[], AbstractContextManager[None]]
ReadBars = Callable[[Sequence[SymbolDay]], ColumnarBars]
"""Raises ``PartitionUnreadableError``."""


class BarStorer:
    """Publishes day files. Of a symbol-day nothing is written without its lease: ``pin_lease`` is called before.

    It raises ``StoreBusyError`` if the lease ran out and another worker has taken it; then nothing is stored.
    """

    def __init__(
        self,
        store: BarStore,
        pin_lease: Callable[[BarsRequest], None],
        bus: EventBus,
        together: Together | None = None,
    ) -> None:
        """``together`` is for a store whose files take their places by what is written in the state: that, the lease
        and the records of what was stored are one transaction then. See docs/adr/0048.
        """
        self._store, self._pin_lease, self._bus, self._together = store, pin_lease, bus, together

    def on_bars_validated(self, event: BarsValidated) -> None:
        self._pin_lease(event.request)
        if self._together is None:
            days = self._store.store(event.accepted, event.rejected)
            self._bus.publish(BarsStored(event.request, days))
        else:
            self._store_together(event, self._together)

    def _store_together(self, event: BarsValidated, together: Together) -> None:
        stop: IngestionInterrupted | None = None
        with together():
            days = self._store.store(event.accepted, event.rejected)
            self._pin_lease(event.request)  # again, as a part of this transaction: a late one must change nothing
            try:
                self._bus.publish(BarsStored(event.request, days))
            except IngestionInterrupted as error:
                stop = error  # it comes after the records, which are to be kept
        if stop is not None:
            raise stop


class OfficialDayStorer:
    """Publishes files of official days, under a lock from the reading of the stored ones to their record in the state.

    Two processes would else merge with the same file, and the later one would lose the rows of the other.
    """

    def __init__(self, store: OfficialDayStore, lock: NewLock, bus: EventBus) -> None:
        """``lock`` makes a lock that excludes every other thread and process that stores official days here."""
        self._store, self._lock, self._bus = store, lock, bus

    def on_official_days_validated(self, event: OfficialDaysValidated) -> None:
        def announce(changes: tuple[OfficialDayChange, ...]) -> None:
            self._bus.publish(OfficialDaysChanged(event.request, changes))

        with self._lock():
            years = self._store.store(event, announce)
            self._bus.publish(OfficialDaysStored(event.request, years, event.refused))


class BarAuditor:
    """Publishes how validated bars differ from the stored ones. Changes nothing."""

    def __init__(self, compare: CompareBars, bus: EventBus) -> None:
        self._compare, self._bus = compare, bus

    def on_bars_validated(self, event: BarsValidated) -> None:
        self._bus.publish(BarsCompared(event.request, self._compare(event.accepted, event.rejected)))


class StoredBarsReviewer:
    """Publishes stored bars for another validation, a few symbol-days at a time, so that memory stays flat."""

    def __init__(self, stored_days: StoredDays, read: ReadBars, bus: EventBus) -> None:
        self._stored_days, self._read, self._bus = stored_days, read, bus

    def review(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> None:
        """Review the days between the dates, both inclusive."""
        days = self._stored_days(symbols, first, last)
        while some := list(islice(days, SYMBOL_DAYS_AT_A_TIME)):
            self._review(some)

    def _review(self, days: list[SymbolDay]) -> None:
        try:
            bars = self._read(days)
        except PartitionUnreadableError as error:
            self._review_one_by_one(days, error)
        else:
            self._bus.publish(StoredBarsRead(bars))

    def _review_one_by_one(self, days: list[SymbolDay], error: PartitionUnreadableError) -> None:
        """Find the damaged file, so that the other days are reviewed all the same."""
        if len(days) == 1:
            self._bus.publish(PartitionFoundDamaged(days[0], str(error)))
            return
        for day in days:
            self._review([day])
