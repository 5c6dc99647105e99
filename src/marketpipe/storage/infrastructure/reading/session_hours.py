"""The hours of sessions as SQL sees them: a table of their bounds, and the column ``session``, also made without it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import lru_cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE, Timestamp
from marketpipe.shared_kernel.domain.trading_date import SATURDAY, TradingDate, TradingSession
from marketpipe.storage.infrastructure.aggregates.bounded_cache import make_room
from marketpipe.storage.infrastructure.reading.selected_bars import Sessions

MICROS: Final = ("starts", "opens", "closes", "ends", "auction")
SCHEMA: Final = pa.schema([("trading_date", pa.date32()), *((name, pa.int64()) for name in MICROS)])
UNKNOWN: Final = "CAST(NULL AS VARCHAR)"
MOST_COLUMNS: Final = 8
NAMES: Final = pa.array(["early", "regular", "late", None], pa.string())
NAME_AFTER_EACH: Final = np.array([3, 0, 1, 2], np.int8)
"""Among ``NAMES``: of a bar before extended trading starts, from then on, after the open, and after the close."""
FOUR: Final = 240
"""Minutes from midnight to the first of extended trading."""
# A CASE over constants, and no join: a query that does not select the column does not pay for it.
PART: Final = """CASE WHEN {minute} < 240 OR {minute} >= {ends} THEN NULL WHEN {minute} < {opens} THEN 'early'
WHEN {minute} < {closes} THEN 'regular' ELSE 'late' END"""
MINUTE: Final = (
    "(date_part('hour', timestamp AT TIME ZONE 'America/New_York') * 60 "
    "+ date_part('minute', timestamp AT TIME ZONE 'America/New_York'))"
)
Hours = tuple[int, int, int]
"""When the regular session opens and closes, and when extended trading ends, in minutes since New York midnight."""


def session_table(sessions: Sequence[TradingSession], closing_auction: int | None) -> pa.Table:
    """Return the bounds of each session, and the start of its closing auction's minute, as ``cascade.py`` needs."""
    rows = []
    for each in sessions:
        auction = None if closing_auction is None else each.auction(closing_auction).start.epoch_micros
        bounds = each.extended.start, each.opens, each.closes, each.extended.end
        rows.append((each.trading_date.day, *(moment.epoch_micros for moment in bounds), auction))
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([pa.array(list(values), field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


class SessionColumns:
    """Makes the column ``session``, and keeps it: a year of sessions takes milliseconds. Several threads may call."""

    def __init__(self) -> None:
        self._kept = dict[tuple[int, ...], tuple[Sequence[TradingSession], str]]()

    def of(self, sessions: Sequence[TradingSession]) -> str:
        # The calendar returns the same objects each time. They are kept, so that no other one gets the identity of one.
        key = tuple(map(id, sessions))
        if (found := self._kept.get(key)) is None:
            make_room(self._kept, MOST_COLUMNS)
            found = self._kept[key] = sessions, session_column(sessions)
        return found[1]


def session_column(sessions: Sequence[TradingSession]) -> str:
    """Return SQL that is 'early', 'regular' or 'late' for a bar, of its ``trading_date`` and ``timestamp``.

    NULL for a bar that is in no session: of a closed day, outside extended hours, or outside of these sessions' dates.
    """
    if not sessions:
        return UNKNOWN
    hours = {session.trading_date.day: _hours(session) for session in sessions}
    usual = Counter(hours.values()).most_common(1)[0][0]
    others = defaultdict[Hours, list[date]](list)
    for day, each in hours.items():
        if each != usual or day.weekday() >= SATURDAY:
            others[each].append(day)
    first, last = min(hours), max(hours)
    weekdays = (first + timedelta(days=number) for number in range((last - first).days + 1))
    closed = _list_of(day for day in weekdays if day.weekday() < SATURDAY and day not in hours)
    cases = [f"WHEN trading_date IN {_list_of(days)} THEN {_part(each)}" for each, days in others.items()]
    outside = f"trading_date < DATE '{first}' OR trading_date > DATE '{last}' OR isodow(trading_date) > 5"
    cases.append(f"WHEN {outside} OR trading_date IN {closed} THEN NULL")
    return f"CASE {' '.join(cases)} ELSE {_part(usual)} END"


def _hours(session: TradingSession) -> Hours:
    starts = session.extended.start.epoch_micros
    moments = session.opens, session.closes, session.extended.end
    opens, closes, ends = (FOUR + (moment.epoch_micros - starts) // MICROS_PER_MINUTE for moment in moments)
    return opens, closes, ends


def _part(hours: Hours) -> str:
    opens, closes, ends = hours
    return PART.format(minute=MINUTE, opens=opens, closes=closes, ends=ends)


def _list_of(days: Iterable[date]) -> str:
    dates = ", ".join(f"DATE '{day}'" for day in days)
    return f"({dates or 'NULL'})"


class SessionNames:
    """The column ``session`` without SQL. The sessions of a year are found once. Several threads may call."""

    def __init__(self, sessions: Sessions) -> None:
        self._bounds = lru_cache(maxsize=None)(partial(_bounds, sessions))

    def of(self, times: npt.NDArray[np.int64]) -> pa.Array:
        """Return what ``session_column`` is for bars at these times, which ascend, in microseconds since 1970."""
        first, last = (TradingDate.of(Timestamp.from_epoch_micros(int(time))).day.year for time in times[[0, -1]])
        bounds = np.concatenate([self._bounds(year) for year in range(first, last + 1)])
        lengths = np.diff(np.searchsorted(times, bounds), prepend=0, append=len(times))
        places = np.append(np.tile(NAME_AFTER_EACH, len(bounds) // len(NAME_AFTER_EACH)), NAME_AFTER_EACH[0])
        return NAMES.take(pa.array(places.repeat(lengths)))


def _bounds(sessions: Sessions, year: int) -> npt.NDArray[np.int64]:
    found = sessions(TradingDate.parse(f"{year:04d}-01-01"), TradingDate.parse(f"{year:04d}-12-31"))
    bounds = ((each.extended.start, each.opens, each.closes, each.extended.end) for each in found)
    return np.array([moment.epoch_micros for some in bounds for moment in some], np.int64)
