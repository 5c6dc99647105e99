from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import TIMESTAMP
from marketpipe.storage.domain.data_partition import MonthPartition


@frozen
class BarRange:
    """Bars of one symbol; both dates are inclusive."""

    symbol: Symbol
    first: TradingDate
    last: TradingDate
    timeframe: Timeframe

    @property
    def is_of_minutes(self) -> bool:
        return self.timeframe is Timeframe.MINUTE_1

    def days(self) -> Iterator[SymbolDay]:
        count = (self.last.day - self.first.day).days + 1
        return (SymbolDay(self.symbol, self.first.plus_days(i)) for i in range(count))

    def months(self) -> Collection[MonthPartition]:
        return dict.fromkeys(map(MonthPartition.of, self.days()))

    def within(self) -> pc.Expression:
        """True of the bars of these dates, whatever else is in a file."""
        start, end = (pa.scalar(day.midnight.moment, TIMESTAMP) for day in (self.first, self.last.plus_days(1)))
        return (pc.field("timestamp") >= start) & (pc.field("timestamp") < end)

    def __str__(self) -> str:
        return f"{self.symbol} between {self.first} and {self.last}"
