"""Answers a query that only selects bars from read copies, with the table that DuckDB would make of them.

Copies have their bars in order, so nothing is sorted, and those in Arrow's format are not even read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final

import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.parquet_files import map_in_threads, times_of
from marketpipe.storage.infrastructure.reading.bars_query import ALL_ROWS, BarsQuery, Rows
from marketpipe.storage.infrastructure.reading.minute_files import MinuteFiles
from marketpipe.storage.infrastructure.reading.month_parts import Part, parts_of_months
from marketpipe.storage.infrastructure.reading.needed_bars import TRADING_DATE
from marketpipe.storage.infrastructure.reading.select_syntax import SESSION
from marketpipe.storage.infrastructure.reading.selected_bars import SYMBOL, repeated
from marketpipe.storage.infrastructure.reading.session_hours import SessionNames

LONGEST_SESSION: Final = len("regular")
BYTES_OF_A_PLACE: Final = 4
"""Where a text ends, and also those of a date."""


def answered_bars(files: MinuteFiles, wanted: BarsQuery, most_bytes: int, sessions: SessionNames) -> pa.Table | None:
    """Return the selected bars; None if DuckDB has to answer, as for ``parts_of_months``.

    So it has if they have over ``most_bytes``, and for some rows of copies in Parquet.
    """
    if wanted.rows != ALL_ROWS and not files.are_mapped:
        return None  # to decode whole copies in Parquet for some rows takes longer than DuckDB does
    if (parts := parts_of_months(files, wanted.bars, wanted.columns, most_bytes)) is None:
        return None
    parts, before = _having(parts, wanted.rows)
    if not parts:
        return None
    bars = pa.concat_tables([part.bars for part in parts])
    if _bytes_of(wanted.columns, bars, parts) > most_bytes:  # before the columns are made that copies do not have
        return None
    made = {name: _column(name, bars, parts, sessions) for name in wanted.columns}
    return pa.table(made).slice(before, wanted.rows.most)


def _bytes_of(columns: Collection[str], bars: pa.Table, parts: Sequence[Part]) -> int:
    """Return how many bytes these columns have, at most."""
    size: int = bars.select([name for name in columns if name in BAR_SCHEMA.names]).nbytes
    if SYMBOL.name in columns:
        size += sum(len(part.bars) * (BYTES_OF_A_PLACE + len(part.symbol)) for part in parts)
    if TRADING_DATE in columns:
        size += len(bars) * BYTES_OF_A_PLACE
    if SESSION in columns:
        size += len(bars) * (BYTES_OF_A_PLACE + LONGEST_SESSION) + len(bars) // 8
    return size


def _having(parts: Sequence[Part], rows: Rows) -> tuple[Sequence[Part], int]:
    """Return the parts that have these rows, none if there are none, and how many others the first one begins with."""
    ends = np.cumsum([len(part.bars) for part in parts])
    first = int(np.searchsorted(ends, rows.skipped, "right"))
    until = len(parts) if rows.most is None else int(np.searchsorted(ends, rows.skipped + rows.most)) + 1
    return parts[first:until], rows.skipped - (int(ends[first - 1]) if first else 0)


def _column(name: str, bars: pa.Table, parts: Sequence[Part], sessions: SessionNames) -> pa.Array | pa.ChunkedArray:
    if name == SYMBOL.name:
        groups = [
            (symbol, [len(part.bars) for part in some]) for symbol, some in groupby(parts, lambda part: part.symbol)
        ]
        return repeated([symbol for symbol, _ in groups], [lengths for _, lengths in groups])
    if name == TRADING_DATE:
        days, counts = (np.concatenate([getattr(part, each) for part in parts]) for each in ("days", "counts"))
        return pa.array(days.repeat(counts)).cast(pa.date32())
    if name == SESSION:
        return pa.chunked_array(map_in_threads(lambda part: sessions.of(times_of(part.bars)), parts))
    return bars[name]
