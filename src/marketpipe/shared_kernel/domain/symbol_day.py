from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate


@frozen(order=True)
class SymbolDay:
    """The unit of ingestion, storage and completeness: one symbol on one trading date."""

    symbol: Symbol
    trading_date: TradingDate

    def __str__(self) -> str:
        return f"{self.symbol} {self.trading_date}"


def dates_by_symbol(days: Iterable[SymbolDay]) -> Mapping[Symbol, list[TradingDate]]:
    """Symbols and dates in the order in which they come."""
    dates: defaultdict[Symbol, list[TradingDate]] = defaultdict(list)
    for day in days:
        dates[day.symbol].append(day.trading_date)
    return dates
