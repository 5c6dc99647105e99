"""Alpaca's pages of bars: from JSON to canonical columns. Outside of this folder no Alpaca field name is known.

A page is read in one of three ways. Nearly every page is well formed and is decoded fast, into structs that live no
longer than the page; with the extra ``fast`` it goes straight to columns (fast_pages.py). A page with a damaged record
is read again with the standard library, record by record: what cannot be read becomes null, with the provider's own
text in the column ``raw``, so that validation rejects that bar and keeps its neighbours. What must never be lost
silently (a page that is no page, a symbol or token that occurs twice, a message instead of bars, bars under another
spelling or in another currency) raises ``MalformedResponseError``, which is retried.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import pyarrow as pa
from attrs import frozen

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.alpaca.fast_pages import FastPages
from marketpipe.shared_kernel.domain.errors import MalformedResponseError, ValidationError, WrongAnswerError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, TIMESTAMP

FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "trade_count": "n", "vwap": "vw"}
OPTIONAL = ("n", "vw")
"""Older data lacks them."""
TOKEN = "next_page_token"
KEYS = {"bars", TOKEN, "symbol", "currency", "timeframe"}
CURRENCY = "USD"
NAMES = {Timeframe.MINUTE_1: ("1min", "1t"), Timeframe.DAY_1: ("1day", "1d")}
"""Alpaca's own names of the timeframes that are requested, in lower case."""
LARGEST_COUNT = 2**63 - 1
INEXACT = 2**53
"""From here on a double no longer holds every whole number: the decoder rounds silently."""
LONGEST_NUMBER = 300
"""Digits of a whole number; a longer one does not fit into a double."""
MOST_CONTAINERS = 100_000
"""Objects and lists of a page that is read leniently, ten times what is requested: more would take the memory."""

_BELOW_MICROSECONDS = re.compile(r"[.,]\d{6}0*[1-9]", re.ASCII)

R = TypeVar("R")
Groups = list[tuple[Symbol, Sequence[R]]]


class _Bar(msgspec.Struct, gc=False, kw_only=True):
    """``gc=False``: bars hold no references to each other, and the collector need not visit 10,000 of them.

    The fields are in Alpaca's order, in which the decoder expects them: another order takes a quarter more time.
    """

    c: float
    h: float
    l: float  # noqa: E741 - Alpaca's own name
    n: int | None = None
    o: float
    t: str
    v: float
    vw: float | None = None


class _Page(msgspec.Struct, gc=False):
    """Alpaca writes "no bars" in several ways: ``bars`` may be {}, [], null or absent, and so may the page."""

    bars: dict[str, list[_Bar] | None] | list[_Bar] | None = None
    next_page_token: str | None = None
    currency: str | None = None
    timeframe: str | None = None


_DECODER = msgspec.json.Decoder(_Page | list[_Bar] | None)


