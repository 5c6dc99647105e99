"""A loaded table in the form that its caller wants: the hours, the columns and the time zone of a ``BarSelection``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers
from marketpipe.storage.domain.bar_selection import TRADING_DATE, BarSelection
from marketpipe.storage.infrastructure.parquet_files import times_of

SYMBOL: Final = pa.field("symbol", pa.string())
Sessions = Callable[[TradingDate, TradingDate], Sequence[TradingSession]]
"""Returns the sessions between two trading dates, both inclusive, ascending, as far as the calendar reaches."""


class RegularHours:
    """Cuts bars to the regular sessions of their dates: a half day's ends early. The sessions of a year are found once.

    Several threads may call it.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._bounds = lru_cache(maxsize=None)(partial(_bounds, sessions))

    def __call__(self, bars: pa.Table) -> pa.Table:
        """Return the bars that begin in a regular session."""
        times = times_of(bars)
        if not len(times):
            return bars
        first, last = (TradingDate.of(Timestamp.from_epoch_micros(int(time))) for time in (times.min(), times.max()))
        # Opens and closes alternate and ascend, so a moment in a session has an odd number of them before or at it.
        bounds = np.concatenate([self._bounds(year) for year in range(first.day.year, last.day.year + 1)])
        inside: npt.NDArray[np.bool_] = np.searchsorted(bounds, times, side="right") % 2 == 1
        return bars if inside.all() else bars.filter(pa.array(inside))


def _bounds(sessions: Sessions, year: int) -> npt.NDArray[np.int64]:
    found = sessions(TradingDate.parse(f"{year:04d}-01-01"), TradingDate.parse(f"{year:04d}-12-31"))
    return np.array([moment.epoch_micros for each in found for moment in (each.opens, each.closes)], np.int64)


def selected(bars: Sequence[pa.Table], symbols: Sequence[str], selection: BarSelection) -> pa.Table:
    """Return the table of the bars of all symbols, a table each in the same order, with the columns of the selection.

    The tables have the same columns, and one of them is ``timestamp``.
    """
    table = pa.concat_tables(bars)
    columns = [_column(name, table, symbols, bars) for name in selection.columns]
    made = pa.table(dict(zip(selection.columns, columns, strict=True)))
    if selection.time_zone == "UTC" or "timestamp" not in selection.columns:
        return made
    place = made.schema.get_field_index("timestamp")
    local = pa.field("timestamp", pa.timestamp("us", tz=selection.time_zone))
    return made.set_column(place, local, made["timestamp"].cast(local.type))


def _column(name: str, bars: pa.Table, symbols: Sequence[str], parts: Sequence[pa.Table]) -> pa.Array | pa.ChunkedArray:
    if name == SYMBOL.name:
        return repeated(symbols, list(map(lengths_of, parts)))
    if name == TRADING_DATE:
        return pa.array(day_numbers(times_of(bars)).astype(np.int32)).cast(pa.date32())
    return bars[name]


def lengths_of(bars: pa.Table) -> list[int]:
    """Return the numbers of bars of the parts that a table was put together from."""
    return [len(chunk) for chunk in bars.column(0).chunks]


def repeated(symbols: Sequence[str], lengths: Sequence[Sequence[int]]) -> pa.ChunkedArray:
    """Return a column of symbols; ``lengths`` are the numbers of bars of the parts of each.

    It is made of buffers: with ``pa.array`` pyarrow would import pandas, for a quarter of a second. All parts of a
    symbol share one buffer, as long as the longest of them: a year takes the memory, and the time, of a month.
    """
    texts = [symbol.encode() for symbol in symbols]
    most = [max(some, default=0) for some in lengths]
    ends = np.arange(max(most, default=0) + 1, dtype=np.int32)  # where texts end, in texts
    bounds = {size: pa.py_buffer(ends * np.int32(size)) for size in {*map(len, texts)}}
    chunks = list[pa.Array]()
    for text, longest, some in zip(texts, most, lengths, strict=True):
        names = pa.StringArray.from_buffers(longest, bounds[len(text)], pa.py_buffer(text * longest))
        chunks += [names if length == longest else names.slice(0, length) for length in some]
    return pa.chunked_array(chunks, SYMBOL.type)
