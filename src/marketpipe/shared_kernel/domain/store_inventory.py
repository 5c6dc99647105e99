from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate


class StoreInventory(Protocol):
    """What really lies in the store, whatever anybody has written down about it."""

    def sizes(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, int]:
        """The bytes of each file of minute bars between the dates, both inclusive."""
        ...
