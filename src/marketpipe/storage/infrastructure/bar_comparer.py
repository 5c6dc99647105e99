from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import evolve

from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.day_comparison import DayComparison
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.bar_merge import merge_bars
from marketpipe.storage.infrastructure.parquet_reader import read_bars
from marketpipe.storage.infrastructure.store_layout import StoreLayout

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PRICES = ("open", "high", "low", "close")
VALUES = [name for name in BAR_SCHEMA.names if name != "timestamp"]
SAME_RATIO = 2e-3
HALF_A_CENT = 0.005
VOLUME_ROUNDING = 0.5
FEWEST_BARS_OF_A_RATIO = 5


class ParquetBarComparer:
    """Holds what the provider says now against the day files, bar by bar, and tells what storing it would change."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def compare(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[DayComparison, ...]:
        good, bad = pa.table(accepted), pa.table(rejected)
        turned_down = {part.symbol_day: _times(bad.slice(part.offset, part.length)) for part in rejected.slices}
        nothing = np.empty(0, np.int64)
        return tuple(
            self._compare(part, good.slice(part.offset, part.length), turned_down.get(part.symbol_day, nothing))
            for part in accepted.slices
        )

    def _compare(self, part: SymbolDaySlice, newer: pa.Table, rejected: Int64s) -> DayComparison:
        path = self._layout.bars(part.symbol_day)
        try:
            stored = read_bars(path).select(BAR_SCHEMA.names) if path.exists() else BAR_SCHEMA.empty_table()
        except PartitionUnreadableError as error:
            return DayComparison(part.symbol_day, error=f"{error}; run marketpipe ingest, which heals it")
        return compare_bars(DayComparison(part.symbol_day), stored, merge_bars(stored, newer, rejected, part.whole))


def compare_bars(blank: DayComparison, old: pa.Table, new: pa.Table) -> DayComparison:
    """``blank`` filled in. Both tables ascend by time, and no time is in one of them twice."""
    old_times, new_times = _times(old), _times(new)
    kept, still = np.isin(old_times, new_times), np.isin(new_times, old_times)
    before, after = old.filter(pa.array(kept)), new.filter(pa.array(still))
    changed = _changed(before, after)
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
        counted, largest_move=float(np.max(moves)), price_ratio=ratio, volume_ratio=volumes if ratio else None
    )


def _changed(before: pa.Table, after: pa.Table) -> Bools:
    changed = np.zeros(len(before), np.bool_)
    for name in VALUES:
        differs = pc.fill_null(pc.not_equal(before[name], after[name]), False)
        one_is_null = pc.xor(pc.is_null(before[name]), pc.is_null(after[name]))
        changed |= pc.or_(differs, one_is_null).to_numpy()
    return changed


def _constant(before: Floats, after: Floats, rounding: float) -> float | None:
    """After over before, where it is the same for every bar but for the rounding of both; None where it is not."""
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


def _times(bars: pa.Table) -> Int64s:
    times: Int64s = bars["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    return times
