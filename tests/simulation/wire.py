"""``Wire``: Alpaca's endpoint of bars as one process reaches it, with pages, tokens, limits and latency."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from datetime import timedelta
from email.utils import format_datetime
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpx
from attrs import define, evolve, field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.simulation.answers import Row
from tests.simulation.exchange import sessions_between
from tests.simulation.ledger import DAYS, Asked, Delivered, Ledger
from tests.simulation.market import Account, Market
from tests.simulation.process import Process
from tests.simulation.rows import date_of

if TYPE_CHECKING:
    from tests.simulation.story import Fault

RECENT: Final = timedelta(minutes=15)
"""Of the feed sip a free plan shows nothing younger."""
LONGEST_LATENCY: Final = 8.0
PAGE_SIZES: Final = (7, 30, 100, 400, 10_000)
HOW_OFTEN: Final = (1, 2, 3, 3, 3)
MOST_PAGES: Final = 30
"""Of one walk, so that a request for a long history does not take all the time of a world."""
Bar = dict[str, Any]
Named = tuple[str, Row]
"""A bar with its symbol."""


class Subject(Protocol):
    """What a wire needs of a world."""

    market: Market
    ledger: Ledger
    clock: Any

    def draw(self, what: str = "") -> Random: ...


@frozen
class Query:
    """One request as the server reads it. ``start`` and ``end`` are inclusive; ``limit`` is that of a page."""

    symbols: tuple[str, ...]
    timeframe: str
    start: Timestamp
    end: Timestamp
    limit: int
    feed: str
    token: str

    @classmethod
    def of(cls, request: httpx.Request) -> Query:
        said = request.url.params
        return cls(
            tuple(said["symbols"].split(",")),
            said["timeframe"],
            Timestamp.parse(said["start"]),
            Timestamp.parse(said["end"]),
            int(said["limit"]),
            said["feed"],
            said.get("page_token", ""),
        )


@frozen
class Cursor:
    """Where a page begins: behind this bar of this order, which is "symbol" or "time"."""

    order: str
    symbol: str
    micros: int

    def token(self) -> str:
        return urlsafe_b64encode(f"{self.order}|{self.symbol}|{self.micros}".encode()).decode()

    @classmethod
    def of(cls, token: str) -> Cursor:
        order, symbol, micros = urlsafe_b64decode(token).decode().split("|")
        return cls(order, symbol, int(micros))

    def is_before(self, symbol: str, row: Row) -> bool:
        return _place(self.order, self.symbol, self.micros) < _place(self.order, symbol, row[0])


def _place(order: str, symbol: str, micros: int) -> tuple[str | int, str | int]:
    return (micros, symbol) if order == "time" else (symbol, micros)


@define
class Answer:
    """One response while it is made. ``raw`` replaces the body, and ``breaks`` is raised instead of the rest of it.

    ``at`` is when the server counted the request. ``all`` are the bars that it has for the whole of it, in its order;
    ``rest`` those of later pages. ``is_read`` is whether a client can read the body.
    """

    query: Query
    at: Timestamp
    all: list[Named]
    rest: list[Named] = field(factory=list)
    bars: dict[str, list[Bar]] = field(factory=dict)
    token: str = ""
    status: int = 200
    headers: dict[str, str] = field(factory=dict)
    raw: bytes | None = None
    breaks: httpx.TransportError | None = None
    is_read: bool = True

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return json.dumps({"bars": self.bars, "next_page_token": self.token or None}, separators=(",", ":")).encode()

    def refuse(self, status: int, message: str) -> None:
        """Answer with an error instead of bars."""
        self.status, self.bars, self.token, self.rest = status, {}, "", []
        self.raw = json.dumps({"message": message}).encode()


class Wire(httpx.BaseTransport):
    """The transport of one process. What is drawn for it holds for one command: the size of pages and the latency."""

    def __init__(self, world: Subject, process: Process) -> None:
        self.world, self.process = world, process
        self.random = world.draw(f"wire {process.number % 20}")
        self.page_size = self.random.choices(PAGE_SIZES, HOW_OFTEN)[0]
        self._slow = self.random.random() < 0.1
        self.order = "symbol"
        self.lie = ""
        self.burst: list[int] = []
        """Status codes that answer the next requests."""
        self.previous: dict[str, list[Bar]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        fault = self._called(request.url.path)
        query = Query.of(request)
        self.wait(self._latency())
        answer = self._answer(query, fault)
        self.wait(self._latency())
        self._tell(answer)
        if answer.breaks is not None and answer.raw is None:
            raise answer.breaks
        stream = httpx.ByteStream(answer.body()) if answer.breaks is None else _Broken(answer.body(), answer.breaks)
        return httpx.Response(answer.status, headers=answer.headers, stream=stream)

    def _called(self, path: str) -> Fault | None:
        try:
            return self.process.call("GET", path)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error

    def _latency(self) -> float:
        return self.random.random() * (LONGEST_LATENCY / 2 if self._slow else 0.2)

    def wait(self, seconds: float) -> None:
        self.process.scheduler.sleep(seconds)

    def _answer(self, query: Query, fault: Fault | None) -> Answer:
        from tests.simulation.wire_faults import of_answer, of_request

        if fault is not None:
            of_request(self, fault.detail)
        answer = self._honest(query)
        if fault is not None:
            of_answer(self, answer, fault.detail)
        self.previous = answer.bars if answer.status == 200 else self.previous
        return answer

    def _honest(self, query: Query) -> Answer:
        """Answer by the market at this moment, and by the lies that hold by now."""
        now, account = self.world.clock.now(), self.world.market.account
        count = account.count(now.epoch_micros / 1e6)
        cursor = Cursor.of(query.token) if query.token else Cursor(self.order, "", 0)
        found = sorted(self._found(query, now), key=lambda named: _place(cursor.order, named[0], named[1][0]))
        answer = Answer(query, now, found, headers=_headers(now, account, count))
        self._fill(answer, cursor)
        if self.burst:
            answer.refuse(self.burst.pop(0), "internal server error")
        elif count > account.limit:
            answer.refuse(429, "too many requests.")
        elif query.feed == "sip" and query.end > now.plus(-RECENT):
            answer.refuse(403, "subscription does not permit querying recent SIP data")
        return answer

    def _found(self, query: Query, now: Timestamp) -> Iterator[Named]:
        first, last = TradingDate.of(query.start), TradingDate.of(query.end)
        start, end = query.start.epoch_micros, query.end.epoch_micros
        for symbol in sorted(query.symbols):
            for session in sessions_between(first, last):
                rows = self._rows(symbol, session.trading_date, query, now)
                yield from ((symbol, row) for row in rows if start <= row[0] <= end)

    def _rows(self, symbol: str, date: TradingDate, query: Query, now: Timestamp) -> list[Row]:
        market = self.world.market
        if query.timeframe == DAYS:
            official = market.official(symbol, date, now, query.feed)
            return [] if official is None else [official.row()]
        rows = [*market.minutes(symbol, date, now, query.feed).rows()]
        half = {"": rows, "empty": [], "even": rows[::2], "late": rows[: len(rows) // 2]}
        return half[self.lie]

    def _fill(self, answer: Answer, cursor: Cursor) -> None:
        """Put one page into the answer: the bars behind the cursor."""
        size = min(max(self.page_size, len(answer.all) // MOST_PAGES), answer.query.limit)
        left = [named for named in answer.all if cursor.is_before(named[0], named[1])]
        page, answer.rest = left[:size], left[size:]
        answer.bars = {}
        for symbol, row in page:
            answer.bars.setdefault(symbol, []).append(in_words(row))
        answer.token = evolve(cursor, symbol=page[-1][0], micros=page[-1][1][0]).token() if answer.rest else ""

    def turn_page(self, answer: Answer) -> None:
        """Put the next page into the answer instead, if there is one."""
        if answer.token:
            self._fill(answer, Cursor.of(answer.token))

    def _tell(self, answer: Answer) -> None:
        query, is_read = answer.query, answer.is_read and answer.breaks is None
        asked = Asked(self.process.name, query.symbols, query.start, query.end, query.timeframe, query.token)
        bars: Mapping[str, list[Bar]] | None = answer.bars if is_read and answer.status == 200 else None
        more = frozenset((symbol, date_of(row[0])) for symbol, row in answer.rest)
        status = 0 if answer.breaks is not None and answer.raw is None else answer.status
        again = float(answer.headers.get("retry-after", 0)) if status else 0.0
        delivered = Delivered(answer.at, status, bars, answer.token, more, retry_after=again)
        self.world.ledger.delivered(asked, delivered)


class _Broken(httpx.SyncByteStream):
    """A body that ends with an error."""

    def __init__(self, body: bytes, error: httpx.TransportError) -> None:
        self._body, self._error = body, error

    def __iter__(self) -> Iterator[bytes]:
        yield self._body
        raise self._error


def _headers(now: Timestamp, account: Account, count: int) -> dict[str, str]:
    return {
        "content-type": "application/json; charset=utf-8",
        "date": format_datetime(now.moment, usegmt=True),
        "x-ratelimit-limit": str(account.limit),
        "x-ratelimit-remaining": str(max(0, account.limit - count)),
        "x-ratelimit-reset": str(ceil(account.free_at())),
    }


def in_words(row: Row) -> Bar:
    """Return a bar as Alpaca writes it."""
    micros, open_, high, low, close, volume, trades, vwap = row
    moment = Timestamp.from_epoch_micros(micros).moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "c": close,
        "h": high,
        "l": low,
        "n": trades,
        "o": open_,
        "t": moment,
        "v": int(volume),
        "vw": vwap,
    }