class ResponseParser:
    """Parses the pages of one request for ``symbols``."""

    def __init__(
        self,
        symbols: Sequence[Symbol],
        timeframe: Timeframe = Timeframe.MINUTE_1,
        fast_pages: FastPages | None = None,
    ) -> None:
        self._wanted, self._timeframe = {str(symbol): symbol for symbol in symbols}, timeframe
        self._fast_pages = fast_pages

    def parse(self, body: bytes) -> RawMarketData:
        """Return the page, symbols ascending. Raises ``MalformedResponseError``."""
        if self._fast_pages and (found := self._fast_pages.read(body, self._wanted)):
            return found
        try:
            page = _DECODER.decode(body)
            page = page if isinstance(page, _Page) else _Page(page)
            if _may_repeat_a_key(body, page) or _may_underflow(body):
                return self._parse_leniently(body)
            self._check_question(page.currency, page.timeframe)
            groups, unrequested = self._wanted_groups(page.bars)
            if not (groups or unrequested):
                LenientPage.read(body).check_nothing()
            columns = _columns([bar for _, bars in groups for bar in bars])
            if max(columns[name].to_numpy().max(initial=0.0) for name in ("volume", "high")) >= INEXACT:
                return self._parse_leniently(body)
        except (msgspec.DecodeError, pa.ArrowInvalid, OverflowError, UnicodeDecodeError, RecursionError):
            return self._parse_leniently(body)
        return RawMarketData(columns, _runs(groups), page.next_page_token or None, (), unrequested)

    def _parse_leniently(self, body: bytes) -> RawMarketData:
        page = LenientPage.read(body)
        self._check_question(page.currency, page.timeframe)
        groups, unrequested = self._wanted_groups(page.bars)
        if not (groups or unrequested):
            page.check_nothing()
        columns = LenientPage.columns(chain.from_iterable(records for _, records in groups))
        return RawMarketData(columns, _runs(groups), page.next_page_token, (), unrequested)

    def _wanted_groups(self, bars: Mapping[str, Sequence[R] | None] | Sequence[R] | None) -> tuple[Groups[R], int]:
        """Return the bars by symbol, ascending whatever the order of the keys, and the number of unrequested bars."""
        named = bars if isinstance(bars, Mapping) else {"": bars}
        if named.get(""):
            raise MalformedResponseError("a list of bars without their symbol")
        groups = [(self._wanted[name], group) for name, group in named.items() if group and name in self._wanted]
        others = {name: group for name, group in named.items() if group and name not in self._wanted}
        for name, group in others.items():
            self._check_spelling(name, group, dict(groups))
        return sorted(groups, key=itemgetter(0)), sum(map(len, others.values()))

    def _check_question(self, currency: object, timeframe: object) -> None:
        if currency not in (None, CURRENCY):
            raise WrongAnswerError(f"the response is in {str(currency)[:20]!r}, not in {CURRENCY}, which was requested")
        if timeframe is not None and str(timeframe).lower() not in NAMES[self._timeframe]:
            raise WrongAnswerError(f"the response is of {str(timeframe)[:20]!r}, not {self._timeframe}, as requested")

    def _check_spelling(self, name: str, bars: Sequence[R], groups: Mapping[Symbol, Sequence[R]]) -> None:
        """Raise ``WrongAnswerError`` for bars under another name, if what was requested lacks them or did not come."""
        alike = [symbol for wanted, symbol in self._wanted.items() if _letters(wanted) == _letters(name)]
        missing = {_stamp(bar) for bar in bars}
        for symbol in alike:
            missing -= {_stamp(bar) for bar in groups.get(symbol, ())}
        if not groups or (alike and missing):
            raise WrongAnswerError(
                f"the response has bars of {name[:40]!r}, which was not requested, in place of bars of "
                f"{', '.join(map(str, alike or self._wanted.values()))[:100]}"
            )


def _may_repeat_a_key(body: bytes, page: _Page) -> bool:
    """Return whether a symbol or the token may occur twice, in which case the decoder has silently kept the last.

    Each list of a well-formed page belongs to one symbol, so a page with more lists than symbols is suspicious.
    """
    if b"\\" in body and b"\\u" in body:  # a key may be written with escapes
        return True
    named = page.bars.values() if isinstance(page.bars, Mapping) else [page.bars]
    lists, token = sum(group is not None for group in named), TOKEN.encode()
    return _occurs_more(body, b"[", lists) or (_occurs_more(body, b"_", token.count(b"_")) and body.count(token) > 1)


def _may_underflow(body: bytes) -> bool:
    """Return whether a number may have a negative exponent: the decoder turns 1e-400 into 0 silently."""
    # Dashes are in every timestamp and an e hardly anywhere: to look for one takes a hundredth of the time of both.
    return any(_is_before_a_dash(body, letter) for letter in (b"e", b"E"))


def _is_before_a_dash(body: bytes, letter: bytes) -> bool:
    at = body.find(letter)
    while at >= 0 and body[at + 1 : at + 2] != b"-":
        at = body.find(letter, at + 1)
    return at >= 0


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).upper()


def _stamp(bar: object) -> object:
    return bar.t if isinstance(bar, _Bar) else str(bar.get("t")) if isinstance(bar, dict) else None


def _occurs_more(body: bytes, letter: bytes, times: int) -> bool:
    """Return whether ``letter`` occurs more often. For a rare one this takes a tenth of the time of ``bytes.count``."""
    at = -1
    return all((at := body.find(letter, at + 1)) >= 0 for _ in range(times + 1))


def _runs(groups: Groups[R]) -> tuple[SymbolRun, ...]:
    return tuple(SymbolRun(symbol, len(bars)) for symbol, bars in groups)


def _columns(bars: list[_Bar]) -> pa.Table:
    # Written out: through attrgetter this takes twice the time. By numpy where there can be no None: that is faster.
    return pa.table(
        [
            pa.array([bar.t for bar in bars], pa.string()).cast(TIMESTAMP),
            np.fromiter([bar.o for bar in bars], np.float64, len(bars)),
            np.fromiter([bar.h for bar in bars], np.float64, len(bars)),
            np.fromiter([bar.l for bar in bars], np.float64, len(bars)),
            np.fromiter([bar.c for bar in bars], np.float64, len(bars)),
            np.fromiter([bar.v for bar in bars], np.float64, len(bars)),
            _counts([bar.n for bar in bars]),
            pa.array([bar.vw for bar in bars], pa.float64()),
        ],
        schema=BAR_SCHEMA,
    )


