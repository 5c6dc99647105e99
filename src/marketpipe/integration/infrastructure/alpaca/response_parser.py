from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
from attrs import frozen

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.shared_kernel.domain.errors import MalformedResponseError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, TIMESTAMP

LARGEST_COUNT = 2**63 - 1
LONGEST_NUMBER = 300  # digits
FIELDS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "trade_count": "n", "vwap": "vw"}
OPTIONAL = ("n", "vw")
MOST_CONTAINERS = 100_000  # objects and lists of a page; ten times what was asked for
TOKEN = "next_page_token"
KEYS = {"bars", TOKEN, "symbol", "currency"}


@frozen
class LenientPage:
    """A page in which at least one record is badly written, read with the standard library: slow and rare."""

    bars: Mapping[str, Sequence[object] | None] | Sequence[object] | None
    next_page_token: str | None
    others: Mapping[str, object]
    """What else the page says, besides what a page of bars does."""

    @classmethod
    def read(cls, body: bytes) -> LenientPage:
        """Raises ``MalformedResponseError`` where the page itself, not a record in it, is badly written."""
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
        token, others = page.get(TOKEN), _others(page)
        if not _holds_records(page.get("bars")) or not isinstance(token, str | None):
            raise MalformedResponseError(f"the body is not a page of bars: its keys are {sorted(page)[:8]}")
        return cls(page.get("bars"), token or None, others)

    def check_nothing(self) -> None:
        """An error may come with status 200: words instead of bars are not the same as no bars.

        Raises ``MalformedResponseError``.
        """
        if "message" in self.others:
            raise MalformedResponseError(f"a message instead of bars: {str(self.others['message'])[:200]!r}")
        if self.others:
            raise MalformedResponseError(f"no bars, but {', '.join(sorted(self.others))[:200]}")

    @staticmethod
    def columns(records: Iterable[object]) -> pa.Table:
        rows = [_row(record) for record in records]
        schema = BAR_SCHEMA.append(pa.field("raw", pa.string()))
        return pa.table({name: [row[name] for row in rows] for name in schema.names}, schema=schema)


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Of a value that a record has twice the last counts. Of a symbol, or a token, no half may be lost in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key, value in pairs if keys.count(key) > 1 and _matters(key, value)})
        if twice:
            raise MalformedResponseError(f"the body says {twice[0][:40]!r} twice")
    return found


def _matters(key: str, value: object) -> bool:
    return isinstance(value, dict | list) or key == TOKEN


def _others(page: Mapping[str, object]) -> Mapping[str, object]:
    return {key: value for key, value in page.items() if key not in KEYS and value is not None}


def _holds_records(bars: object) -> bool:
    groups = bars.values() if isinstance(bars, dict) else [bars]
    return all(group is None or isinstance(group, list) for group in groups)


def _row(record: object) -> dict[str, Any]:
    given = record if isinstance(record, dict) else {}
    row: dict[str, Any] = {name: _number(given.get(key), whole=key == "n") for name, key in FIELDS.items()}
    row["timestamp"] = _moment(given.get("t"))
    unread = [
        key
        for name, key in {"timestamp": "t", **FIELDS}.items()
        if row[name] is None and not (key in OPTIONAL and given.get(key) is None)
    ]
    row["raw"] = json.dumps(record) if unread else None
    return row


def _whole(text: str) -> int | str:
    """A number too long for a double stays as it was written."""
    return int(text) if len(text) <= LONGEST_NUMBER else text


def _finite(text: str) -> float | str:
    return float(text) if math.isfinite(float(text)) else text


def _number(value: object, *, whole: bool) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not whole:
        return float(value)
    return int(value) if float(value).is_integer() and abs(value) <= LARGEST_COUNT else None


def _moment(text: object) -> Any:
    try:
        return Timestamp.parse(text).moment if isinstance(text, str) else None
    except ValidationError:
        return None


R = TypeVar("R")
Groups = list[tuple[Symbol, Sequence[R]]]


class _Bar(msgspec.Struct, gc=False):
    t: str
    o: float
    h: float
    l: float  # noqa: E741 - Alpaca's own name
    c: float
    v: float
    n: int | None = None
    vw: float | None = None


