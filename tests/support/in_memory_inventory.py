from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate


@define
class InMemoryInventory:
    """``StoreInventory``: every file that the state has recorded is there, but for those in ``lost``."""

    state: IngestionState
    lost: set[SymbolDay] = field(factory=set)

    def sizes(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, int]:
        recorded = self.state.recorded_sizes(IngestionScope((symbol,), first, last)).get(symbol, {})
        return {day: size for day, size in recorded.items() if SymbolDay(symbol, day) not in self.lost}