def _counts(values: list[int | None]) -> Any:
    try:
        return np.fromiter(cast("list[int]", values), np.int64, len(values))
    except TypeError:  # a bar has none
        return pa.array(values, pa.int64())


@frozen
class LenientPage:
    """A page with at least one damaged record, read with the standard library: slow and rare.

    ``others`` are the entries of the page that no page of bars has.
    """

    bars: Mapping[str, Sequence[object] | None] | Sequence[object] | None
    next_page_token: str | None
    others: Mapping[str, object]
    currency: object = None
    timeframe: object = None

    @classmethod
    def read(cls, body: bytes) -> LenientPage:
        """Raises ``MalformedResponseError`` if the page itself, and not a record in it, is damaged."""
        if body.count(b"{") + body.count(b"[") > MOST_CONTAINERS:
            raise MalformedResponseError(f"the body is no page of bars: it has more than {MOST_CONTAINERS:,} parts")
        try:
            page = json.loads(
                body, parse_int=_whole, parse_float=_finite, parse_constant=str, object_pairs_hook=_unambiguous
            )
        except (ValueError, RecursionError) as error:
            start = body[:40].decode("utf-8", "replace")
            raise MalformedResponseError(f"the body is not JSON: it starts with {start!r}") from error
        page = page if isinstance(page, dict) else {"bars": page}
        token = page.get(TOKEN)
        if not _holds_records(page.get("bars")) or not isinstance(token, str | None):
            raise MalformedResponseError(f"the body is not a page of bars: its keys are {sorted(page)[:8]}")
        others = {key: value for key, value in page.items() if key not in KEYS and value is not None}
        return cls(page.get("bars"), token or None, others, page.get("currency"), page.get("timeframe"))

    def check_nothing(self) -> None:
        """Raise ``MalformedResponseError`` if a page without bars holds anything else.

        An error may come with status 200: a message instead of bars does not mean that there are no bars.
        """
        if "message" in self.others:
            raise MalformedResponseError(f"a message instead of bars: {str(self.others['message'])[:200]!r}")
        if self.others:
            raise MalformedResponseError(f"no bars, but {', '.join(sorted(self.others))[:200]}")

    @staticmethod
    def columns(records: Iterable[object]) -> pa.Table:
        """Return the canonical columns, and ``raw``: the provider's own text of a damaged record, else null."""
        rows = [_row(record) for record in records]
        schema = BAR_SCHEMA.append(pa.field("raw", pa.string()))
        return pa.table({name: [row[name] for row in rows] for name in schema.names}, schema=schema)


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Take the last of two equal keys, unless they hold bars or the token: then half of them would be lost.

    Raises ``MalformedResponseError``.
    """
    entries = dict(pairs)
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        matters = {key for key, value in pairs if isinstance(value, dict | list) or key == TOKEN}
        twice = sorted(key for key in matters if keys.count(key) > 1)
        if twice:
            raise MalformedResponseError(f"the body has the key {twice[0][:40]!r} twice")
    return entries


def _holds_records(bars: object) -> bool:
    groups = bars.values() if isinstance(bars, dict) else [bars]
    return all(group is None or isinstance(group, list) for group in groups)


def _row(record: object) -> dict[str, Any]:
    given = record if isinstance(record, dict) else {}
    row: dict[str, Any] = {name: _number(given.get(key), whole=key == "n") for name, key in FIELDS.items()}
    row["timestamp"] = _moment(given.get("t"))
    damaged = [
        key
        for name, key in {"timestamp": "t", **FIELDS}.items()
        if row[name] is None and not (key in OPTIONAL and given.get(key) is None)
    ]
    row["raw"] = json.dumps(record) if damaged else None
    return row


def _whole(text: str) -> int | str:
    """Keep a number that is too long for a double as its text."""
    return int(text) if len(text) <= LONGEST_NUMBER else text


def _finite(text: str) -> float | str:
    """Keep a number as its text if a double is not near it, or is not exact where whole numbers are meant."""
    number = float(text)
    if not math.isfinite(number) or (not number and Decimal(text)):
        return text
    return number if abs(number) < INEXACT or Decimal(text) == Decimal(number) else text


def _number(value: object, *, whole: bool) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not whole:
        return float(value) if int(float(value)) == value or isinstance(value, float) else None
    return int(value) if float(value).is_integer() and abs(value) <= LARGEST_COUNT else None


def _moment(text: object) -> Any:
    """Return None also for a moment between two microseconds: it would be cut off silently."""
    if isinstance(text, str) and _BELOW_MICROSECONDS.search(text):
        return None
    try:
        return Timestamp.parse(text).moment if isinstance(text, str) else None
    except ValidationError:
        return None
