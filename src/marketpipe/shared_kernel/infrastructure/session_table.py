from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, time

from attrs import frozen

from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import TradingSession

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
