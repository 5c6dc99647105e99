from __future__ import annotations

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
