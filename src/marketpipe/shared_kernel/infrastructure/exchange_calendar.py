"""The sessions of the New York Stock Exchange: exchange_calendars, the exceptions over it, and a cache of the result.

``ExchangeCalendar`` is the adapter of the port ``TradingCalendar``. Where its sessions come from is a function of the
last year wanted: ``exchange_table`` asks the library, which takes a second in each process, and applies the exceptions
that it does not know (ADR 0024); ``CalendarCache`` keeps the result in a file (ADR 0016).
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left, bisect_right
from calendar import isleap
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, time
from functools import cached_property, lru_cache, partial
from itertools import chain
from pathlib import Path
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, CalendarException, TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_exceptions import KNOWN_EXCEPTIONS, LAST_OPENING_AT_TEN

if TYPE_CHECKING:
    from pandas import DataFrame

EXCHANGE: Final = "XNYS"
EARLIEST: Final = date(1980, 1, 1)
"""The first date of the calendar."""
LARGEST_FILE: Final = 1 << 20
"""Bytes that are read of a cache file at most: a table of fifty years takes 18 KB."""

Hours = tuple[time, time]
"""When a regular session opens and closes, by New York's wall clock."""


USUAL_HOURS: Final = (time(9, 30), time(16))
Exceptions = tuple[CalendarException, ...]


@lru_cache(maxsize=8)
def exchange_table(last_year: int, exceptions: Exceptions = ()) -> SessionTable:
    """Return all sessions from ``EARLIEST`` to the end of ``last_year``.

    These are the ones that exchange_calendars knows, changed by ``KNOWN_EXCEPTIONS`` and then by ``exceptions``, those
    of the configuration. Raises ``ConfigurationError`` if they have too many different hours.
    """
    sessions = dict(_library_sessions(last_year))
    for exception in (*KNOWN_EXCEPTIONS, *exceptions):
        if EARLIEST <= exception.trading_date.day <= date(last_year, 12, 31):
            _apply(exception, sessions)
    if len(set(sessions.values())) > len(LETTERS):
        raise ConfigurationError(f"calendar: exceptions: more than {len(LETTERS)} different opening hours are too many")
    return SessionTable.of(sessions, EARLIEST.year, last_year)


@lru_cache(maxsize=4)
def _library_sessions(last_year: int) -> Mapping[date, Hours]:
    """Return the sessions that exchange_calendars knows, those of 10:00 mended.

    Importing and asking the library takes about a second, so it is imported here and not at the top of the module.
    """
    import exchange_calendars

    start, end = EARLIEST, date(last_year, 12, 31)
    schedule: DataFrame = exchange_calendars.get_calendar(EXCHANGE, start=start, end=end).schedule
    opens, closes = (schedule[column].dt.tz_convert(NEW_YORK).dt.time for column in ("open", "close"))
    days = zip(schedule.index.date, opens, closes, strict=True)
    return {day: (time(10) if day <= LAST_OPENING_AT_TEN else first, last) for day, first, last in days}


def _apply(exception: CalendarException, sessions: dict[date, Hours]) -> None:
    day = exception.trading_date.day
    if exception.closed:
        sessions.pop(day, None)
        return
    opens, closes = sessions.get(day, USUAL_HOURS)
    sessions[day] = exception.opens or opens, exception.closes or closes


GIVEN: Final = ", of the configuration: "


def _text_of(exceptions: Exceptions) -> str:
    """Return the exceptions as text, such as "2027-01-12=closed,2027-01-13=10:30-13:00,2027-01-14=-13:00"."""
    hours = (("closed" if e.closed else f"{_clock(e.opens)}-{_clock(e.closes)}") for e in exceptions)
    return ",".join(f"{each.trading_date}={text}" for each, text in zip(exceptions, hours, strict=True))


def _clock(wall: time | None) -> str:
    return "" if wall is None else f"{wall:%H:%M}"


def _exception_of(text: str) -> CalendarException:
    """Read what ``_text_of`` wrote of one exception."""
    day, _, hours = text.partition("=")
    if hours == "closed":
        return CalendarException(TradingDate.parse(day), closed=True)
    opens, closes = (time.fromisoformat(wall) if wall else None for wall in hours.split("-"))
    return CalendarException(TradingDate.parse(day), opens, closes)


