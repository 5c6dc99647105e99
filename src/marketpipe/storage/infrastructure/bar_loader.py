from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.bar_range import BarRange
from marketpipe.storage.infrastructure.bar_scan import scan_bars
from marketpipe.storage.infrastructure.past_bars import PastBars
from marketpipe.storage.infrastructure.store_layout import StoreLayout

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator

LOADED_SCHEMA = pa.schema([pa.field("symbol", pa.string()), *BAR_SCHEMA])


class BarLoader:
    """Bars of any timeframe as one Arrow table. Paths are computed from symbols and dates; no tree is listed.

    An aggregator is made only where a past has to be aggregated: whoever loads what lies there needs no DuckDB.
    """

    def __init__(self, layout: StoreLayout, new_aggregator: Callable[[], DuckDBAggregator]) -> None:
        self._layout, self._past = layout, PastBars(layout, new_aggregator)

    def load(
        self,
        symbols: Sequence[Symbol],
        first: TradingDate,
        last: TradingDate,
        timeframe: Timeframe,
        as_of: Timestamp | None = None,
    ) -> pa.Table:
        """By symbol, then time; as the files are now, or as they were at ``as_of``.

        Raises ``PartitionUnreadableError``.
        """
        ranges = [BarRange(symbol, first, last, timeframe) for symbol in symbols]
        return pa.concat_tables([LOADED_SCHEMA.empty_table(), *(self._load(wanted, as_of) for wanted in ranges)])

    def _load(self, wanted: BarRange, as_of: Timestamp | None) -> pa.Table:
        try:
            bars = self._read(wanted) if as_of is None else self._past.read(wanted, as_of)
        except PartitionUnreadableError as error:
            raise PartitionUnreadableError(f"a file of {wanted} is damaged: {error}") from error
        symbols = pa.repeat(pa.scalar(str(wanted.symbol)), len(bars))
        return bars.add_column(0, LOADED_SCHEMA.field("symbol"), symbols)

    def _read(self, wanted: BarRange) -> pa.Table:
        if wanted.is_of_minutes:
            return scan_bars(_existing(map(self._layout.bars, wanted.days())))
        aggregates = dict.fromkeys(self._layout.aggregate(wanted.timeframe, month) for month in wanted.months())
        return scan_bars(_existing(aggregates), wanted.within())


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]
