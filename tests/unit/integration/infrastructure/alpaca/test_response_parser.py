from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.alpaca.response_parser import ResponseParser
from marketpipe.shared_kernel.domain.errors import MalformedResponseError, WrongAnswerError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import bars_in, page_rows
from tests.support.alpaca_loopback import record

AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
HALF_PAST = "2024-03-11T13:30:00Z"
BAR = json.dumps(record(HALF_PAST)).encode()


def parse(body: object) -> RawMarketData:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ResponseParser((AAPL, MSFT)).parse(raw)


def test_a_bar_becomes_a_canonical_row() -> None:
    bar = {"t": HALF_PAST, "o": 172.94, "h": 173.05, "l": 172.7, "c": 173.0, "v": 1234567, "n": 9876, "vw": 172.912345}
    page = parse({"bars": {"AAPL": [bar]}, "next_page_token": None})
    assert pa.table(page.columns).schema.equals(BAR_SCHEMA)
    assert page_rows(page) == [
        {
            "timestamp": datetime(2024, 3, 11, 13, 30, tzinfo=UTC),
            "open": 172.94,
            "high": 173.05,
            "low": 172.7,
            "close": 173.0,
            "volume": 1234567.0,
            "trade_count": 9876,
            "vwap": 172.912345,
        }
    ]
    assert (page.runs, page.next_cursor, page.refused, page.unrequested) == ((SymbolRun(AAPL, 1),), None, (), 0)


@pytest.mark.parametrize(
    ("key", "column", "given", "value"),
    [
        ("o", "open", 37, 37.0),
        ("o", "open", 139.882513, 139.882513),
        ("vw", "vwap", 512.992729, 512.992729),
        ("vw", "vwap", 0, 0.0),
        ("vw", "vwap", None, None),
        ("v", "volume", 1234.567891, 1234.567891),
        ("v", "volume", 0, 0.0),
        ("v", "volume", 2**53, float(2**53)),
        ("n", "trade_count", 0, 0),
        ("n", "trade_count", None, None),
        ("n", "trade_count", 2**63 - 1, 2**63 - 1),
        ("n", "trade_count", 12.0, 12),
        ("c", "close", 1e-7, 1e-7),
        ("h", "high", -1.5, -1.5),
    ],
)
def test_numbers_come_through_bit_for_bit(key: str, column: str, given: object, value: object) -> None:
    """Also those that no valid bar has: validation judges them."""
    (row,) = page_rows(parse({"bars": {"AAPL": [record(HALF_PAST, **{key: given})]}}))
    assert row[column] == value
    assert row.get("raw") is None