class ExchangeCalendar:
    """Sessions of the exchange, with its holidays, half days and one-off closures.

    ``latest`` is the last date for which the schedule is reliable: the exchange has not decided later holidays yet.
    ``find_table`` returns all sessions to the end of a year. It is called when the first session is asked for.
    """

    def __init__(self, latest: TradingDate, find_table: Callable[[int], SessionTable] = exchange_table) -> None:
        self._latest, self._find_table = latest, find_table
        self._years = dict[int, tuple[list[date], tuple[TradingSession, ...]]]()

    def sessions(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        if last < first:
            return ()
        if first.day < EARLIEST or last > self._latest:
            raise ConfigurationError(
                f"the trading calendar covers {EARLIEST} to {self._latest}; {first} to {last} is not inside it"
            )
        years = range(first.day.year, last.day.year + 1)
        return tuple(chain.from_iterable(self._of_year(year, first.day, last.day) for year in years))

    def reaching(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        return self.sessions(max(first, TradingDate(EARLIEST)), min(last, self._latest))

    def _of_year(self, year: int, first: date, last: date) -> tuple[TradingSession, ...]:
        # Planning and coverage ask for the same ranges for every symbol: a year is built once, a range is two searches.
        if year not in self._years:
            sessions = self._table.sessions(year)
            self._years[year] = [session.trading_date.day for session in sessions], sessions
        dates, sessions = self._years[year]
        return sessions[bisect_left(dates, first) : bisect_right(dates, last)]

    @cached_property
    def _table(self) -> SessionTable:
        return self._find_table(self._latest.day.year)


class CalendarCache:
    """The sessions of an exchange, kept in a file so that other processes need not ask exchange_calendars again.

    A cache and no state: delete the file at any time. If it is damaged, belongs to something else or does not reach
    far enough, it is rebuilt; if it cannot be written, as in a read-only folder, nothing is cached and nothing fails.
    """

    def __init__(
        self,
        file: Path,
        state: Path,
        title: str,
        find_table: Callable[[int], SessionTable],
        publish: Callable[[Mapping[Path, bytes]], None],
    ) -> None:
        """The cache is written only if the file ``state`` exists: a folder without a store must not be written into.

        ``title`` names what the table was made from; a file with another title is rebuilt. ``find_table`` makes the
        table, ``publish`` writes files under their final names, synced.
        """
        self._file, self._state, self._title = file, state, title
        self._find_table, self._publish = find_table, publish
        self._unsaved: SessionTable | None = None

    @classmethod
    def beside(
        cls,
        state: Path,
        made_by: str,
        publish: Callable[[Mapping[Path, bytes]], None],
        exceptions: Iterable[CalendarException] | None = (),
    ) -> CalendarCache:
        """Make the cache of ``exchange_table`` beside the state file.

        The version ``made_by`` of exchange_calendars is in the file's name: a new version begins a new file. See ADR
        0016. ``exceptions`` are those of the configuration; None, if there is none, for those that the newest cache in
        the folder was made with.
        """
        file = state.with_name(f"sessions-{EXCHANGE}-{made_by}.txt")
        if exceptions is None:
            exceptions = _exceptions_of_a_cache(state.parent)
        given = tuple(sorted(exceptions, key=lambda each: each.trading_date))
        known = hashlib.sha256(_text_of(KNOWN_EXCEPTIONS).encode()).hexdigest()[:16]
        source = f"marketpipe 2: sessions of {EXCHANGE} by exchange_calendars {made_by}, exceptions {known}"
        return cls(file, state, source + GIVEN + _text_of(given), partial(exchange_table, exceptions=given), publish)

    def __call__(self, last_year: int) -> SessionTable:
        """Return a table that reaches at least to the end of ``last_year``, from the file or from ``find_table``."""
        cached = self._read()
        if cached is not None and last_year in cached.years:
            return cached
        table = self._unsaved = self._find_table(last_year)
        self.save()
        return table

    def save(self) -> None:
        """Write the table if that was not possible before; call it once the state has been created."""
        if self._unsaved is None or not os.path.isfile(self._state):
            return
        try:
            self._publish({self._file: self._unsaved.encode(self._title)})
        except StorageError:
            return
        self._unsaved = None

    def _read(self) -> SessionTable | None:
        content = _content_of(self._file)
        return None if content is None else SessionTable.decode(content, self._title)


def _content_of(file: Path) -> bytes | None:
    if not os.path.isfile(file):  # opening a named pipe would wait for ever
        return None
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST_FILE)
    except OSError:
        return None


def _exceptions_of_a_cache(folder: Path) -> Exceptions:
    """Return the exceptions of the configuration that the newest undamaged cache in this folder was made with."""
    undamaged = []
    for file in folder.glob(f"sessions-{EXCHANGE}-*.txt"):
        with suppress(OSError):  # another process may delete it at this moment
            if (content := _content_of(file)) and _is_undamaged(content):
                undamaged.append((file.stat().st_mtime_ns, content))
    title = max(undamaged)[1].partition(b"\n")[0].decode() if undamaged else ""
    return tuple(map(_exception_of, filter(None, title.partition(GIVEN)[2].split(","))))


def _is_undamaged(content: bytes) -> bool:
    body, newline, digest = content.rpartition(b"\n")
    return digest == hashlib.sha256(body + newline).hexdigest().encode()


CLOSED: Final = "."
LETTERS: Final = ascii_letters + digits


@frozen
class SessionTable:
    """All sessions of an exchange in little room: one letter for each date of a year.

    ``years`` has a text of 365 or 366 letters for each year; ``CLOSED`` is a day without a session. ``hours`` has the
    opening hours that each letter stands for. They are wall clock times, so that a later change of the tz database
    changes the sessions that are made from an old table as well.
    """

    hours: Mapping[str, Hours]
    years: Mapping[int, str]

    @classmethod
    def of(cls, sessions: Mapping[date, Hours], first_year: int, last_year: int) -> SessionTable:
        letters = dict(zip(dict.fromkeys(sessions.values()), LETTERS, strict=False))
        years = {year: [CLOSED] * (365 + isleap(year)) for year in range(first_year, last_year + 1)}
        for day, hours in sessions.items():
            years[day.year][day.toordinal() - date(day.year, 1, 1).toordinal()] = letters[hours]
        return cls({letters[hours]: hours for hours in letters}, {year: "".join(days) for year, days in years.items()})

    def sessions(self, year: int) -> tuple[TradingSession, ...]:
        """Return the sessions of one year, ascending."""
        return _sessions_of(year, self.years[year], tuple(self.hours.items()))

    def encode(self, title: str) -> bytes:
        """Return the table as text: ``title``, a line for each letter, a line for each year, a SHA-256 of all that.

        The digest is there because a wrong session would silently mark good bars as bad: a file that was cut short or
        changed must be noticed.
        """
        hours = [f"{letter} {opens:%H:%M} {closes:%H:%M}" for letter, (opens, closes) in self.hours.items()]
        years = [f"{year} {days}" for year, days in self.years.items()]
        body = "\n".join((title, *hours, *years, "")).encode()
        return body + hashlib.sha256(body).hexdigest().encode()

    @classmethod
    def decode(cls, content: bytes, title: str) -> SessionTable | None:
        """Return the table that ``encode`` wrote under that title; None for any other content."""
        first, *lines = content.rpartition(b"\n")[0].split(b"\n")
        if first != title.encode() or not _is_undamaged(content):
            return None
        words = [line.decode().split(" ") for line in lines]
        hours = {each[0]: (time.fromisoformat(each[1]), time.fromisoformat(each[2])) for each in words if each[2:]}
        return cls(hours, {int(each[0]): each[1] for each in words if not each[2:]})


@lru_cache(maxsize=64)
def _sessions_of(year: int, letters: str, hours: tuple[tuple[str, Hours], ...]) -> tuple[TradingSession, ...]:
    """Make them once for all pipelines of a process: a session is an object with two moments."""
    first, hours_of = date(year, 1, 1).toordinal(), dict(hours)
    days = ((TradingDate(date.fromordinal(first + number)), letter) for number, letter in enumerate(letters))
    return tuple(
        TradingSession(day, day.at(hours_of[letter][0]), day.at(hours_of[letter][1]))
        for day, letter in days
        if letter != CLOSED
    )
