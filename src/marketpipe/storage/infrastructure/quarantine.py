"""What is kept out of the store, symbol-day by symbol-day."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from marketpipe.shared_kernel.domain.columnar_bars import SymbolDaySlice
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.storage.infrastructure.bar_merge import joined_rejections
from marketpipe.storage.infrastructure.parquet_reader import read_rejected

NOON = time(12)
"""Lies in every regular session, on half days too."""


def rejected_after(part: SymbolDaySlice, rejected: pa.Table | None, stored: Path | None) -> pa.Table | None:
    """What has to lie there once the provider has spoken again; None for nothing. ``stored`` lies there now.

    A whole new word replaces what was said of its window; a part of one only adds.
    """
    found = None if stored is None else _found_at(stored)
    kept = None if found is None else _outside(found, part)
    if kept is None or not len(kept):
        return rejected
    return kept if rejected is None else joined_rejections(kept, rejected)


def _found_at(path: Path) -> pa.Table | None:
    try:
        return read_rejected(path)
    except PartitionUnreadableError:  # what cannot be read any more keeps nothing out
        return None


def _outside(rejected: pa.Table, part: SymbolDaySlice) -> pa.Table:
    """Bars without a readable time go with the regular session."""
    window = part.whole
    if window is None:
        return rejected
    start, end = (pa.scalar(edge.moment, rejected["timestamp"].type) for edge in (window.start, window.end))
    elsewhere = pc.or_(pc.less(rejected["timestamp"], start), pc.greater_equal(rejected["timestamp"], end))
    return rejected.filter(pc.fill_null(elsewhere, not is_word_on_regular_hours(part)))


def is_word_on_regular_hours(part: SymbolDaySlice) -> bool:
    """Whether it is whole for them, and not only for the hours around."""
    return part.whole is not None and part.whole.contains(part.symbol_day.trading_date.at(NOON))
