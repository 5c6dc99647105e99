"""Computing ``DayFigures`` from columns, for many symbol-days at once: numpy and Arrow take as long for one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import field, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import LOT, DayFigures
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.shared_kernel.domain.trading_date import (
    EXTENDED_OPEN,
    MINUTES_A_DAY,
    TradingCalendar,
    TradingDate,
)

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Rows = tuple[Int64s, Int64s]
"""For each day the first of some rows and the first after them."""

VALUES: Final = ("open", "high", "low", "close", "volume")
OPEN, HIGH, LOW, CLOSE, VOLUME = range(len(VALUES))
AROUND: Final = 60
"""Minutes before and after the open and the close in which the peaks are searched, both inclusive."""
NO_SESSION: Final = (0, 0)
MINUTES_APART: Final = MINUTES_A_DAY + 2
"""Room for the minutes of one day, and one before and one after it for times outside the extended session."""


class FigureCalculator:
    """Computes the figures of symbol-days; ``calendar`` has the hours of their sessions."""

    def __init__(self, calendar: TradingCalendar) -> None:
        self._hours = lru_cache(1 << 14)(lambda date: _hours_of(calendar, date))

    def of_day(self, date: TradingDate, bars: pa.Table) -> DayFigures | None:
        """Return the figures of one day's bars, whose times ascend; None if the date has no session, or no bars."""
        return self.of_days([date], [len(bars)], bars)[0]

    def of_days(self, dates: Sequence[TradingDate], lengths: Sequence[int], bars: pa.Table) -> list[DayFigures | None]:
        """Return the figures of many days. ``bars`` are of one day after another, ``lengths`` of them each.

        The figures of a day whose times do not ascend are undefined, and those of the other days right all the same.
        """
        hours = [self._hours(date) for date in dates]
        if not len(bars):
            return [None] * len(dates)
        found = _Days.of(dates, hours, lengths, bars).figures()
        return [
            figures if session is not NO_SESSION and length else None
            for figures, session, length in zip(found, hours, lengths, strict=True)
        ]


def _hours_of(calendar: TradingCalendar, date: TradingDate) -> tuple[int, int]:
    """Return the first minute of the regular session and the first after it, counted from 04:00."""
    sessions = calendar.reaching(date, date)
    if not sessions:
        return NO_SESSION
    start = _starts(date)
    opens, closes = (moment.epoch_micros - start for moment in (sessions[0].opens, sessions[0].closes))
    return opens // MICROS_PER_MINUTE, closes // MICROS_PER_MINUTE


@lru_cache(1 << 14)
def _starts(date: TradingDate) -> int:
    return date.at(EXTENDED_OPEN).epoch_micros


