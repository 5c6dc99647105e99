"""A market data provider whose bars come from a user's own table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.domain.table_import import ImportPreview, ImportSettings, capabilities_of_import
from marketpipe.integration.infrastructure.imported.table_reader import BarTable, SourceTable, read_bars
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingCalendar, TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA


@frozen
class ImportedBars:
    """``OwnBars`` over a table in memory."""

    bars: BarTable

    @classmethod
    def read(cls, source: SourceTable, settings: ImportSettings, calendar: TradingCalendar) -> ImportedBars:
        """Raises ``ConfigurationError`` for a table that cannot be read as one of bars."""
        return cls(read_bars(source, settings, calendar))

    @property
    def preview(self) -> ImportPreview:
        return self.bars.preview

    def dates(self) -> Mapping[Symbol, Mapping[TradingDate, int]]:
        return self.bars.dates()

    @property
    def newest(self) -> Timestamp | None:
        newest = pc.max(self.bars.table["timestamp"].cast(pa.int64())).as_py()
        return None if newest is None else Timestamp.from_epoch_micros(newest)

    def provider(self) -> ImportedClient:
        return ImportedClient(self.bars)


class ImportedClient:
    """Answers requests from a table in memory: pages are slices of it, and nothing is copied.

    Bars outside the hours of trading are not in the table: the preview has counted them.
    """

    def __init__(self, bars: BarTable) -> None:
        self._bars: BarTable | None = bars
        shown = bars.preview
        self._capabilities = capabilities_of_import(shown.provider, shown.adjustment, shown.timeframe)
        self._places = {symbol: place for place, symbol in enumerate(bars.symbols)}

    @property
    def capabilities(self) -> ProviderCapabilities:
        return self._capabilities

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        """Yield pages by symbol, then time, as the table has them."""
        most, runs, rows = self._capabilities.bars_per_page, list[tuple[Symbol, pa.Table]](), 0
        for symbol, table in self._tables(request):
            while len(table) and rows + len(table) > most:
                part = table.slice(0, most - rows)
                yield _page([*runs, (symbol, part)], f"{symbol}|{len(table)}")
                table, runs, rows = table.slice(len(part)), [], 0
            runs.append((symbol, table))
            rows += len(table)
        yield _page(runs, None)

    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        for page in self.fetch_batch(request):
            yield page

    def close(self) -> None:
        """Release the table."""
        self._bars = None

    def _tables(self, request: BarsRequest) -> Iterator[tuple[Symbol, pa.Table]]:
        """Yield the bars of each symbol in the requested window."""
        if (bars := self._bars) is None:
            return
        stamps = bars.table["timestamp"].cast(pa.int64()).to_numpy()
        edges = np.array([request.window.start.epoch_micros, request.window.end.epoch_micros], np.int64)
        for symbol in sorted(request.symbols):
            if (place := self._places.get(symbol)) is None:
                continue
            begin, end = bars.bounds[place], bars.bounds[place + 1]
            start, stop = stamps[begin:end].searchsorted(edges)
            yield symbol, bars.table.slice(int(begin + start), int(stop - start))


def _page(runs: list[tuple[Symbol, pa.Table]], next_cursor: str | None) -> RawMarketData:
    filled = [(symbol, table) for symbol, table in runs if len(table)]
    table = pa.concat_tables([part for _, part in filled]) if filled else BAR_SCHEMA.empty_table()
    return RawMarketData(table, tuple(SymbolRun(symbol, len(part)) for symbol, part in filled), next_cursor)
