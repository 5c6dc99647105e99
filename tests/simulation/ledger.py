"""``Ledger``: every answer that the provider gave, as the wire delivered it, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.rows import Day, Row, date_of, in_json

MINUTES: Final = "1Min"
DAYS: Final = "1Day"


@frozen
class Asked:
    """A request for bars as the server read it: ``start`` and ``end`` are the bounds of its query, both inclusive.

    ``process`` is the name of the one that asked; ``timeframe`` is "1Min" or "1Day"; ``token`` is "" for a first page.
    """

    process: str
    symbols: tuple[str, ...]
    start: Timestamp
    end: Timestamp
    timeframe: str = MINUTES
    token: str = ""


@frozen
class Delivered:
    """What the process got of one request.

    ``at`` is the true moment at which the server counted it, ``status`` that of HTTP; 0 if nothing came back.
    ``bars`` are those of the body as it arrived, by symbol, as JSON has them: after all that went wrong on the way;
    None if it could not be read to its end. ``token`` is the one that it names for the next page, "" if none.
    ``more`` are the symbol-days of which the pages that follow have bars too. ``is_counted``: the server counted it.
    """

    at: Timestamp
    status: int = 200
    bars: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    token: str = ""
    more: frozenset[Day] = frozenset()
    is_counted: bool = True


@frozen
class Word:
    """What one walk through the pages of a request said of a symbol-day: ``rows`` in the order of their arrival.

    ``start`` and ``end`` bound the request; ``at`` is when its last page came. ``is_whole``: all of it came.
    """

    day: Day
    rows: tuple[Row, ...]
    start: Timestamp
    end: Timestamp
    at: Timestamp
    process: str
    timeframe: str = MINUTES
    is_whole: bool = True


@frozen
class Page:
    """One answer with its number, counted from 1 over the whole story."""

    number: int
    asked: Asked
    delivered: Delivered
    rows: Mapping[str, Sequence[Row]] = field(repr=False)


class Ledger:
    """What was said. ``said`` has each row that was ever delivered as a minute bar of a symbol, ``counted`` the moments
    of all requests that the server counted, ``limit`` how many it allows in a minute.
    """

    def __init__(self, limit: int = 200) -> None:
        self.limit = limit
        self.said: dict[str, set[Row]] = {}
        self.counted: list[Timestamp] = []
        self.pages: list[Page] = []

    def delivered(self, asked: Asked, answer: Delivered) -> None:
        """Note one request with its answer, as soon as the process has it."""
        if answer.is_counted:
            self.counted.append(answer.at)
        is_read = answer.status == 200 and answer.bars is not None
        rows = {symbol: in_json(bars) for symbol, bars in (answer.bars or {}).items()} if is_read else {}
        self.pages.append(Page(len(self.pages) + 1, asked, answer, rows))
        if asked.timeframe == MINUTES:
            for symbol, found in rows.items():
                self.said.setdefault(symbol, set()).update(found)

    def words(self, since: int = 0, timeframe: str = MINUTES) -> dict[Day, list[Word]]:
        """Return what was said of each symbol-day by the pages after number ``since``, in order."""
        raise NotImplementedError


def dates_in(rows: Sequence[Row]) -> set[str]:
    return {date_of(row[0]) for row in rows}
