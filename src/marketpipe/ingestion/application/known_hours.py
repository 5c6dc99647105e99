from __future__ import annotations

from collections.abc import Collection, Mapping

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.shared_kernel.domain.store_inventory import FileCondition, StoreInventory
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionHours

KnownHours = Mapping[Symbol, Mapping[TradingDate, SessionHours]]
LOST = (FileCondition.GONE, FileCondition.ALTERED)


def known_hours(
    scope: IngestionScope,
    state: IngestionState,
    inventory: StoreInventory,
    doubted: Collection[SymbolDay] = (),
) -> KnownHours:
    """For which hours each symbol-day of the scope needs no request.

    A checkpoint whose file is gone or altered counts for nothing, nor does one of a ``doubted`` symbol-day.
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
    records = state.records(symbol, scope.first_of(symbol), scope.last)
    files = {date: record.file for date, record in records.items() if record.file is not None}
    conditions = inventory.conditions(symbol, scope.first_of(symbol), scope.last, files)
    return {
        date: record.settled_hours
        for date, record in records.items()
        if record.settled_hours
        and conditions.get(date) not in LOST
        and not (doubts and SymbolDay(symbol, date) in doubts)
    }
