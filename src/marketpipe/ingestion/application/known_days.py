from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import frozen

from marketpipe.ingestion.application.examined_symbol import ExaminedSymbol, examine
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.shared_kernel.domain.store_inventory import FileCondition, StoreInventory
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionHours

KnownHours = Mapping[Symbol, Mapping[TradingDate, SessionHours]]


@frozen
class KnownDays:
    """For which ``hours`` each symbol-day of a scope needs no request, and which have a file and no record at all."""

    hours: KnownHours
    unrecorded: frozenset[SymbolDay]


def known_days(
    scope: IngestionScope,
    state: IngestionState,
    inventory: StoreInventory,
    doubted: Collection[SymbolDay] = (),
) -> KnownDays:
    """A checkpoint counts for nothing where its file is gone or altered, where a file lies though it says that there
    were no bars, and where the symbol-day is ``doubted``.

    Where all files of a symbol appear as they have to, their days are looked at no closer.
    """
    doubts, hours, unrecorded = frozenset(doubted), dict[Symbol, Mapping[TradingDate, SessionHours]](), set[SymbolDay]()
    in_doubt = {day.symbol for day in doubts}
    for symbol in scope.symbols:
        first, last = scope.first_of(symbol), scope.last
        outlines = state.outlines(symbol, first, last)
        if symbol not in in_doubt and inventory.appearances(symbol, first, last) == outlines.files:
            hours[symbol] = outlines.settled
            continue
        examined = examine(symbol, first, last, state, inventory)
        hours[symbol] = _settled_hours(symbol, examined, doubts)
        unrecorded.update(SymbolDay(symbol, date) for date in _without_record(examined))
    return KnownDays(hours, frozenset(unrecorded))


def _settled_hours(
    symbol: Symbol, examined: ExaminedSymbol, doubts: frozenset[SymbolDay]
) -> Mapping[TradingDate, SessionHours]:
    return {
        date: record.settled_hours
        for date, record in examined.records.items()
        if record.settled_hours
        and examined.conditions.get(date) is None
        and not (doubts and SymbolDay(symbol, date) in doubts)
    }


def _without_record(examined: ExaminedSymbol) -> list[TradingDate]:
    unknown = FileCondition.UNRECORDED
    return [date for date, found in examined.conditions.items() if found is unknown and date not in examined.records]
