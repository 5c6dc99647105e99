from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.time_window import TimeWindow
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


class AskedDays:
    """The sessions of a request, ready to be held against columns of timestamps and day numbers."""

    def __init__(self, request: BarsRequest) -> None:
        self._request = request
        self.first_micros = request.window.start.epoch_micros
        self._numbers = day_numbers(np.array([s.window.start.epoch_micros for s in request.sessions], np.int64))
        self._position = {int(number): i for i, number in enumerate(self._numbers)}

    def outside(self, days: Int64s) -> Bools:
        """Before the first session or after the last."""
        outside: Bools = (days < self._numbers[0]) | (days > self._numbers[-1])
        return outside

    def other_hours(self, timestamps: pa.ChunkedArray, days: Int64s) -> Bools:
        """Bars of the extended session that came along though the regular one was wanted."""
        if self._request.session_kind is SessionKind.EXTENDED:
            return np.zeros(len(days), np.bool_)
        stamps = pa.compute.fill_null(timestamps.cast(pa.int64()), self.first_micros).to_numpy()
        slot = np.clip(np.searchsorted(self._numbers, days), 0, len(self._numbers) - 1)
        regular, extended = self._regular, self._extended
        session = self._numbers[slot] == days
        known = timestamps.is_valid().to_numpy()
        other: Bools = known & session & _within(stamps, extended[slot]) & ~_within(stamps, regular[slot])
        return other

    def whole_window(self, number: int) -> TimeWindow | None:
        """For which hours of that day the provider's answer is complete and final."""
        position = self._position.get(number)
        if position is None or not self._request.sessions[position].final:
            return None
        return self._request.sessions[position].window

    @cached_property
    def _regular(self) -> Int64s:
        return self._bounds(SessionKind.REGULAR)

    @cached_property
    def _extended(self) -> Int64s:
        return self._bounds(SessionKind.EXTENDED)

    def _bounds(self, kind: SessionKind) -> Int64s:
        windows = (asked.session.window(kind) for asked in self._request.sessions)
        return np.array([(w.start.epoch_micros, w.end.epoch_micros) for w in windows], np.int64)


def _within(stamps: Int64s, bounds: Int64s) -> Bools:
    return (bounds[:, 0] <= stamps) & (stamps < bounds[:, 1])
