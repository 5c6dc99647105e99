"""What can be wrong with the wire or with what comes over it, by the first word of a fault's ``detail``."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from email.utils import format_datetime
from typing import Final

import httpx

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.wire import Answer, Bar, Cursor, Wire

TIMEOUT: Final = 30.0
FOUR_WEEKS: Final = timedelta(weeks=4)
Words = Sequence[str]


# --- what begins before the server has the request
def _page(wire: Wire, words: Words) -> None:
    wire.page_size = int(words[0])


def _by_time(wire: Wire, words: Words) -> None:
    """Pages run over all symbols minute by minute. Tokens given out before still mean the former order."""
    wire.order = "time"


def _lie(wire: Wire, words: Words) -> None:
    """Answer all minutes of this command with none, with every second one, or with the first half of each day."""
    wire.lie = words[0]


def _burst(wire: Wire, words: Words) -> None:
    wire.burst = [int(words[0])] * int(words[1])


def _timeout_before(wire: Wire, words: Words) -> None:
    wire.wait(TIMEOUT)
    raise httpx.ConnectTimeout("timed out")


def _connect(wire: Wire, words: Words) -> None:
    raise httpx.ConnectError("[Errno 111] Connection refused")


# --- what happens to an answer
def _repeat_page(wire: Wire, answer: Answer, words: Words) -> None:
    """The bars of the page before come once more, with the token of this one."""
    answer.bars = wire.previous or answer.bars


def _repeat_bar(wire: Wire, answer: Answer, words: Words) -> None:
    for bars in answer.bars.values():
        bars.insert(len(bars) // 2, bars[len(bars) // 2])


def _omit_page(wire: Wire, answer: Answer, words: Words) -> None:
    wire.turn_page(answer)


def _truncate(wire: Wire, answer: Answer, words: Words) -> None:
    body = answer.body()
    answer.raw, answer.is_read = body[: len(body) * 2 // 3], False


def _cut(wire: Wire, answer: Answer, words: Words) -> None:
    answer.raw = answer.body()[: int(words[0])]
    answer.headers["content-length"] = "1000000"
    answer.breaks = httpx.RemoteProtocolError("peer closed connection without sending complete message body")


def _timeout_after(wire: Wire, answer: Answer, words: Words) -> None:
    wire.wait(TIMEOUT)
    answer.breaks = httpx.ReadTimeout("timed out")


def _refuse(wire: Wire, answer: Answer, words: Words) -> None:
    """A symbol is refused, named or not."""
    named = answer.query.symbols[-1]
    answer.refuse(400, f"invalid symbol: {named}" if words[0] == "named" else "invalid symbol")


def _status(wire: Wire, answer: Answer, words: Words) -> None:
    answer.refuse(int(words[0]), "forbidden." if words[0] == "403" else "request failed")


def _too_many(wire: Wire, answer: Answer, words: Words) -> None:
    """A 429, with or without the headers that say for how long."""
    answer.refuse(429, "too many requests.")
    for name in ("remaining", "reset", "limit"):
        answer.headers.pop(f"x-ratelimit-{name}")
    if words[0] == "after":
        answer.headers["retry-after"] = words[1]


def _other_token(wire: Wire, answer: Answer, words: Words) -> None:
    """The token of another request: one that has come to the last symbol already."""
    if answer.token and answer.rest:
        symbol, row = answer.rest[-1]
        answer.token = Cursor(wire.order, symbol, row[0]).token()


def _own_token(wire: Wire, answer: Answer, words: Words) -> None:
    """The page points to itself."""
    answer.token = answer.query.token or answer.token


def _other_symbol(wire: Wire, answer: Answer, words: Words) -> None:
    answer.bars = {"ZVZZT": [bar for bars in answer.bars.values() for bar in bars]}


def _other_spelling(wire: Wire, answer: Answer, words: Words) -> None:
    answer.bars = {symbol.lower(): bars for symbol, bars in answer.bars.items()}


def _other_dates(wire: Wire, answer: Answer, words: Words) -> None:
    """The answer to the same request for four weeks ago."""
    answer.bars = {symbol: [_moved(bar, -FOUR_WEEKS) for bar in bars] for symbol, bars in answer.bars.items()}


def _outside(wire: Wire, answer: Answer, words: Words) -> None:
    """Each symbol has two bars more, of the week before and of the week after."""
    for bars in answer.bars.values():
        week = FOUR_WEEKS / 4
        bars[:] = [_moved(bars[0], -week), *bars, _moved(bars[-1], week)]


def _moved(bar: Bar, by: timedelta) -> Bar:
    moment = Timestamp.parse(bar["t"]).plus(by).moment
    return {**bar, "t": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _unsorted(wire: Wire, answer: Answer, words: Words) -> None:
    for bars in answer.bars.values():
        wire.random.shuffle(bars)


def _body(wire: Wire, answer: Answer, words: Words) -> None:
    """A body without anything: {}, null or [], which mean that there are no bars."""
    answer.raw, answer.bars, answer.token, answer.rest = words[0].encode(), {}, "", []


def _message(wire: Wire, answer: Answer, words: Words) -> None:
    """An error with status 200."""
    answer.refuse(200, "internal error")
    answer.is_read = False


def _date(wire: Wire, answer: Answer, words: Words) -> None:
    """The server's clock is so many hours off."""
    moment = answer.at.plus(timedelta(hours=float(words[0]))).moment
    answer.headers["date"] = format_datetime(moment, usegmt=True)