class _Page(msgspec.Struct, gc=False):
    """Every shape of nothing is accepted: ``bars`` may be {}, [], null or absent, and so may the page."""

    bars: dict[str, list[_Bar] | None] | list[_Bar] | None = None
    next_page_token: str | None = None


_DECODER = msgspec.json.Decoder(_Page | list[_Bar] | None)


class ResponseParser:
    """Where Alpaca's dialect ends: one page of JSON becomes canonical columns.

    Well-formed pages are decoded into structs that live no longer than the page, and each column is built at once. A
    page with a badly written record is read again record by record: what cannot be read becomes null, with the
    provider's own record in the column ``raw``, so that validation rejects that bar and keeps its neighbours.
    """

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._wanted = {str(symbol): symbol for symbol in symbols}

    def parse(self, body: bytes) -> RawMarketData:
        """Raises ``MalformedResponseError``."""
        try:
            page = _DECODER.decode(body)
            page = page if isinstance(page, _Page) else _Page(page)
            if _may_say_twice(body, page):
                return self._parse_leniently(body)
            groups, unrequested = self._wanted_groups(page.bars)
            if not (groups or unrequested):
                LenientPage.read(body).check_nothing()
            columns = _columns([bar for _, bars in groups for bar in bars])
        except (msgspec.DecodeError, pa.ArrowInvalid, OverflowError, UnicodeDecodeError, RecursionError):
            return self._parse_leniently(body)
        return RawMarketData(columns, _runs(groups), page.next_page_token or None, (), unrequested)

    def _parse_leniently(self, body: bytes) -> RawMarketData:
        page = LenientPage.read(body)
        groups, unrequested = self._wanted_groups(page.bars)
        if not (groups or unrequested):
            page.check_nothing()
        columns = LenientPage.columns(chain.from_iterable(records for _, records in groups))
        return RawMarketData(columns, _runs(groups), page.next_page_token, (), unrequested)

    def _wanted_groups(self, bars: Mapping[str, Sequence[R] | None] | Sequence[R] | None) -> tuple[Groups[R], int]:
        """Symbols ascending, whatever the order of the keys, as pages are cut; and how many bars nobody asked for."""
        named = bars if isinstance(bars, Mapping) else {"": bars}
        if named.get(""):
            raise MalformedResponseError("a list of bars that does not say whose they are")
        groups = [(self._wanted[name], found) for name, found in named.items() if found and name in self._wanted]
        return sorted(groups, key=itemgetter(0)), sum(
            len(found) for name, found in named.items() if found and name not in self._wanted
        )


def _may_say_twice(body: bytes, page: _Page) -> bool:
    """A decoder keeps the last of two equal keys and says nothing. Every list of a page of bars belongs to one key."""
    if b"\\" in body and b"\\u" in body:  # a key may be written in another way
        return True
    named = page.bars.values() if isinstance(page.bars, Mapping) else [page.bars]
    lists, token = sum(found is not None for found in named), TOKEN.encode()
    return _has_more(body, b"[", lists) or (_has_more(body, b"_", token.count(b"_")) and body.count(token) > 1)


def _has_more(body: bytes, letter: bytes, than: int) -> bool:
    """To look for a rare letter takes a tenth of the time of ``bytes.count``."""
    at = -1
    return all((at := body.find(letter, at + 1)) >= 0 for _ in range(than + 1))


def _runs(groups: Groups[R]) -> tuple[SymbolRun, ...]:
    return tuple(SymbolRun(symbol, len(bars)) for symbol, bars in groups)


def _columns(bars: list[_Bar]) -> pa.Table:
    return pa.table(
        [
            pa.array([bar.t for bar in bars], pa.string()).cast(TIMESTAMP),
            pa.array([bar.o for bar in bars], pa.float64()),
            pa.array([bar.h for bar in bars], pa.float64()),
            pa.array([bar.l for bar in bars], pa.float64()),
            pa.array([bar.c for bar in bars], pa.float64()),
            pa.array([bar.v for bar in bars], pa.float64()),
            pa.array([bar.n for bar in bars], pa.int64()),
            pa.array([bar.vw for bar in bars], pa.float64()),
        ],
        schema=BAR_SCHEMA,
    )
