from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.shared_kernel.domain.trading_session import TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import TIMESTAMP

COLUMNS = "open", "high", "low", "close", "volume", "trade_count", "vwap"


@frozen(eq=False)
class HourTable:
    """Three entries a session, ascending: before the open, the regular session, after the close.

    Times are in microseconds since 1970; ``day_starts`` are the midnights of the trading dates.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    day_starts: npt.NDArray[np.int64]
    regular: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, sessions: Iterable[TradingSession]) -> HourTable:
        rows = [row for session in sessions for row in _hours(session)]
        table = np.array(rows, np.int64).reshape(-1, 4)
        return cls(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), table[:, 3] == 1)

    def keyed(self, bars: pa.Table) -> pa.Table:
        """Those that lie in these hours, in the same order, each with the start of what it lies in."""
        bars = bars.filter(pc.is_valid(bars["timestamp"])) if bars["timestamp"].null_count else bars
        time = _times(bars)
        row = np.searchsorted(self.starts, time, side="right") - 1
        inside = (row >= 0) & (time < np.append(self.ends, 0)[row])
        if not inside.all():
            bars, time, row = bars.filter(pa.array(inside)), time[inside], row[inside]
        return pa.table([self.starts[row], time, *(bars[name] for name in COLUMNS)], ["hours", "time", *COLUMNS])

    def days(self, bars: pa.Table) -> pa.Table:
        """Of bars as long as these hours those of the regular session, stamped with the midnight before it."""
        row = np.searchsorted(self.starts, _times(bars))
        midnights = pa.array(self.day_starts[row]).cast(TIMESTAMP)
        return bars.set_column(0, bars.field(0), midnights).filter(pa.array(self.regular[row]))


def _times(bars: pa.Table) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = bars["timestamp"].cast(pa.int64()).to_numpy()
    return times


def _hours(session: TradingSession) -> list[tuple[int, int, int, bool]]:
    day = session.trading_date.midnight.epoch_micros
    bounds = session.extended.start, session.opens, session.closes, session.extended.end
    marks = [moment.epoch_micros for moment in bounds]
    return [(marks[i], marks[i + 1], day, i == 1) for i in range(3)]