def _gzip(wire: Wire, answer: Answer, words: Words) -> None:
    """A stream of gzip that is whole, or that breaks in the middle."""
    packed = gzip.compress(answer.body(), mtime=0)
    answer.headers["content-encoding"] = "gzip"
    answer.raw = packed if words[0] == "whole" else packed[: len(packed) // 2]
    answer.is_read = words[0] == "whole"


def _null_fields(wire: Wire, answer: Answer, words: Words) -> None:
    """A bar without trade count and vwap, as older ones are."""
    for bars in answer.bars.values():
        bars[0] = {**bars[0], "n": None, "vw": None}


def _damaged_record(wire: Wire, answer: Answer, words: Words) -> None:
    """A bar with a price that is no number: validation rejects it and keeps its neighbours."""
    for bars in answer.bars.values():
        bars[-1] = {**bars[-1], "h": "n/a"}


OF_REQUESTS: Final[Mapping[str, Callable[[Wire, Words], None]]] = {
    "page": _page,
    "by-time": _by_time,
    "lie": _lie,
    "burst": _burst,
    "timeout-before": _timeout_before,
    "connect": _connect,
}
OF_ANSWERS: Final[Mapping[str, Callable[[Wire, Answer, Words], None]]] = {
    "repeat-page": _repeat_page,
    "repeat-bar": _repeat_bar,
    "omit-page": _omit_page,
    "truncate": _truncate,
    "cut": _cut,
    "timeout-after": _timeout_after,
    "refuse": _refuse,
    "status": _status,
    "too-many": _too_many,
    "other-token": _other_token,
    "own-token": _own_token,
    "other-symbol": _other_symbol,
    "other-spelling": _other_spelling,
    "other-dates": _other_dates,
    "outside": _outside,
    "unsorted": _unsorted,
    "body": _body,
    "message": _message,
    "date": _date,
    "gzip": _gzip,
    "null-fields": _null_fields,
    "damaged-record": _damaged_record,
}
EXAMPLES: Final = (
    *("page 1", "page 3", "by-time", "lie empty", "lie even", "lie late", "burst 500 2", "burst 503 9"),
    *("timeout-before", "connect", "repeat-page", "repeat-bar", "omit-page", "truncate", "cut 0", "cut 200"),
    *("timeout-after", "refuse named", "refuse unnamed", "status 403", "status 422", "too-many plain"),
    *("too-many after 7", "other-token", "own-token", "other-symbol", "other-spelling", "other-dates", "outside"),
    *("unsorted", "body {}", "body null", "body []", "message", "date -6", "date 30", "gzip whole", "gzip broken"),
    *("null-fields", "damaged-record"),
)
"""The details that stories have."""


def of_request(wire: Wire, detail: str) -> None:
    """Carry out a fault that begins before the server has the request. Raises ``httpx.TransportError``."""
    name, *words = detail.split(" ")
    if name in OF_REQUESTS:
        OF_REQUESTS[name](wire, words)


def of_answer(wire: Wire, answer: Answer, detail: str) -> None:
    """Carry out a fault that changes what the server answers. One that needs a page of bars changes no other."""
    name, *words = detail.split(" ")
    if name in OF_ANSWERS and answer.status == 200:
        OF_ANSWERS[name](wire, answer, words)
