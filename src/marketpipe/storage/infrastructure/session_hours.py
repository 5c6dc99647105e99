from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from marketpipe.shared_kernel.domain.trading_session import TradingSession


def session_hours(sessions: Iterable[TradingSession]) -> pa.Table:
    """Three rows a session, ascending, in epoch microseconds: before the open, the regular session, after the close."""
    rows = [row for session in sessions for row in _hours(session)]
    names = ("hours", "hours_end", "day_start", "regular")
    types = (pa.int64(), pa.int64(), pa.int64(), pa.bool_())
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names=list(names))


def _hours(session: TradingSession) -> list[tuple[int, int, int, bool]]:
    day = session.trading_date.midnight.epoch_micros
    bounds = session.extended.start, session.opens, session.closes, session.extended.end
    marks = [moment.epoch_micros for moment in bounds]
    return [(marks[i], marks[i + 1], day, i == 1) for i in range(3)]
