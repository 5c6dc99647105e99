from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import pyarrow as pa

from marketpipe.shared_kernel.domain.columnar_bars import SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.storage.infrastructure.parquet_reader import read_bars
from marketpipe.storage.infrastructure.store_layout import StoreLayout


class ParquetStoredBars:
    """Minute bars as they lie on disk, symbol-day by symbol-day."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def symbols(self) -> tuple[Symbol, ...]:
        return tuple(self._layout.symbols())

    def stored_days(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> Iterator[SymbolDay]:
        for symbol in sorted(symbols):
            for month in self._layout.months(symbol):
                for path in self._layout.day_files(month):
                    day = TradingDate.parse(f"{month.year:04d}-{month.month:02d}-{path.stem.partition('=')[2]}")
                    if first <= day <= last:
                        yield SymbolDay(symbol, day)

    def read(self, days: Sequence[SymbolDay]) -> ArrowBars:
        tables = [read_bars(self._layout.bars(day)) for day in days]
        offsets = accumulate((len(table) for table in tables), initial=0)
        parts = zip(days, offsets, tables, strict=False)
        slices = tuple(SymbolDaySlice(day, offset, len(table)) for day, offset, table in parts)
        return ArrowBars(pa.concat_tables(tables), slices)