@frozen
class _Days:
    """Bars of several days, one day after another. ``opens`` and ``closes`` are minutes after 04:00, one for each."""

    opens: Int64s
    closes: Int64s
    columns: Floats = field(repr=False)
    """Open, high, low, close and volume of each bar; and zeros at the end, so that a range may begin there."""
    minutes: Int64s = field(repr=False)
    """The minute of each bar, counted from 04:00 of the first day; days are ``MINUTES_APART`` apart."""

    @classmethod
    def of(
        cls, dates: Sequence[TradingDate], hours: Sequence[tuple[int, int]], lengths: Sequence[int], bars: pa.Table
    ) -> _Days:
        opens, closes = np.array(hours, np.int64).reshape(-1, 2).T
        columns = np.zeros((len(VALUES), len(bars) + 1))
        for column, name in zip(columns, VALUES, strict=True):
            column[:-1] = bars[name].to_numpy()
        starts = np.array([_starts(date) for date in dates], np.int64)
        times = bars["timestamp"].cast(pa.int64()).to_numpy()
        minutes = np.clip((times - starts.repeat(lengths)) // MICROS_PER_MINUTE, -1, MINUTES_A_DAY)
        return cls(opens, closes, columns, minutes + (np.arange(len(dates)) * MINUTES_APART).repeat(lengths))

    def figures(self) -> list[DayFigures]:
        opens, closes = self.opens, self.closes
        all_hours = self._rows_from(-1), self._rows_from(MINUTES_A_DAY + 1)
        regular = self._rows_from(opens), self._rows_from(closes)
        opening, closing = (
            (self._rows_from(edge - AROUND), self._rows_from(edge + AROUND + 1)) for edge in (opens, closes)
        )
        first, last = self._bars_at(regular[0], regular), self._bars_at(regular[1] - 1, regular)
        auction = self._bars_at(regular[1], (regular[1], self._rows_from(closes + 1)))
        odd_lots = self._odd_lots(all_hours)
        sums = (
            first[OPEN],
            _over(np.maximum, self.columns[HIGH], regular),
            _over(np.minimum, self.columns[LOW], regular),
            last[CLOSE],
            *(
                _over(np.add, self._volume, rows)
                for rows in (regular, (all_hours[0], regular[0]), (regular[1], all_hours[1]))
            ),
            *auction[[OPEN, HIGH, LOW, VOLUME]],
            first[VOLUME],
            odd_lots / np.maximum(1, all_hours[1] - all_hours[0]),
        )
        peaks = zip(opens.tolist(), closes.tolist(), *(self._peaks(rows) for rows in (opening, closing)), strict=True)
        rounded = np.stack(sums, axis=1).astype(np.float32).tolist()
        each = zip(peaks, self._in_lots(odd_lots, all_hours), rounded, self._hashes(all_hours), strict=True)
        return [DayFigures._make((*minutes, lots, *floats, digest)) for minutes, lots, floats, digest in each]

    @property
    def _volume(self) -> Floats:
        found: Floats = self.columns[VOLUME]
        return found

    def _rows_from(self, minutes: Int64s | int) -> Int64s:
        """Return for each day the row of the first bar at that minute of the day or later."""
        return np.searchsorted(self.minutes, np.arange(len(self.opens)) * MINUTES_APART + minutes)

    def _bars_at(self, rows: Int64s, within: Rows) -> Floats:
        """Return the bar of one row for each day; zeros if the rows ``within`` are none."""
        bars: Floats = self.columns[:, np.where(within[0] < within[1], rows, -1)]
        return bars

    def _peaks(self, rows: Rows) -> Iterator[int]:
        """Yield for each day the minute of the greatest volume; -1 if there is no bar."""
        volume = self._volume
        for number, (begin, end) in enumerate(zip(*(some.tolist() for some in rows), strict=True)):
            found = begin + volume[begin:end].argmax() if begin < end else -1
            yield -1 if found < 0 else int(self.minutes[found]) - number * MINUTES_APART

    def _in_lots(self, odd_lots: Floats, rows: Rows) -> list[bool]:
        found: list[bool] = ((odd_lots == 0) & (_over(np.add, self._volume, rows) > 0)).tolist()
        return found

    def _odd_lots(self, rows: Rows) -> Floats:
        """Return for each day the number of bars whose volume is no multiple of a lot."""
        lots = self._volume / LOT
        return _over(np.add, (lots != np.rint(lots)).astype(np.float64), rows)

    def _hashes(self, rows: Rows) -> Iterator[int]:
        """Yield for each day the CRC-32 of its columns in order and in reverse: rarely equal by chance, and fast."""
        reverse = self.columns[::-1]
        for begin, end in zip(*(some.tolist() for some in rows), strict=True):
            forward, backward = (zlib.crc32(columns[:, begin:end].tobytes()) for columns in (self.columns, reverse))
            yield backward << 32 | forward


def _over(reduce: np.ufunc, values: Floats, rows: Rows) -> Floats:
    """Return for each day what a function makes of its rows; 0 for no rows."""
    begin, end = rows
    found: Floats = reduce.reduceat(values, np.stack((begin, end), axis=1).reshape(-1))[::2]
    return np.where(begin < end, found, 0.0)
