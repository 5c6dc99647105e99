from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import StoreLayout

LOADED_SCHEMA = pa.schema([pa.field("symbol", pa.string()), *BAR_SCHEMA])


class BarLoader:
    """Bars of any timeframe as one Arrow table. Paths are computed from symbols and dates; no tree is listed."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def load(self, symbols: Sequence[Symbol], first: TradingDate, last: TradingDate, timeframe: Timeframe) -> pa.Table:
        """By symbol, then time. Raises ``PartitionUnreadableError``."""
        tables = [self._load_symbol(symbol, first, last, timeframe) for symbol in symbols]
        return pa.concat_tables([LOADED_SCHEMA.empty_table(), *tables])

    def _load_symbol(self, symbol: Symbol, first: TradingDate, last: TradingDate, timeframe: Timeframe) -> pa.Table:
        files = [str(path.absolute()) for path in self._paths(symbol, first, last, timeframe) if path.exists()]
        if not files:
            return LOADED_SCHEMA.empty_table()
        start, end = (
            pa.scalar(day.midnight.moment, BAR_SCHEMA.field("timestamp").type) for day in (first, last.plus_days(1))
        )
        whole_days = (
            None
            if timeframe is Timeframe.MINUTE_1
            else (pc.field("timestamp") >= start) & (pc.field("timestamp") < end)
        )
        try:
            bars = ds.dataset(files, schema=BAR_SCHEMA, format="parquet").to_table(filter=whole_days)
        except (OSError, pa.ArrowException) as error:
            raise PartitionUnreadableError(
                f"a file of {symbol} between {first} and {last} is damaged: {error}"
            ) from error
        return bars.add_column(0, LOADED_SCHEMA.field("symbol"), pa.repeat(pa.scalar(str(symbol)), len(bars)))

    def _paths(self, symbol: Symbol, first: TradingDate, last: TradingDate, timeframe: Timeframe) -> Iterator[Path]:
        if timeframe is Timeframe.MINUTE_1:
            return (self._layout.bars(SymbolDay(symbol, day)) for day in _days(first, last))
        months = (MonthPartition.of(SymbolDay(symbol, day)) for day in _days(first, last))
        return iter(dict.fromkeys(self._layout.aggregate(timeframe, month) for month in months))


def _days(first: TradingDate, last: TradingDate) -> Iterator[TradingDate]:
    return (first.plus_days(i) for i in range((last.day - first.day).days + 1))
