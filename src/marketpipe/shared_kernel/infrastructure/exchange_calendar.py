from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from datetime import date, time
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.trading_date import NEW_YORK, TradingDate, TradingSession

if TYPE_CHECKING:
    from pandas import DataFrame

CLOSED = "."
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Hours = tuple[time, time]
"""When a session opens and closes, by a New York wall clock."""


@frozen
class SessionTable:
    """An exchange's sessions in little room: a letter for each date of a year, and the hours that it stands for."""

    hours: Mapping[str, Hours]
    years: Mapping[int, str]

    @classmethod
    def of(cls, sessions: Mapping[date, Hours], first_year: int, last_year: int) -> SessionTable:
        letters = dict(zip(dict.fromkeys(sessions.values()), LETTERS, strict=False))
        years = {year: [CLOSED] * _length(year) for year in range(first_year, last_year + 1)}
        for day, hours in sessions.items():
            years[day.year][day.toordinal() - date(day.year, 1, 1).toordinal()] = letters[hours]
        return cls({letters[hours]: hours for hours in letters}, {year: "".join(days) for year, days in years.items()})

    def sessions(self, year: int) -> tuple[TradingSession, ...]:
        first = date(year, 1, 1).toordinal()
        return tuple(
            self._session(TradingDate(date.fromordinal(first + number)), letter)
            for number, letter in enumerate(self.years[year])
            if letter != CLOSED
        )

    def encode(self, title: str) -> bytes:
        """Text under ``title``, with a digest in its last line."""
        hours = [f"{letter} {opens:%H:%M} {closes:%H:%M}" for letter, (opens, closes) in self.hours.items()]
        years = [f"{year} {days}" for year, days in self.years.items()]
        body = "\n".join((title, *hours, *years, "")).encode()
        return body + hashlib.sha256(body).hexdigest().encode()

    @classmethod
    def decode(cls, content: bytes, title: str) -> SessionTable | None:
        """None for anything but what ``encode`` made under that title."""
        body, newline, digest = content.rpartition(b"\n")
        said, *lines = body.split(b"\n")
        if said != title.encode() or digest != hashlib.sha256(body + newline).hexdigest().encode():
            return None
        words = [line.decode().split(" ") for line in lines]
        hours = {each[0]: (time.fromisoformat(each[1]), time.fromisoformat(each[2])) for each in words if each[2:]}
        return cls(hours, {int(each[0]): each[1] for each in words if not each[2:]})

    def _session(self, day: TradingDate, letter: str) -> TradingSession:
        opens, closes = self.hours[letter]
        return TradingSession(day, day.at(opens), day.at(closes))


def _length(year: int) -> int:
    return date(year + 1, 1, 1).toordinal() - date(year, 1, 1).toordinal()


AT_MOST_BYTES: Final = 1 << 20


class RememberedTable:
    """The sessions of an exchange, kept in a file so that other processes need not ask exchange_calendars for them.

    A file that is damaged, somebody else's, or does not reach far enough is made anew. Where it cannot be written, as
    in a folder that is read-only, nothing is remembered and nothing fails.
    """

    def __init__(
        self,
        file: Path,
        beside: Path,
        title: str,
        find_table: Callable[[int], SessionTable],
        publish: Callable[[Mapping[Path, bytes]], None],
    ) -> None:
        """The file is written only where ``beside`` lies already: a folder without a store is nobody's to write into.

        ``title`` says what the table was made from: another one is another table. See ADR 0016.
        """
        self._file, self._beside, self._title = file, beside, title
        self._find_table, self._publish = find_table, publish
        self._unwritten: SessionTable | None = None

    def __call__(self, last_year: int) -> SessionTable:
        remembered = self._read()
        if remembered is not None and last_year in remembered.years:
            return remembered
        found = self._unwritten = self._find_table(last_year)
        self.keep()
        return found

    def keep(self) -> None:
        """Writes what was not written yet, for want of what it belongs beside."""
        if self._unwritten is None or not self._beside.is_file():
            return
        try:
            self._publish({self._file: self._unwritten.encode(self._title)})
        except StorageError:
            return
        self._unwritten = None

    def _read(self) -> SessionTable | None:
        if not self._file.is_file():  # whoever opens a pipe waits for ever
            return None
        try:
            with self._file.open("rb") as file:
                return SessionTable.decode(file.read(AT_MOST_BYTES), self._title)
        except OSError:
            return None


EARLIEST = date(1980, 1, 1)
EXCHANGE = "XNYS"


@lru_cache(maxsize=4)
def exchange_table(last_year: int) -> SessionTable:
    """All sessions to the end of that year, by exchange_calendars, which takes a second to import and to ask."""
    import exchange_calendars

    start, end = EARLIEST, date(last_year, 12, 31)
    schedule: DataFrame = exchange_calendars.get_calendar(EXCHANGE, start=start, end=end).schedule
    opens, closes = (schedule[column].dt.tz_convert(NEW_YORK).dt.time for column in ("open", "close"))
    hours = zip(opens, closes, strict=True)
    return SessionTable.of(dict(zip(schedule.index.date, hours, strict=True)), start.year, last_year)


class ExchangeCalendar:
    """Holidays, half days and one-off closures of the New York Stock Exchange.

    ``latest`` is the last date for which the schedule may be relied on; holidays beyond it are not decided yet.
    ``find_table`` finds the sessions to the end of a year.
    """

    def __init__(self, latest: TradingDate, find_table: Callable[[int], SessionTable] = exchange_table) -> None:
        self._latest, self._find_table = latest, find_table
        self._years = dict[int, tuple[list[date], tuple[TradingSession, ...]]]()

    def sessions(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        if last < first:
            return ()
        if first.day < EARLIEST or last > self._latest:
            raise ConfigurationError(
                f"the trading calendar reaches from {EARLIEST} to {self._latest}; {first} to {last} lies outside"
            )
        years = range(first.day.year, last.day.year + 1)
        return tuple(chain.from_iterable(self._of_year(year, first.day, last.day) for year in years))

    def reaching(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        return self.sessions(max(first, TradingDate(EARLIEST)), min(last, self._latest))

    def _of_year(self, year: int, first: date, last: date) -> tuple[TradingSession, ...]:
        if year not in self._years:
            sessions = self._table.sessions(year)
            self._years[year] = [session.trading_date.day for session in sessions], sessions
        dates, sessions = self._years[year]
        return sessions[bisect_left(dates, first) : bisect_right(dates, last)]

    @cached_property
    def _table(self) -> SessionTable:
        return self._find_table(self._latest.day.year)
