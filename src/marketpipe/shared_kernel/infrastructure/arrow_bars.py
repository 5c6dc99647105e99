"""Bars as Arrow tables: the canonical columns, and the adapter of the port ``ColumnarBars``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice

TIMESTAMP = pa.timestamp("us", tz="UTC")
BAR_SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIMESTAMP),
        pa.field("open", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("close", pa.float64()),
        pa.field("volume", pa.float64()),
        pa.field("trade_count", pa.int64()),
        pa.field("vwap", pa.float64()),
    ]
)
"""The canonical columns. A table may have a further column ``raw``: the provider's text of records that could not be
read."""
PRICES = ("open", "high", "low", "close")
VALUES = tuple(name for name in BAR_SCHEMA.names if name != "timestamp")
SCHEMA_VERSION = 1
"""The version of these columns; it is in every day file."""
FILE_SCHEMA = BAR_SCHEMA.append(pa.field("schema_version", pa.int32()))
"""The columns of a day file. A bar's JSON Schema describes them and ``symbol``, which is in the path and no column."""


@frozen
class ArrowBars:
    """``ColumnarBars`` over an Arrow table."""

    table: pa.Table
    slices: tuple[SymbolDaySlice, ...]

    @property
    def num_rows(self) -> int:
        return int(self.table.num_rows)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def with_lengths(slices: Sequence[SymbolDaySlice], lengths: Iterable[int]) -> tuple[SymbolDaySlice, ...]:
    """Return slices of the same symbol-days with other lengths, following one another."""
    counts = list(lengths)
    offsets = accumulate(counts, initial=0)
    return tuple(evolve(s, offset=o, length=n) for s, o, n in zip(slices, offsets, counts, strict=False))


def differing_rows(before: pa.Table, after: pa.Table) -> npt.NDArray[np.bool_]:
    """Return for each row whether any value differs; both tables have the same rows, in the same order."""
    import pyarrow.compute as pc  # here: it takes 40 ms, and commands that only examine files do without it

    changed = np.zeros(len(before), np.bool_)
    for name in VALUES:
        differs = pc.fill_null(pc.not_equal(before[name], after[name]), False)
        one_is_null = pc.xor(pc.is_null(before[name]), pc.is_null(after[name]))
        changed |= pc.or_(differs, one_is_null).to_numpy()
    return changed


def has_price(bars: pa.Table) -> npt.NDArray[np.bool_]:
    """Return for each row whether any of its prices is a value, if not a good one; null and NaN are none."""
    import pyarrow.compute as pc

    found = np.zeros(len(bars), np.bool_)
    for name in PRICES:
        found |= ~pc.is_null(bars[name], nan_is_null=True).to_numpy()
    return found
