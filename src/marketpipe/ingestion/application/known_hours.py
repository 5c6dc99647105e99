from __future__ import annotations

from collections.abc import Collection, Mapping

from marketpipe.ingestion.application.examined_symbol import examine
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.shared_kernel.domain.store_inventory import StoreInventory
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionHours

KnownHours = Mapping[Symbol, Mapping[TradingDate, SessionHours]]


def known_hours(
    scope: IngestionScope,
    state: IngestionState,
    inventory: StoreInventory,
    doubted: Collection[SymbolDay] = (),
) -> KnownHours:
    """For which hours each symbol-day of the scope needs no request.

    A checkpoint counts for nothing where its file is gone or altered, where a file lies though it says that there were
    no bars, and where the symbol-day is ``doubted``.
    """
    doubts = frozenset(doubted)
    return {symbol: _of_symbol(symbol, scope, state, inventory, doubts) for symbol in scope.symbols}


def _of_symbol(
    symbol: Symbol,
    scope: IngestionScope,
    state: IngestionState,
    inventory: StoreInventory,
    doubts: frozenset[SymbolDay],
) -> Mapping[TradingDate, SessionHours]:
    examined = examine(symbol, scope.first_of(symbol), scope.last, state, inventory)
    return {
        date: record.settled_hours
        for date, record in examined.records.items()
        if record.settled_hours
        and examined.conditions.get(date) is None
        and not (doubts and SymbolDay(symbol, date) in doubts)
    }
