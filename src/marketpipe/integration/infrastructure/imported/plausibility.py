"""Whether the times of imported minutes can be what they are taken for: left edges, in the stated time zone.

Nothing here is a guess that is applied: what looks wrong becomes a question.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.integration.domain.table_import import Stamps
from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.shared_kernel.domain.trading_date import TradingCalendar
from marketpipe.shared_kernel.infrastructure.new_york_days import DAY, day_numbers, trading_date

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
FEW: Final = 0.01
"""This share of the bars may be odd without a question: they go to quarantine, or are left out and counted."""
SOME_DAYS: Final = 0.05
"""This share of daily bars may be so. Dates that are off by one day put every fifth bar on a weekend."""
FEWEST_STEPS: Final = 20
WINDOW: Final = 5
"""Minutes compared before and after a moment, to find the burst of volume at the open."""
STATE_THE_ZONE: Final = 'state the time zone of the file with timezone="…"'
USUAL_ZONES: Final = ("America/New_York", "UTC", "America/Chicago")
STEP: Final = 30
"""Minutes: two time zones differ by a multiple of it."""
SPARSE: Final = 10
"""Minutes after the open, and before the close, that may have no bar on any day."""
RARE: Final = 0.02
"""This share of the days may begin earlier, or end later, than the others."""
SHIFTS: Final = tuple(minutes + edge for minutes in range(-570, 571, STEP) for edge in (0, 1) if minutes)
BURST: Final = 4.0
"""So many times the volume of the minutes before, or the jump at the open, is a burst."""
DENSE: Final = 200
"""Bars of a symbol on one day from which on that day alone tells when the market opened."""
BUSY, QUIET = 0.3, 0.001
"""Shares of the busiest minutes: a burst is at least so busy, and nothing counts as quieter than that."""


@frozen
class SessionTable:
    """The sessions of some dates as columns, by the number of their New York date; moments in epoch microseconds."""

    numbers: Int64s
    opens: Int64s
    closes: Int64s
    starts: Int64s
    ends: Int64s

    @classmethod
    def around(cls, calendar: TradingCalendar, days: Int64s) -> SessionTable:
        """Return the sessions between the first and the last of the days."""
        sessions = calendar.reaching(trading_date(int(days.min())), trading_date(int(days.max())))
        edges = [(each.opens, each.closes, each.extended.start, each.extended.end) for each in sessions]
        moments = np.array([[edge.epoch_micros for edge in some] for some in edges], np.int64).reshape(-1, 4)
        return cls(day_numbers(moments[:, 0]), *(moments[:, column].copy() for column in range(4)))

    def places(self, days: Int64s) -> tuple[Int64s, Bools]:
        """Return for each day the position of its session, and whether it has one."""
        if not len(self.numbers):
            return np.zeros(len(days), np.int64), np.zeros(len(days), np.bool_)
        places = np.clip(np.searchsorted(self.numbers, days), 0, len(self.numbers) - 1)
        return places, self.numbers[places] == days

    def hours(self, micros: Int64s, places: Int64s, open_day: Bools) -> Bools:
        """Return which moments are in the extended hours of their session, from what ``places`` returned."""
        if not len(self.numbers):
            return open_day
        return open_day & (self.starts[places] <= micros) & (micros < self.ends[places])


@frozen
class Doubts:
    """What is odd about the times. ``notes`` are shown, ``questions`` have to be answered."""

    notes: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()


def doubts(
    micros: Int64s, days: Int64s, owners: Int64s, volumes: Floats, sessions: SessionTable, stamps: Stamps | None
) -> Doubts:
    """Examine the minutes of all symbols, by symbol, then time. ``stamps`` is None if the edge was not stated."""
    places, open_day = sessions.places(days)
    questions, notes = on_closed_days(days, open_day, FEW), list[str]()
    within = sessions.hours(micros, places, open_day)
    outside = open_day & ~within
    questions += _outside(outside, micros, notes)
    questions += _off_grid(micros) or _steps(micros, days, owners)
    if not questions:
        at = within
        minutes = _Minutes(micros[at], days[at], owners[at], volumes[at], places[at], sessions)
        shift = minutes.shift()
        questions += _shifted(shift, stamps, notes) if shift else _shifted_in_part(minutes)
    return Doubts(tuple(notes), tuple(questions))


def advice_on_zone(
    zone: str, is_stated: bool, micros: Int64s, owners: Int64s, volumes: Floats, calendar: TradingCalendar
) -> str:
    """Return what to say instead of ``STATE_THE_ZONE`` if the times were taken as those of ``zone``.

    It names a usual zone that they fit. If ``zone`` is not stated, the times themselves, or their format, name it.
    """
    local = pc.local_timestamp(pa.array(micros, pa.int64()).cast(pa.timestamp("us", tz=zone)))

    def fits(other: str) -> bool:
        taken = pc.assume_timezone(local, other, ambiguous="earliest", nonexistent="earliest")
        moments: Int64s = taken.cast(pa.int64()).to_numpy()
        days = day_numbers(moments)
        found = doubts(moments, days, owners, volumes, SessionTable.around(calendar, days), None)
        return not any("zone" in question for question in found.questions)

    fitting = next((other for other in USUAL_ZONES if other != zone and fits(other)), "")
    if is_stated:
        other = f'is it timezone="{fitting}"?' if fitting else "which other is it?"
        return f'the times do not fit timezone="{zone}"; {other}'
    if not fitting:
        return f"the times name {zone} as their zone, and do not fit it"
    return (
        f"the times name {zone} as their zone, but look like those of {fitting}: remove the zone from them, and state "
        f'timezone="{fitting}"'
    )


def on_closed_days(days: Int64s, open_day: Bools, most: float = SOME_DAYS) -> list[str]:
    """Return the question about bars on days without a session, if their share is above ``most``."""
    closed = int((~open_day).sum())
    if closed <= most * len(days):
        return []
    return [
        f"{_share(closed, len(days))} of the bars are on days on which the exchange was closed, such as "
        f"{trading_date(int(days[~open_day][0]))}: is the time zone right, and are these US equities?"
    ]


def _share(count: int, total: int) -> str:
    return f"{count / total:.0%}" if count >= FEW * total else f"{count:,}"


def _outside(outside: Bools, micros: Int64s, notes: list[str]) -> list[str]:
    count = int(outside.sum())
    if not count:
        return []
    example = np.datetime64(int(micros[outside][0]), "us").astype("datetime64[s]")
    if count > FEW * len(outside):
        return [
            f"{_share(count, len(outside))} of the bars are outside the hours of trading (04:00 to 20:00 in New York), "
            f"such as {example}Z: {STATE_THE_ZONE}"
        ]
    notes.append(f"outside the hours of trading: {count_of(count, 'bar')}, such as {example}Z")
    return []


def _off_grid(micros: Int64s) -> list[str]:
    off = int((micros % MICROS_PER_MINUTE != 0).sum())
    if off <= FEW * len(micros):
        return []
    return [
        f"{_share(off, len(micros))} of the bars do not begin on a full minute: only bars of one minute are imported"
    ]


def _steps(micros: Int64s, days: Int64s, owners: Int64s) -> list[str]:
    same = (np.diff(days) == 0) & (np.diff(owners) == 0)
    steps = np.diff(micros)[same]
    steps = steps[steps > 0] // MICROS_PER_MINUTE
    if len(steps) < FEWEST_STEPS and len(steps):
        return []
    if not len(steps):
        many = len(np.unique(days)) > 1
        return ['no day has two bars: are these daily bars? Then state timeframe="1d"'] if many else []
    least = int(np.gcd.reduce(steps))
    if least < 2:
        return []
    return [f"the bars are {least} minutes apart: only bars of one minute are imported"]


@frozen
class _Minutes:
    """Bars within the hours of their sessions, by symbol, then time; ``places`` are those of their sessions."""

    micros: Int64s
    days: Int64s
    owners: Int64s
    volumes: Floats
    places: Int64s
    sessions: SessionTable

    def of(self, rows: Bools) -> _Minutes:
        days, owners, places = self.days[rows], self.owners[rows], self.places[rows]
        return _Minutes(self.micros[rows], days, owners, self.volumes[rows], places, self.sessions)

    def starts(self) -> Int64s:
        """Return where each symbol-day begins."""
        return np.flatnonzero(np.append(True, (np.diff(self.days) != 0) | (np.diff(self.owners) != 0)))

    def ends(self) -> tuple[Int64s, Int64s]:
        """Return by how many minutes the first bar of each symbol-day is after the open, its last after the close."""
        firsts = self.starts()
        lasts = np.append(firsts[1:], len(self.micros)) - 1
        opens, closes = (edges[self.places] for edges in (self.sessions.opens, self.sessions.closes))
        return (
            (self.micros[firsts] - opens[firsts]) // MICROS_PER_MINUTE,
            (self.micros[lasts] - closes[lasts]) // MICROS_PER_MINUTE,
        )

    def shift(self) -> int:
        """Return by how many minutes the market seems to open after its open: 0 if that cannot be told."""
        if not len(self.micros):
            return 0
        offsets = (self.micros - self.sessions.opens[self.places]) // MICROS_PER_MINUTE
        firsts, lasts = self.ends()
        first = int(np.quantile(firsts, RARE, method="lower"))
        last = int(np.quantile(lasts, 1 - RARE, method="higher"))
        shift = STEP * round((first + last) / 2 / STEP)
        if max(abs(first - shift), abs(last - shift)) > SPARSE:  # other hours than those of a regular session
            return _burst(offsets, self.volumes)
        has_open, has_close = (offsets == 0).sum() > RARE * len(firsts), (lasts == 0).any()
        return shift if shift else int(has_close and not has_open)


def _shifted_in_part(minutes: _Minutes) -> list[str]:
    """Return the question about clocks that change on other days than those of the stated zone, as -05:00 never does.

    All days with the same offset of New York from UTC are examined together, and each day that has many bars alone.
    """
    if not len(minutes.micros):
        return []
    starts = minutes.sessions.starts[minutes.places] % DAY
    for start in np.unique(starts):
        season = minutes.of(starts == start)
        shift = season.shift() if len(season.micros) > DENSE * len(season.starts()) else 0
        if abs(shift) >= STEP - 1:
            return [_other_clock(shift, season.days)]
    firsts, lasts = minutes.ends()
    shifts = STEP * np.round((firsts + lasts) / 2 / STEP).astype(np.int64)
    dense = np.diff(np.append(minutes.starts(), len(minutes.micros))) >= DENSE
    regular = np.maximum(np.abs(firsts - shifts), np.abs(lasts - shifts)) <= SPARSE
    odd = dense & regular & (shifts != 0)
    if odd.sum() <= FEW * len(odd):
        return []
    return [_other_clock(int(shifts[odd][0]), minutes.days[minutes.starts()][odd])]


def _other_clock(shift: int, days: Int64s) -> str:
    return (
        f"on {count_of(len(np.unique(days)), 'day')}, such as {trading_date(int(days[0]))}, the market seems to open "
        f"{_minutes_off(shift)}, on others on time: the clock of the file changes on other dates than the one that you "
        'state, or never. State its zone with timezone="…"'
    )


def _minutes_off(shift: int) -> str:
    return f"{STEP * round(abs(shift) / STEP)} minutes too {'late' if shift > 0 else 'early'}"


def _burst(offsets: Int64s, volumes: Floats) -> int:
    """Return where the volume jumps as it does at the open; 0 if it jumps there, or nowhere clearly."""
    low = int(offsets.min())
    if -low < WINDOW:  # there are no hours before the open to compare with
        return 0
    profile = np.bincount(offsets - low, weights=np.nan_to_num(volumes))
    means = np.convolve(profile, np.full(WINDOW, 1 / WINDOW), "valid")
    busiest = float(means.max())

    def jump(at: int) -> float:
        place = at - low
        if place < WINDOW or place >= len(means) or means[place] < BUSY * busiest:
            return 0.0
        return float(means[place] / max(means[place - WINDOW], QUIET * busiest))

    best = max(SHIFTS, key=jump)
    if jump(best) > BURST * max(jump(0), jump(1), 1.0):
        return best
    first, second = (float(profile[at - low]) if at - low < len(profile) else 0.0 for at in (0, 1))
    return 1 if jump(1) > BURST and second > BURST * first > 0 else 0


def _shifted(shift: int, stamps: Stamps | None, notes: list[str]) -> list[str]:
    if shift == 0:
        return []
    if shift == 1:
        if stamps is not None:
            notes.append("the times look like the ends of the minutes: they are taken as you stated")
            return []
        return [
            "the times look like the ends of the minutes, as trading begins one minute after the open: state "
            'stamps="right" if they are the ends, or stamps="left" if they are the beginnings'
        ]
    if abs(shift) < STEP - 1:
        return []
    return [f"the market seems to open {_minutes_off(shift)}: {STATE_THE_ZONE}"]


def as_sorted(owners: Int64s, micros: Int64s) -> Int64s | None:
    """Return the order of the rows by symbol, then time, as they came for equal times; None if they have it."""
    steps = np.diff(owners)
    if ((steps > 0) | ((steps == 0) & (np.diff(micros) >= 0))).all():
        return None
    order: Int64s = np.lexsort((micros, owners))
    return order
