from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe


@frozen
class DataPartition:
    """One file of minute bars: a symbol on a trading date. Its path is computed, never searched for."""

    symbol_day: SymbolDay

    @property
    def folder(self) -> str:
        return MonthPartition.of(self.symbol_day).folder

    @property
    def path(self) -> str:
        """Relative to the data root, with forward slashes."""
        return f"{self.folder}/day={self.symbol_day.trading_date.day.day:02d}.parquet"


@frozen(order=True)
class MonthPartition:
    """The minute bars of one symbol in one month: what intraday aggregates are made from."""

    symbol: Symbol
    year: int
    month: int

    @classmethod
    def of(cls, symbol_day: SymbolDay) -> MonthPartition:
        day = symbol_day.trading_date.day
        return cls(symbol_day.symbol, day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def year_folder(self) -> str:
        return f"symbol={self.symbol}/year={self.year:04d}"

    @property
    def folder(self) -> str:
        return f"{self.year_folder}/month={self.month:02d}"


def aggregate_path(timeframe: Timeframe, month: MonthPartition) -> str:
    """Relative to the aggregates root: intraday bars lie in a file a month, daily bars in a file a year."""
    period = month.folder if timeframe.is_intraday else month.year_folder
    return f"timeframe={timeframe}/{period}.parquet"
