"""All sessions of an exchange in little room, and the table of them that ships with the package.

The shipped table says what exchange_calendars says, so that a process need not ask it: that takes pandas and half a
second. A release makes it (``.ci/make_session_table.py``). It is believed only as long as the installed library states
the exchange's rules in the same words as the one that it was made from. See ADR 0044.
"""

from __future__ import annotations

import hashlib
import os
import sys
from calendar import isleap
from collections.abc import Mapping, Sequence
from datetime import date, time
from functools import cache, lru_cache
from pathlib import Path
from string import ascii_letters, digits
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession

EXCHANGE: Final = "XNYS"
SHIPPED: Final = Path(__file__).with_name(f"sessions-{EXCHANGE}.txt")
LAST_SHIPPED_YEAR: Final = 2050
RULES: Final = ("exchange_calendar_xnys.py", "us_holidays.py", "common_holidays.py")
"""The files of exchange_calendars that state when the New York Stock Exchange is open, and nothing else."""

CLOSED: Final = "."
LETTERS: Final = ascii_letters + digits
Hours = tuple[time, time]
"""When a regular session opens and closes, by New York's wall clock."""


@frozen
class SessionTable:
    """All sessions of an exchange: one letter for each date of a year.

    ``years`` has a text of 365 or 366 letters for each year; ``CLOSED`` is a day without a session. ``hours`` has the
    opening hours that each letter stands for. They are wall clock times, so that a later change of the tz database
    changes the sessions that are made from an old table as well.
    """

    hours: Mapping[str, Hours]
    years: Mapping[int, str]

    @classmethod
    def of(cls, sessions: Mapping[date, Hours], first_year: int, last_year: int) -> SessionTable:
        years = {year: CLOSED * (365 + isleap(year)) for year in range(first_year, last_year + 1)}
        return cls({}, years).with_changes(sessions)

    def with_changes(self, changes: Mapping[date, Hours | None]) -> SessionTable:
        """Return the table with other hours on some dates; None is a day without a session.

        Dates of years that the table does not have are left out. Raises ``ConfigurationError`` for too many different
        hours.
        """
        inside = {day: hours for day, hours in changes.items() if day.year in self.years}
        letters = {hours: letter for letter, hours in self.hours.items()}
        new = [hours for hours in dict.fromkeys(inside.values()) if hours is not None and hours not in letters]
        if len(letters) + len(new) > len(LETTERS):
            raise ConfigurationError(
                f"calendar: exceptions: more than {len(LETTERS)} different opening hours are too many"
            )
        letters |= zip(new, LETTERS[len(letters) :], strict=False)
        years = {year: list(self.years[year]) for year in {day.year for day in inside}}
        for day, hours in inside.items():
            years[day.year][_number(day)] = CLOSED if hours is None else letters[hours]
        changed = {year: "".join(days) for year, days in years.items()}
        return SessionTable({letter: hours for hours, letter in letters.items()}, {**self.years, **changed})

    def until(self, last_year: int) -> SessionTable:
        return SessionTable(self.hours, {year: days for year, days in self.years.items() if year <= last_year})

    def hours_on(self, day: date) -> Hours | None:
        """Return when the session of that date opens and closes; None if there is none. The table has its year."""
        return self.hours.get(self.years[day.year][_number(day)])

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
        if first != title.encode() or not is_undamaged(content):
            return None
        words = [line.decode().split(" ") for line in lines]
        hours = {each[0]: (time.fromisoformat(each[1]), time.fromisoformat(each[2])) for each in words if each[2:]}
        return cls(hours, {int(each[0]): each[1] for each in words if not each[2:]})


def _number(day: date) -> int:
    return day.toordinal() - date(day.year, 1, 1).toordinal()


def is_undamaged(content: bytes) -> bool:
    """Return whether this is what ``SessionTable.encode`` wrote, under whatever title."""
    body, newline, digest = content.rpartition(b"\n")
    return digest == hashlib.sha256(body + newline).hexdigest().encode()


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


@cache
def shipped_table() -> SessionTable | None:
    """Return the table of the package, from 1980 to ``LAST_SHIPPED_YEAR``, without our exceptions.

    None if it was made from other rules than those of the installed library, which then has to be asked.
    """
    rules = installed_rules(sys.path)
    return None if rules is None else SessionTable.decode(SHIPPED.read_bytes(), title(rules))


def title(rules: str) -> str:
    """Return the first line of the shipped table, with the digest of the rules that it was made from."""
    return f"sessions of {EXCHANGE} by the rules {rules} of exchange_calendars"


def installed_rules(folders: Sequence[str]) -> str | None:
    """Return a digest of the exchange's rules in the exchange_calendars that is found first in these folders.

    None if the library is somewhere else, such as in a zip file. The rules are compared and not the version, because
    most versions of the library change nothing for this exchange. Nothing is imported.
    """
    for folder in folders:
        package = os.path.join(folder, "exchange_calendars")
        if os.path.isfile(os.path.join(package, "__init__.py")):
            try:
                texts = [Path(package, name).read_bytes() for name in RULES]
            except OSError:
                return None
            return hashlib.sha256(b"\0".join(texts)).hexdigest()
    return None
