from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from marketpipe.shared_kernel.domain.time_window import TimeWindow

Int64s = npt.NDArray[np.int64]


def merge_bars(stored: pa.Table, newer: pa.Table, rejected: Int64s, whole: TimeWindow | None) -> pa.Table:
    """What is true of a symbol-day once the provider has spoken again, ascending by time.

    Per timestamp the newer bar wins. A stored bar that is not said again stays, unless the newer word is ``whole`` for
    the window it lies in. A bar whose newer version was rejected (``rejected``: their times) stays as it was.
    """
    times, known = times_of(stored), times_of(newer)
    keep = ~np.isin(times, known)
    if whole is not None and len(known):
        withdrawn = (times >= whole.start.epoch_micros) & (times < whole.end.epoch_micros) & ~np.isin(times, rejected)
        keep &= ~withdrawn
    return in_order(pa.concat_tables([stored.filter(pa.array(keep)), newer]))


def joined_rejections(stored: pa.Table, newer: pa.Table) -> pa.Table:
    """Every rejected bar once, in the order in which they came."""
    rows = [*stored.to_pylist(), *newer.to_pylist()]
    unlike = {repr(row): row for row in rows}  # as text, in which NaN equals NaN
    return pa.Table.from_pylist(list(unlike.values()), schema=newer.schema)


def in_order(bars: pa.Table) -> pa.Table:
    times = times_of(bars)
    (rises,) = are_in_order(times, [len(times)])
    return bars if rises else bars.take(pa.array(np.argsort(times, kind="stable")))


def are_in_order(times: Int64s, lengths: Sequence[int]) -> list[bool]:
    """Of many days at once, which lie end to end: for each so many times."""
    falls = np.zeros(len(times) + 1, np.int64)
    np.cumsum(times[1:] <= times[:-1], out=falls[2:])
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - np.asarray(lengths, np.int64)
    rises: list[bool] = (falls[ends] == falls[np.minimum(starts + 1, ends)]).tolist()
    return rises


def times_of(bars: pa.Table) -> Int64s:
    """In microseconds since 1970; rows without a time are passed over."""
    times: Int64s = bars["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    return times
