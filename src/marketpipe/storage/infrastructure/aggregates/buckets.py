"""Minutes to the bars of longer timeframes, column by column. See ADR 0045.

Bars are ascending by time, so those of a bucket are neighbours, and a bucket is a slice of rows. The result is that of
the SQL in ``cascade.py``, which views use, to the last bit: sums are compensated in the same way, in the order of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, PRICES, TIMESTAMP
from marketpipe.storage.infrastructure.aggregates.cascade import MADE_FROM, needed
from marketpipe.storage.infrastructure.parquet_files import Int64s

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
MOST: Final = np.iinfo(np.int64).max
LONGEST_BY_STEPS: Final = 8
MOST_FILLED_UP: Final = 4
"""The matrix of long runs has at most so many times as many places as there are bars."""


@frozen(eq=False)
class Buckets:
    """Bars of one symbol, ascending by time, in microseconds since 1970; a column of an array is a bar.

    ``hours`` is the start of the part of the session that a bar is in. ``prices`` are open, high, low and close;
    rows of ``sums`` are the volume, the VWAPs times their volume, and the volume that has a VWAP; the last is left out
    if all of it has one. ``known`` and ``counted`` mark the sums and the trade counts that are not null; None for all.
    """

    hours: Int64s
    time: Int64s
    prices: Sequence[Floats]
    sums: Floats
    known: Flags | None
    trade_counts: Int64s
    counted: Flags | None

    @classmethod
    def of(cls, minutes: pa.Table) -> Buckets:
        """Return minutes, which have the columns hours and time besides their own, in the order of time."""
        time = minutes["time"].to_numpy()
        if len(time) and not (time[1:] >= time[:-1]).all():  # a file that another program has written
            minutes = minutes.take(pa.array(np.argsort(time, kind="stable")))
        sums, known = _sums_of(minutes["volume"], minutes["vwap"])
        trade_counts = minutes["trade_count"]
        return cls(
            minutes["hours"].to_numpy(),
            minutes["time"].to_numpy(),
            [minutes[name].to_numpy() for name in PRICES],
            sums,
            known,
            (trade_counts.fill_null(0) if trade_counts.null_count else trade_counts).to_numpy(),
            trade_counts.is_valid().to_numpy() if trade_counts.null_count else None,
        )

    def __len__(self) -> int:
        return len(self.time)

    @property
    def three_sums(self) -> Floats:
        return self.sums[[0, 1, 0]] if self.known is None else self.sums

    def followed_by(self, others: Buckets) -> Buckets:
        """Return these bars and the others, by the parts of sessions; in each these come first."""
        if not len(others):
            return self
        both = [self, others]
        hours = np.concatenate([each.hours for each in both])
        rows = np.argsort(hours, kind="stable")
        return Buckets(
            hours[rows],
            np.concatenate([each.time for each in both])[rows],
            [np.concatenate(sides)[rows] for sides in zip(self.prices, others.prices, strict=True)],
            np.concatenate([each.three_sums for each in both], axis=1)[:, rows],
            np.concatenate([_or_all(each.known, each.three_sums) for each in both], axis=1)[:, rows],
            np.concatenate([each.trade_counts for each in both])[rows],
            np.concatenate([_or_all(each.counted, each.trade_counts) for each in both])[rows],
        )

    def at_one_price(self) -> Buckets:
        """Return the bars as trades at their first price. Their volume cannot be divided."""
        return evolve(self, prices=[self.prices[0]] * 4)

    def merged(self, time: Int64s) -> Buckets:
        """Return one bar for each run of equal times, which are those of the buckets that these bars belong to."""
        if not len(self):
            return self
        starts = np.flatnonzero(np.append(True, time[1:] != time[:-1]))
        lengths = np.diff(np.append(starts, len(time)))
        open_, high, low, close = self.prices
        highest, lowest = _reduced(np.maximum, high, starts, lengths), _reduced(np.minimum, low, starts, lengths)
        return Buckets(
            self.hours[starts],
            time[starts],
            [open_[starts], highest, lowest, close[starts + lengths - 1]],
            _compensated_sums(self.sums, self.known, starts, lengths),
            None if self.known is None else np.logical_or.reduceat(self.known, starts, axis=1),
            _reduced(np.add, self.trade_counts, starts, lengths),
            None if self.counted is None else np.logical_or.reduceat(self.counted, starts),
        )

    @property
    def bars(self) -> pa.Table:
        """The bars, with the time of their bucket."""
        volume, value, known = self.sums[0], self.sums[1], self.known
        weight = volume if known is None else self.sums[2]
        has_vwap = weight > 0 if known is None else known[2] & (weight > 0)
        vwap = np.divide(value, weight, out=np.zeros_like(value), where=has_vwap)
        columns = [
            pa.array(self.time).view(TIMESTAMP),
            *(pa.array(side, from_pandas=True) for side in self.prices),
            pa.array(volume, mask=None if known is None else ~known[0]),
            pa.array(self.trade_counts, mask=None if self.counted is None else ~self.counted),
            pa.array(vwap, mask=~has_vwap),
        ]
        return pa.Table.from_arrays(columns, schema=BAR_SCHEMA)


def made_of(minutes: pa.Table, auctions: pa.Table, timeframes: Sequence[Timeframe]) -> Mapping[Timeframe, pa.Table]:
    """Return the bars of each of these timeframes, in the order of time.

    ``minutes`` are in the parts of sessions that ``hours`` names; those of closing ``auctions`` are among them, and
    here again, in their regular session, of which they are a part in a daily bar. A daily bar has the time of its
    part. Raises ``OverflowError``.
    """
    counts = minutes["trade_count"].drop_null().to_numpy()
    if len(counts) and counts.max() > MOST // len(counts):
        raise OverflowError("the trade counts add up to more than 64 bits hold")
    made = {Timeframe.MINUTE_1: Buckets.of(minutes)}
    for timeframe in needed(timeframes):
        source = made[MADE_FROM[timeframe]]
        if timeframe is Timeframe.DAY_1:
            of_days = source.followed_by(Buckets.of(auctions).at_one_price())
            made[timeframe] = of_days.merged(of_days.hours)
        else:
            step = timeframe.minutes * MICROS_PER_MINUTE
            made[timeframe] = source.merged(source.hours + (source.time - source.hours) // step * step)
    return {each: made[each].bars for each in timeframes}


def _sums_of(volumes: pa.ChunkedArray, vwaps: pa.ChunkedArray) -> tuple[Floats, Flags | None]:
    """Return the ``sums`` and the ``known`` of minutes."""
    if not volumes.null_count and not vwaps.null_count:
        volume = volumes.to_numpy()
        return np.stack([volume, vwaps.to_numpy() * volume]), None
    has_volume, has_vwap = (column.is_valid().to_numpy() for column in (volumes, vwaps))
    volume, vwap = (column.fill_null(0.0).to_numpy() for column in (volumes, vwaps))
    weighed = has_volume & has_vwap
    return np.stack([volume, vwap * volume, np.where(has_vwap, volume, 0.0)]), np.stack([has_volume, weighed, weighed])


def _reduced(operation: np.ufunc, values: npt.NDArray[Any], starts: Int64s, lengths: Int64s) -> npt.NDArray[Any]:
    """Return what the operation makes of each run. Short runs of one length take a sixth of the time by steps."""
    length = int(lengths[0])
    if not 1 < length <= LONGEST_BY_STEPS or not (lengths == length).all():
        reduced: npt.NDArray[Any] = operation.reduceat(values, starts)
        return reduced
    made: npt.NDArray[Any] = operation(values[::length], values[1::length])
    for step in range(2, length):
        operation(made, values[step::length], out=made)
    return made


def _compensated_sums(values: Floats, known: Flags | None, starts: Int64s, lengths: Int64s) -> Floats:
    """Return the sums of runs of columns, as DuckDB's fsum adds them, by Neumaier: what an addition rounds away is
    collected, and added at the end.

    All runs are added at the same time, one column of each after the other. What is not known is 0, which changes
    neither a sum nor what is collected.
    """
    values = values if known is None else np.where(known, values, 0.0)
    shortest, longest = int(lengths.min()), int(lengths.max())
    if longest > LONGEST_BY_STEPS and len(lengths) * longest > MOST_FILLED_UP * values.shape[1]:
        return _sums_of_uneven_runs(values, starts, lengths)
    if longest > LONGEST_BY_STEPS:
        return _sums_of_long_runs(values, lengths, longest)
    steps = values.reshape(len(values), -1, shortest) if shortest == longest else None
    total, lost = values[:, starts] + 0.0, np.zeros((len(values), len(starts)))
    for step in range(1, longest):
        if steps is not None:
            lost += _add(total, steps[:, :, step])
        elif step < shortest:
            lost += _add(total, values[:, starts + step])
        else:
            runs = np.flatnonzero(lengths > step)
            some = total[:, runs]
            lost[:, runs] += _add(some, values[:, starts[runs] + step])
            total[:, runs] = some
    total += lost
    return total


def _sums_of_uneven_runs(values: Floats, starts: Int64s, lengths: Int64s) -> Floats:
    """Return the same sums, those of runs of about the same length together: one day that has all its minutes among
    thousands that have a few would make each of them a row of its length.
    """
    sums = np.empty((len(values), len(lengths)))
    doublings = np.maximum(np.frexp(lengths - 1)[1], LONGEST_BY_STEPS.bit_length() - 1)
    for each in np.unique(doublings):  # the longest of them is less than twice as long as the shortest, or by steps
        runs = np.flatnonzero(doublings == each)
        ends = np.cumsum(lengths[runs])
        firsts = ends - lengths[runs]
        columns = np.repeat(starts[runs] - firsts, lengths[runs]) + np.arange(ends[-1])
        sums[:, runs] = _compensated_sums(values[:, columns], None, firsts, lengths[runs])
    return sums


def _sums_of_long_runs(values: Floats, lengths: Int64s, longest: int) -> Floats:
    """Return the same sums: each run is a row, filled up with zeros, and a row is added from left to right."""
    within = np.arange(longest) < lengths[:, np.newaxis]
    rows = np.zeros((len(values), *within.shape))
    rows[:, within] = values
    totals = np.add.accumulate(rows, axis=2)
    lost = _rounded_away(totals[:, :, :-1], rows[:, :, 1:], totals[:, :, 1:])
    sums: Floats = totals[:, :, -1] + np.add.accumulate(lost, axis=2)[:, :, -1]
    return sums


def _add(total: Floats, added: Floats) -> Floats:
    """Add in place, and return what the additions round away, exactly."""
    before = total.copy()
    total += added
    return _rounded_away(before, added, total)


def _rounded_away(before: Floats, added: Floats, total: Floats) -> Floats:
    """Return how much less or more the sums are than what was before and what was added."""
    part = total - before
    lost = added - part
    np.subtract(total, part, out=part)
    np.subtract(before, part, out=part)
    lost += part
    return lost


def _or_all(flags: Flags | None, values: npt.NDArray[Any]) -> Flags:
    return np.ones(values.shape, np.bool_) if flags is None else flags
