"""Comparing what the provider returns now with the stored minute bars, for an audit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import MonthUnreadableError, PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, differing_rows
from marketpipe.storage.infrastructure.day_versions import merge_bars
from marketpipe.storage.infrastructure.parquet_files import (
    Int64s,
    bars_at,
    times_of,
)
from marketpipe.storage.infrastructure.store_layout import StoreLayout

Floats = npt.NDArray[np.float64]

PRICES = ("open", "high", "low", "close")
SAME_RATIO = 2e-3
HALF_A_CENT = 0.005
VOLUME_ROUNDING = 0.5
FEWEST_BARS_OF_A_RATIO = 5
FEWEST_MOVED, MOST = 0.03, 0.5
"""Shares of the prices: below the first, what has changed are single bars."""
NEARLY_ALL, ALL_BUT_FEW = 0.9, 0.99
VERY_LITTLE = 1e-6


class ParquetBarComparer:
    """Compares what the provider returns now with the day files, bar by bar: what would storing it change?"""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def compare(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[DayComparison, ...]:
        good, bad = pa.table(accepted), pa.table(rejected)
        rejected_times = {part.symbol_day: times_of(bad.slice(part.offset, part.length)) for part in rejected.slices}
        nothing = np.empty(0, np.int64)
        return tuple(
            self._compare(part, good.slice(part.offset, part.length), rejected_times.get(part.symbol_day, nothing))
            for part in accepted.slices
        )

    def _compare(self, part: SymbolDaySlice, newer: pa.Table, rejected: Int64s) -> DayComparison:
        try:
            found = bars_at(str(self._layout.bars(part.symbol_day)), disk=self._layout.disk)
        except PartitionUnreadableError as error:
            is_of_month = isinstance(error, MonthUnreadableError)  # which has advice
            advice = "" if is_of_month else "; run 'marketpipe ingest' to repair it"
            return DayComparison(part.symbol_day, error=f"{error}{advice}")
        stored = BAR_SCHEMA.empty_table() if found is None else found
        merged = merge_bars(stored, newer, rejected, part.final_window)
        return compare_bars(DayComparison(part.symbol_day), stored, merged)


def compare_bars(blank: DayComparison, old: pa.Table, new: pa.Table) -> DayComparison:
    """Return ``blank`` filled in. Both tables ascend by time, and have no time twice."""
    old_times, new_times = times_of(old), times_of(new)
    kept, still = np.isin(old_times, new_times), np.isin(new_times, old_times)
    before, after = old.filter(pa.array(kept)), new.filter(pa.array(still))
    changed = differing_rows(before, after)
    counted = evolve(
        blank,
        unchanged=int((~changed).sum()),
        changed=int(changed.sum()),
        added=int((~still).sum()),
        removed=int((~kept).sum()),
    )
    return _measured(counted, before, after) if changed.any() else counted


def _measured(counted: DayComparison, before: pa.Table, after: pa.Table) -> DayComparison:
    moves = [np.abs(_floats(after, name) / _floats(before, name) - 1) for name in PRICES]
    ratio = _constant(_floats(before, "close"), _floats(after, "close"), HALF_A_CENT)
    volumes = _constant(_floats(before, "volume"), _floats(after, "volume"), VOLUME_ROUNDING)
    return evolve(
        counted,
        largest_move=float(np.max(moves)),
        price_ratio=ratio,
        volume_ratio=volumes if ratio else None,
        scale=scale_of(*(np.concatenate([_floats(bars, name) for name in PRICES]) for bars in (before, after))),
    )


def scale_of(before: Floats, after: Floats) -> float | None:
    """Return the one ratio by which prices were adjusted again; None if there is none. Both have the same bars.

    Both sides may be rounded to cents, so that a small dividend moves only some of the prices, and by a cent. Those
    move all in one direction then; corrections of single bars do not, or leave more prices unexplained.
    """
    traded = before > 0
    old, new = before[traded], after[traded]
    moves = new - old
    moved = moves != 0
    share = float(moved.mean()) if len(old) else 0.0
    if share < FEWEST_MOVED:
        return None
    one_way = bool((moves[moved] > 0).all() or (moves[moved] < 0).all())
    for ratio in (float(np.median(new / old)), float(new.sum() / old.sum())):
        allowed = HALF_A_CENT * (1 + ratio) * (1 + VERY_LITTLE) + VERY_LITTLE * new
        explained = float((np.abs(new - ratio * old) <= allowed).mean())
        if ratio != 1 and explained >= (NEARLY_ALL if share >= MOST and one_way else ALL_BUT_FEW) and one_way:
            return ratio
    return None


def _constant(before: Floats, after: Floats, rounding: float) -> float | None:
    """Return after over before if it is the same for all bars, but for the rounding of both; else None."""
    traded = before > 0
    if traded.sum() < FEWEST_BARS_OF_A_RATIO:
        return None
    ratios = after[traded] / before[traded]
    typical = float(np.median(ratios))
    # both sides may have been rounded: to cents, or to whole units traded
    allowed = SAME_RATIO * typical + rounding * (1 + typical) / before[traded]
    return typical if bool((np.abs(ratios - typical) <= allowed).all()) else None


def _floats(bars: pa.Table, name: str) -> Floats:
    values: Floats = bars[name].to_numpy()
    return values
