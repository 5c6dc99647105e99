"""``Ledger``: every answer that the provider gave, as the wire delivered it, and when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, takewhile
from typing import Any, Final

from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.exchange import all_sessions
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

    ``at`` is the true moment of the answer, ``status`` that of HTTP; 0 if nothing came back.
    ``bars`` are those of the body as it arrived, by symbol, as JSON has them: after all that went wrong on the way;
    None if it could not be read to its end. ``token`` is the one that it names for the next page, "" if none.
    ``more`` are the symbol-days of which the pages that follow have bars too. ``is_counted``: the server counted it.
    ``retry_after`` are the seconds after which the server wants to be asked again.
    """

    at: Timestamp
    status: int = 200
    bars: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    token: str = ""
    more: frozenset[Day] = frozenset()
    is_counted: bool = True
    retry_after: float = 0.0


@frozen
class Word:
    """What one walk through the pages of a request said of a symbol-day: ``rows`` in the order of their arrival.

    ``start`` and ``end`` bound the request, both inclusive; ``began`` is when its first page came.
    ``is_whole``: all that the server had for the day has come.
    """

    day: Day
    rows: tuple[Row, ...] = field(repr=lambda rows: f"<{len(rows)} rows>")
    start: Timestamp
    end: Timestamp
    began: Timestamp
    process: str
    timeframe: str = MINUTES
    is_whole: bool = True


@frozen(eq=False)
class Page:
    """One answer that could be read; ``number`` counts the answers of the whole story from 1."""

    number: int
    token: str
    answer: Delivered
    rows: Mapping[str, Sequence[Row]] = field(repr=False)


@define
class Walk:
    """The pages of one request, by their token. The client sends for the next page before it has read this one: of a
    page that came several times the last counts, and the pages after it stay.
    """

    asked: Asked
    pages: dict[str, Page] = field(factory=dict)

    def chain(self) -> list[Page]:
        """Return the pages that follow one another, from the first one on."""
        found, token = dict[str, Page](), ""
        while token not in found and (page := self.pages.get(token)) is not None:
            found[token] = page
            token = page.answer.token
            if not token:
                break
        return [*found.values()]

    @property
    def has_ended(self) -> bool:
        chain = self.chain()
        return bool(chain) and not chain[-1].answer.token

    @property
    def latest(self) -> int:
        return max(page.number for page in self.pages.values())

    def words(self) -> Iterator[Word]:
        """Yield what the walk has said of each symbol-day that it asked for. With bars that nobody asked for it is no
        answer on a day without bars.
        """
        chain, rows = self.chain(), dict[Day, list[Row]]()
        if not chain:
            return
        last = chain[-1].answer
        for page in chain:
            for symbol, some in page.rows.items():
                for row in some:
                    rows.setdefault((symbol, date_of(row[0])), []).append(row)
        asked, dates = self.asked, dates_between(self.asked.start, self.asked.end)
        is_foreign = any(symbol not in asked.symbols or date not in dates for symbol, date in rows)
        for symbol in asked.symbols:
            for date in dates:
                found = tuple(rows.get(day := (symbol, date), ()))
                is_whole = (not last.token and bool(found or not is_foreign)) or (bool(found) and day not in last.more)
                began = chain[0].answer.at
                yield Word(day, found, asked.start, asked.end, began, asked.process, asked.timeframe, is_whole)


def dates_between(start: Timestamp, end: Timestamp) -> Sequence[str]:
    """Return the dates of the sessions between two moments, both inclusive, by the calendar of New York."""
    dates = _DATES or _DATES.extend(all_sessions()) or _DATES
    first, last = date_of(start.epoch_micros), date_of(end.epoch_micros)
    return dates[bisect_left(dates, first) : bisect_right(dates, last)]


_DATES: Final[list[str]] = []


class Ledger:
    """What was said. ``said`` has each row that was ever delivered as a minute bar of a symbol, ``said_of_days`` as an
    official day. ``count`` is the number of answers so far; ``refused`` are the moments at which the server answered
    429.
    """

    def __init__(self) -> None:
        self.said: dict[str, set[Row]] = {}
        self.said_of_days: dict[str, set[Row]] = {}
        self.count = 0
        self.asked: list[tuple[int, Asked, Delivered]] = []
        self._walks: list[Walk] = []
        self._latest: dict[tuple[Any, ...], Walk] = {}

    def delivered(self, asked: Asked, answer: Delivered) -> None:
        """Note one request with its answer, as soon as the process has it."""
        self.count += 1
        self.asked.append((self.count, asked, answer))
        if answer.status != 200 or answer.bars is None:
            return
        rows = {symbol: in_json(bars) for symbol, bars in answer.bars.items()}
        said = self.said if asked.timeframe == MINUTES else self.said_of_days
        for symbol, found in rows.items():
            said.setdefault(symbol, set()).update(found)
        self._walk(asked).pages[asked.token] = Page(self.count, asked.token, answer, rows)

    def _walk(self, asked: Asked) -> Walk:
        """Return the walk that a request belongs to. If a first page is asked for again, the pages that were sent for
        before it was read stay: the client asks for them no second time.
        """
        key = asked.process, asked.symbols, asked.start, asked.end, asked.timeframe
        former = self._latest.get(key)
        if former is None or (not asked.token and former.has_ended):
            kept = {} if former is None else {token: page for token, page in former.pages.items() if token}
            self._latest[key] = Walk(asked, kept)
            self._walks.append(self._latest[key])
        return self._latest[key]

    def walks_since(self, number: int) -> Iterator[Walk]:
        """Yield the walks that got a page after the answer with this number, the earliest first.

        Each process has walks of its own: those of former steps get no page any more.
        """
        return reversed([*takewhile(lambda walk: walk.latest > number, reversed(self._walks))])

    def words_since(self, number: int, timeframe: str = MINUTES) -> dict[Day, list[Word]]:
        """Return what was said of each symbol-day by the walks after the answer with this number."""
        found = dict[Day, list[Word]]()
        walks = (walk for walk in self.walks_since(number) if walk.asked.timeframe == timeframe)
        for word in chain.from_iterable(walk.words() for walk in walks):
            found.setdefault(word.day, []).append(word)
        return found

    def asked_since(self, number: int) -> Iterator[tuple[Asked, Delivered]]:
        return ((asked, answer) for count, asked, answer in self.asked[number:] if count > number)
