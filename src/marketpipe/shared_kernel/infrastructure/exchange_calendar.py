"""The sessions of the New York Stock Exchange: the shipped table or exchange_calendars, and the exceptions over both.

``ExchangeCalendar`` is the adapter of the port ``TradingCalendar``. Where its sessions come from is a function of the
last year wanted: ``exchange_table`` takes the table of the package, or asks the library, which takes half a second in
each process (ADR 0044), and applies the exceptions that the library does not know (ADR 0024). ``CalendarCache`` keeps
in a file what the shipped table does not say (ADR 0016).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, time
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, CalendarException, TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_exceptions import KNOWN_EXCEPTIONS, LAST_OPENING_AT_TEN
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, is_file, matching, read_bytes
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.shared_kernel.infrastructure.session_table import (
    EXCHANGE,
    LAST_SHIPPED_YEAR,
    Hours,
    SessionTable,
    is_undamaged,
    shipped_table,
)

if TYPE_CHECKING:
    from pandas import DataFrame

EARLIEST: Final = date(1980, 1, 1)
"""The first date of the calendar."""
LARGEST_FILE: Final = 1 << 20
"""Bytes that a cache file has at most: a table of fifty years takes 18 KB."""

USUAL_HOURS: Final = (time(9, 30), time(16))
Exceptions = tuple[CalendarException, ...]
FindTable = Callable[[int, Exceptions], SessionTable]
FindShipped = Callable[[int, Exceptions], SessionTable | None]


@lru_cache(maxsize=8)
def exchange_table(last_year: int, exceptions: Exceptions = ()) -> SessionTable:
    """Return all sessions from ``EARLIEST`` to the end of ``last_year``.

    These are the ones that exchange_calendars knows, changed by ``KNOWN_EXCEPTIONS`` and then by ``exceptions``, those
    of the configuration. Raises ``ConfigurationError`` if they have too many different hours.
    """
    return shipped_exchange_table(last_year, exceptions) or _with_exceptions(library_table(last_year), exceptions)


@lru_cache(maxsize=8)
def shipped_exchange_table(last_year: int, exceptions: Exceptions = ()) -> SessionTable | None:
    """Do the same without exchange_calendars: None if it must be asked.

    That is so if its rules are others than those that the table of the package was made from, and for later years.
    """
    table = shipped_table() if last_year <= LAST_SHIPPED_YEAR else None
    return None if table is None else _with_exceptions(table.until(last_year), exceptions)


@lru_cache(maxsize=4)
def library_table(last_year: int) -> SessionTable:
    """Return the sessions that exchange_calendars knows, those of 10:00 mended.

    Importing and asking the library takes about a second, so it is imported here and not at the top of the module.
    """
    import exchange_calendars

    start, end = EARLIEST, date(last_year, 12, 31)
    schedule: DataFrame = exchange_calendars.get_calendar(EXCHANGE, start=start, end=end).schedule
    opens, closes = (schedule[column].dt.tz_convert(NEW_YORK).dt.time for column in ("open", "close"))
    days = zip(schedule.index.date, opens, closes, strict=True)
    sessions = {day: (time(10) if day <= LAST_OPENING_AT_TEN else first, last) for day, first, last in days}
    return SessionTable.of(sessions, EARLIEST.year, last_year)


def _with_exceptions(table: SessionTable, exceptions: Exceptions) -> SessionTable:
    changes = dict[date, Hours | None]()
    for exception in (*KNOWN_EXCEPTIONS, *exceptions):
        day = exception.trading_date.day
        if day.year in table.years:
            before = changes[day] if day in changes else table.hours_on(day)
            changes[day] = _changed(exception, before or USUAL_HOURS)
    return table.with_changes(changes)


def _changed(exception: CalendarException, hours: Hours) -> Hours | None:
    opens, closes = hours
    return None if exception.closed else (exception.opens or opens, exception.closes or closes)


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
        self._table: SessionTable | None = None
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
            # A plain field: a cached_property of Python 3.11 holds one lock of all calendars while the file is read.
            self._table = self._table or self._find_table(self._latest.day.year)
            sessions = self._table.sessions(year)
            self._years[year] = [session.trading_date.day for session in sessions], sessions
        dates, sessions = self._years[year]
        return sessions[bisect_left(dates, first) : bisect_right(dates, last)]


class CalendarCache:
    """What the shipped table does not say of the sessions, kept in a file beside the state.

    That is what exchange_calendars answered, so that other processes need not ask it again, and the exceptions of the
    configuration, which a process without a configuration takes from here. A cache and no state: delete the file at any
    time. If it is damaged, belongs to something else or does not reach far enough, it is rebuilt; if it cannot be
    written, as in a read-only folder, nothing is cached and nothing fails.
    """

    def __init__(
        self,
        state: Path,
        made_by: Callable[[], str],
        publish: Callable[[Mapping[Path, bytes]], None],
        exceptions: Iterable[CalendarException] | None = (),
        find_table: FindTable = exchange_table,
        find_shipped: FindShipped = shipped_exchange_table,
        disk: Disk = REAL_DISK,
    ) -> None:
        """The cache is written only if the file ``state`` exists: a folder without a store must not be written into.

        ``exceptions`` are those of the configuration; None, if there is none, for those that the newest cache in the
        folder was made with. ``made_by`` returns the version of exchange_calendars. It is in the file's name, so that a
        new version begins a new file. ``publish`` writes files under their final names, synced.
        """
        self._state, self._made_by, self._publish, self._disk = state, cache(made_by), publish, disk
        remembered = _exceptions_of_a_cache(disk, state.parent)
        given = remembered if exceptions is None else sorted(exceptions, key=lambda each: each.trading_date)
        self._exceptions = tuple(given)
        self._must_remember = self._exceptions != remembered
        self._find_table, self._find_shipped = find_table, find_shipped
        self._unsaved: SessionTable | None = None

    def __call__(self, last_year: int) -> SessionTable:
        """Return a table that reaches at least to ``last_year``, from the package, the file or the library."""
        shipped = self._find_shipped(last_year, self._exceptions)
        if shipped is None:
            cached = self._read()
            if cached is not None and last_year in cached.years:
                return cached
        elif not self._must_remember:
            return shipped
        table = self._unsaved = shipped or self._find_table(last_year, self._exceptions)
        self.save()
        return table

    def save(self) -> None:
        """Write the table if that was not possible before; call it once the state has been created."""
        if self._unsaved is None or not _is_file(self._disk, self._state):
            return
        try:
            self._publish({self._file(): self._unsaved.encode(self._title())})
        except StorageError:
            return
        self._unsaved = None

    def _file(self) -> Path:
        return self._state.with_name(f"sessions-{EXCHANGE}-{self._made_by()}.txt")

    def _title(self) -> str:
        """What the table was made from: a file with another title is rebuilt."""
        known = hashlib.sha256(_text_of(KNOWN_EXCEPTIONS).encode()).hexdigest()[:16]
        source = f"marketpipe 2: sessions of {EXCHANGE} by exchange_calendars {self._made_by()}, exceptions {known}"
        return source + GIVEN + _text_of(self._exceptions)

    def _read(self) -> SessionTable | None:
        content = _content_of(self._disk, self._file())
        return None if content is None else SessionTable.decode(content, self._title())


def _is_file(disk: Disk, path: Path) -> bool:
    with suppress(OSError):
        return is_file(disk, path)
    return False


def _content_of(disk: Disk, file: Path) -> bytes | None:
    with suppress(OSError):
        # opening a named pipe would wait for ever, and a file of another program may be of any size
        if is_file(disk, file) and disk.stat(file).st_size <= LARGEST_FILE:
            return read_bytes(disk, file)
    return None


def _exceptions_of_a_cache(disk: Disk, folder: Path) -> Exceptions:
    """Return the exceptions of the configuration that the newest undamaged cache in this folder was made with."""
    undamaged, files = [], list[Path]()
    with suppress(OSError):  # a folder that may not be read is named by what opens the state in it
        files += matching(disk, folder, f"sessions-{EXCHANGE}-*.txt")
    for file in files:
        with suppress(OSError):  # another process may delete it at this moment
            if (content := _content_of(disk, file)) and is_undamaged(content):
                undamaged.append((disk.stat(file).st_mtime_ns, content))
    title = max(undamaged)[1].partition(b"\n")[0].decode() if undamaged else ""
    return tuple(map(_exception_of, filter(None, title.partition(GIVEN)[2].split(","))))