def test_older_bars_without_trade_count_and_vwap_have_nulls_there() -> None:
    (row,) = page_rows(parse({"bars": {"AAPL": [{"t": HALF_PAST, "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}]}}))
    assert (row["trade_count"], row["vwap"]) == (None, None)


def test_unknown_fields_are_ignored() -> None:
    page = parse({"bars": {"AAPL": [record(HALF_PAST, x=["new"])]}, "currency": "USD", "next_page_token": None})
    assert page.num_rows == 1


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-03-11T13:30:00Z", "2024-03-11T13:30:00+00:00"),
        ("2024-03-11T13:30:00.000000000Z", "2024-03-11T13:30:00+00:00"),
        ("2024-03-11T13:30:00.123456Z", "2024-03-11T13:30:00.123456+00:00"),
        ("2024-03-11T13:30:00.123456000Z", "2024-03-11T13:30:00.123456+00:00"),
        ("2024-03-11T09:30:00-04:00", "2024-03-11T13:30:00+00:00"),
        ("2024-03-11T04:00:00Z", "2024-03-11T04:00:00+00:00"),
    ],
)
def test_timestamps_are_utc_to_the_microsecond(text: str, moment: str) -> None:
    (row,) = page_rows(parse({"bars": {"AAPL": [record(text)]}}))
    assert row["timestamp"] == datetime.fromisoformat(moment)
    assert row.get("raw") is None


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"null",
        b"[]",
        b" null\n",
        b'{"bars":{}}',
        b'{"bars":null}',
        b'{"bars":[]}',
        b'{"bars":{"AAPL":null}}',
        b'{"bars":{"AAPL":[]}}',
        b'{"bars":{"AAPL":[],"MSFT":null},"next_page_token":null}',
        b'{"next_page_token":null}',
        b'{"next_page_token":""}',
        b'{"bars":{},"message":null}',
    ],
)
def test_every_form_of_no_bars_is_an_empty_last_page(body: bytes) -> None:
    page = parse(body)
    assert (page.num_rows, page.runs, page.next_cursor, page.unrequested) == (0, (), None, 0)
    assert pa.table(page.columns).equals(BAR_SCHEMA.empty_table())


@pytest.mark.parametrize("bars", ["{}", "null", "[]", '{"AAPL":null}'])
def test_an_empty_page_may_have_a_page_after_it(bars: str) -> None:
    assert parse(f'{{"bars":{bars},"next_page_token":"QUFQTA=="}}'.encode()).next_cursor == "QUFQTA=="


def test_unrequested_symbols_are_dropped_and_counted() -> None:
    found = {"AAPL": [record(HALF_PAST)], "TSLA": [record(HALF_PAST)] * 3, "aapl": [record(HALF_PAST)], "GONE": None}
    page = parse({"bars": found})
    assert ([symbol for symbol, _ in bars_in([page])], page.unrequested) == (["AAPL"], 4)


def test_symbols_are_sorted_and_their_bars_are_not() -> None:
    """Pages are cut in the order of symbols; the order of the keys of a JSON object has no meaning."""
    late, early = record("2024-03-11T13:31:00Z"), record(HALF_PAST)
    page = parse({"bars": {"MSFT": [late, early], "AAPL": [early, late]}})
    assert page.runs == (SymbolRun(AAPL, 2), SymbolRun(MSFT, 2))
    assert [(symbol, row["timestamp"].minute) for symbol, row in bars_in([page])] == [
        ("AAPL", 30),
        ("AAPL", 31),
        ("MSFT", 31),
        ("MSFT", 30),
    ]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "the body is not JSON: it starts with ''"),
        (b"<html><body>Bad Gateway</body></html>", "not JSON: it starts with '<html><body>Bad Gateway"),
        (b'{"bars":{"AAPL":[{"t":"2024-03-11T13:3', "not JSON"),
        (b"\xff\xfe\x00garbage", "not JSON"),
        (b'{"bars":5}', "not a page of bars: its keys are \\['bars'\\]"),
        (b'{"bars":"none"}', "not a page of bars"),
        (b'{"bars":{"AAPL":5}}', "not a page of bars"),
        (b'{"bars":{"AAPL":{"t":1}}}', "not a page of bars"),
        (b'"done"', "not a page of bars"),
        (b"5", "not a page of bars"),
        (b"true", "not a page of bars"),
        (b'{"bars":{},"next_page_token":5}', "not a page of bars"),
        (b'{"bars":{},"next_page_token":["b"]}', "not a page of bars"),
        (b'{"x":' + b"[" * 99_000, "not JSON"),
        (b'{"x":' + b"[" * 99_000 + b"]" * 99_000 + b"}", "not JSON"),
        (b'{"bars":{"AAPL":[' + b"{}," * 100_000 + b"{}]}}", "more than 100,000 parts"),
        (b'{"bars":[{"t":"2024-03-11T13:30:00Z","o":1,"h":1,"l":1,"c":1,"v":1}]}', "without their symbol"),
        (b'[{"t":"2024-03-11T13:30:00Z","o":1,"h":1,"l":1,"c":1,"v":1}]', "without their symbol"),
        (b"[1]", "without their symbol"),
        (b'{"message":"oops"}', "a message instead of bars: 'oops'"),
        (b'{"message":""}', "a message instead of bars: ''"),
        (b'{"code":500,"message":12}', "a message instead of bars: '12'"),
        (b'{"message":"oops","bars":{"AAPL":[]}}', "a message instead of bars"),
        (b'{"error":"internal","status":"error","code":500}', "no bars, but code, error, status"),
        (b'{"code":50010000}', "no bars, but code"),
        (b'{"errors":["x"],"bars":null}', "no bars, but errors"),
        (b'{"bars":{"AAPL":[%b],"AAPL":[]}}' % BAR, "the body has the key 'AAPL' twice"),
        (b'{"bars":{"AAPL":[%b]},"bars":{"MSFT":[%b]}}' % (BAR, BAR), "the body has the key 'bars' twice"),
        (
            b'{"next_page_token":"a","bars":{"AAPL":[%b]},"next_page_token":null}' % BAR,
            "has the key 'next_page_token' twice",
        ),
        (b'{"next_page_token":"a","bars":{"AAPL":[%b]},"next_page_toke\\u006e":null}' % BAR, "'next_page_token' twice"),
    ],
)
def test_a_body_that_is_no_page_is_malformed(body: bytes, complaint: str) -> None:
    with pytest.raises(MalformedResponseError, match=complaint):
        parse(body)


def test_a_message_beside_bars_does_no_harm() -> None:
    assert parse({"message": "deprecated", "bars": {"AAPL": [record(HALF_PAST)]}}).num_rows == 1


@pytest.mark.parametrize("name", ["aapl", "AAPL ", "Aapl", "A.APL", "AAPL/"])
def test_bars_under_another_spelling_are_refused(name: str) -> None:
    for others in ({}, {"AAPL": [record(HALF_PAST)]}):
        body = {"bars": {**others, name: [record("2024-03-11T13:31:00Z")]}}
        with pytest.raises(WrongAnswerError, match=r"which was not requested, in place of bars of AAPL"):
            parse(body)


def test_the_same_bars_under_another_spelling_too_are_left_out() -> None:
    page = parse({"bars": {"AAPL": [record(HALF_PAST)], "aapl": [record(HALF_PAST)]}})
    assert (page.num_rows, page.unrequested) == (1, 1)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("currency", "EUR", "in 'EUR', not in USD"),
        ("currency", "usd", "in 'usd'"),
        ("currency", 5, "in '5'"),
        ("timeframe", "1Day", "of '1Day', not 1m"),
        ("timeframe", "5Min", "of '5Min', not 1m"),
    ],
)
def test_another_currency_or_timeframe_is_refused(key: str, value: object, reason: str) -> None:
    for bars in ({}, {"AAPL": [record(HALF_PAST)]}):
        with pytest.raises(WrongAnswerError, match=reason):
            parse({"bars": bars, key: value})


def test_the_requested_currency_and_timeframe_may_be_named() -> None:
    assert parse({"bars": {"AAPL": [record(HALF_PAST)]}, "currency": "USD", "timeframe": "1Min"}).num_rows == 1
