"""Integration, validation and storage in one fake handler, which answers ``BarsRequested`` as a test prescribes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from attrs import define, field

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsRequested,
    BarsStored,
    RefusedSymbol,
    StoredSymbolDay,
)

Happening = BaseException | Callable[[], None]


def stored(symbol_day: SymbolDay, rows: int = 390, **changes: object) -> StoredSymbolDay:
    session = symbol_day.trading_date.midnight
    values = {"rejected": 0, "final": True, "first": session, "last": session, "size_bytes": 1000, "sha256": "ab" * 32}
    return StoredSymbolDay(symbol_day, rows, **{**values, **changes})  # type: ignore[arg-type]


@define
class FakeRing:
    """Store the symbols one after another: one event each, with 390 bars for each session.

    ``happens`` has, by symbol, an error to raise or a function to call before its bars are stored. ``empty`` symbols
    have no bars; ``refused`` ones are refused with a reason.
    """

    bus: EventBus
    happens: Mapping[str, Happening] = field(factory=dict)
    empty: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(factory=dict)
    requests: list[BarsRequest] = field(factory=list)
    threads: set[int] = field(factory=set)

    def on_bars_requested(self, event: BarsRequested) -> None:
        request = event.request
        self.requests.append(request)
        self.threads.add(threading.get_ident())
        for symbol in request.symbols:
            self._let_happen(symbol)
            if str(symbol) not in self.empty and str(symbol) not in self.refused:
                days = tuple(stored(SymbolDay(symbol, asked.trading_date)) for asked in request.sessions)
                self.bus.publish(BarsStored(request, days))
        refused = tuple(RefusedSymbol(s, self.refused[str(s)]) for s in request.symbols if str(s) in self.refused)
        self.bus.publish(BarsExhausted(request, refused))

    def _let_happen(self, symbol: Symbol) -> None:
        happening = self.happens.get(str(symbol))
        if isinstance(happening, BaseException):
            raise happening
        if happening is not None:
            happening()
