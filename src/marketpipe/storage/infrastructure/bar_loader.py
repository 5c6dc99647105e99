from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.bar_range import BarRange
from marketpipe.storage.infrastructure.bar_scan import bars_at, each
from marketpipe.storage.infrastructure.past_bars import PastBars
from marketpipe.storage.infrastructure.store_layout import StoreLayout

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator

SYMBOL = pa.field("symbol", pa.string())


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
        found = self._now(ranges) if as_of is None else [self._known_at(as_of, wanted) for wanted in ranges]
        return _named(_in_one(found), [str(symbol) for symbol in symbols], [len(bars) for bars in found])

    def _now(self, ranges: Sequence[BarRange]) -> list[pa.Table]:
        """The files of all together: there may be a thousand symbols with a file each."""
        files = [[(wanted, path) for path in wanted.files(self._layout)] for wanted in ranges]
        read = iter(each(_read, [*chain.from_iterable(files)]))
        stored = ([bars for bars in islice(read, len(some)) if bars is not None] for some in files)
        return [_in_one(tables) for tables in stored]

    def _known_at(self, as_of: Timestamp, wanted: BarRange) -> pa.Table:
        try:
            return self._past.read(wanted, as_of)
        except PartitionUnreadableError as error:
            raise _damage(wanted, error) from error


def _read(file: tuple[BarRange, str]) -> pa.Table | None:
    wanted, path = file
    try:
        bars = bars_at(path)
    except PartitionUnreadableError as error:
        raise _damage(wanted, error) from error
    return bars if bars is None or wanted.is_of_minutes else wanted.within(bars)


def _damage(wanted: BarRange, error: PartitionUnreadableError) -> PartitionUnreadableError:
    return PartitionUnreadableError(f"a file of {wanted} is damaged: {error}")


def _in_one(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables) if tables else BAR_SCHEMA.empty_table()


def _named(bars: pa.Table, symbols: Sequence[str], lengths: Sequence[int]) -> pa.Table:
    """So many bars of each symbol."""
    which = pa.array(np.repeat(np.arange(len(symbols), dtype=np.int32), lengths))
    names = pa.DictionaryArray.from_arrays(which, pa.array(symbols, pa.string())).dictionary_decode()
    return bars.add_column(0, SYMBOL, names)
