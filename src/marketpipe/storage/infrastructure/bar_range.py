from __future__ import annotations

import calendar
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from attrs import frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition, day_file
from marketpipe.storage.infrastructure.store_layout import StoreLayout


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

    def files(self, layout: StoreLayout) -> list[str]:
        """Where these bars lie if they are there, in the order of time; computed, and not looked for."""
        if self.is_of_minutes:
            months = ((f"{layout.data}/{month.folder}", days) for month, days in self._months())
            return [f"{folder}/{day_file(day)}" for folder, days in months for day in days]
        return list(dict.fromkeys(layout.aggregate_location(self.timeframe, month) for month, _ in self._months()))

    def within(self, bars: pa.Table) -> pa.Table:
        """Those of these dates, whatever else is in a file."""
        start, end = (day.midnight.epoch_micros for day in (self.first, self.last.plus_days(1)))
        times = bars["timestamp"].cast(pa.int64()).to_numpy()
        inside: np.ndarray = (times >= start) & (times < end)
        return bars if inside.all() else bars.filter(pa.array(inside))

    def _months(self) -> Iterator[tuple[MonthPartition, range]]:
        """Each with those of its days that are wanted."""
        first, last = self.first.day, self.last.day
        year, month = first.year, first.month
        while (year, month) <= (last.year, last.month):
            start = first.day if (year, month) == (first.year, first.month) else 1
            ends_here = (year, month) == (last.year, last.month)
            end = last.day if ends_here else calendar.monthrange(year, month)[1]
            yield MonthPartition(self.symbol, year, month), range(start, end + 1)
            year, month = year + month // 12, month % 12 + 1

    def __str__(self) -> str:
        return f"{self.symbol} between {self.first} and {self.last}"
