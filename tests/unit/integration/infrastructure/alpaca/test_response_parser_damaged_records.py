"""One bad record in a page: that bar becomes nulls and its own text, and every neighbour stays as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.alpaca.response_parser import ResponseParser
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.testing import page_rows
from tests.support.alpaca_loopback import record

BEFORE = record("2024-03-11T13:30:00Z", 139.882513, vw=512.992729, v=1234.567891)
AFTER = record("2024-03-11T13:32:00Z", 0.1 + 0.2, n=None, vw=None, v=2**53)
GOOD = '{"t":"2024-03-11T13:31:00Z","o":37,"h":38,"l":36,"c":37.5,"v":10,"n":3,"vw":37.25}'
COLUMNS = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "n": "trade_count", "vw": "vwap"}


def parse(*written: str) -> RawMarketData:
    """A page of AAPL's bars, each given as JSON text."""
    body = '{"bars":{"AAPL":[' + ",".join(written) + ']},"next_page_token":"b"}'
    return ResponseParser((Symbol("AAPL"), Symbol("MSFT"))).parse(body.encode())


def among_neighbours(written: str) -> dict[str, object]:
    """Return the parsed record, after checking that its neighbours are unharmed."""
    page = parse(json.dumps(BEFORE), written, json.dumps(AFTER))
    before, bad, after = page_rows(page)
    good = page_rows(parse(json.dumps(BEFORE), json.dumps(AFTER)))
    assert [before, after] == [{**row, "raw": None} for row in good]
    assert (page.next_cursor, page.runs) == ("b", (SymbolRun(Symbol("AAPL"), 3),))
    return bad


def changed(key: str, value: str) -> str:
    """Return the good record with one value replaced by other JSON text."""
    fields = {**json.loads(GOOD), key: "\0"}
    return json.dumps(fields).replace('"\\u0000"', value)


UNREADABLE = ["null", '"37.0"', '""', "true", "false", "[37]", "{}", "NaN", "Infinity", "-Infinity", "1e400", "-1e400"]


@pytest.mark.parametrize("key", ["o", "h", "l", "c", "v"])
@pytest.mark.parametrize("value", [*UNREADABLE, "9" * 400, "9" * 5000])
def test_a_number_that_cannot_be_read_becomes_null_and_its_record_is_kept(key: str, value: str) -> None:
    written = changed(key, value)
    bad = among_neighbours(written)
    assert bad[COLUMNS[key]] is None
    assert _loose(str(bad["raw"])) == _loose(written)
    others = {column: bad[column] for name, column in COLUMNS.items() if name != key}
    (good,) = page_rows(parse(GOOD))
    assert others == {column: good[column] for name, column in COLUMNS.items() if name != key}
    assert bad["timestamp"] == datetime(2024, 3, 11, 13, 31, tzinfo=UTC)


def _loose(text: str) -> object:
    """Numbers as the provider wrote them: one that does not fit into a double is kept as text."""
    parsed = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    return {key: "null" if value is None else str(value) for key, value in parsed.items()}


@pytest.mark.parametrize("key", ["n", "vw"])
@pytest.mark.parametrize("value", UNREADABLE[1:])
def test_trade_count_and_vwap_may_be_null_but_not_nonsense(key: str, value: str) -> None:
    bad = among_neighbours(changed(key, value))
    assert bad[COLUMNS[key]] is None
    assert bad["raw"] is not None


@pytest.mark.parametrize("value", ["3.5", str(2**63), "9" * 30, "1e30", "9" * 5000])
def test_a_trade_count_is_whole_and_fits(value: str) -> None:
    bad = among_neighbours(changed("n", value))
    assert bad["trade_count"] is None
    assert bad["raw"] is not None


@pytest.mark.parametrize("value", [str(2**53 - 1), str(2**53), str(2**63), "9007199254740994.0", "1e16"])
def test_a_huge_volume_that_a_double_holds_is_still_a_number(value: str) -> None:
    (row,) = page_rows(parse(changed("v", value)))
    assert row["volume"] == float(value)
    assert row.get("raw") is None


@pytest.mark.parametrize("key", ["v", "h"])
@pytest.mark.parametrize(
    "value", [str(2**53 + 1), "9007199254740993.0", "9" * 30, "1e30", "1" + "0" * 299, "1e-400", "-2E-500", "1e400"]
)
def test_a_number_that_a_double_would_change_is_kept_as_its_text(key: str, value: str) -> None:
    bad = among_neighbours(changed(key, value))
    assert bad[COLUMNS[key]] is None
    assert value.lower().lstrip("-") in bad["raw"].lower()


@pytest.mark.parametrize(
    "text", ["2024-03-11T13:30:00.000000001Z", "2024-03-11T13:30:00.1234567Z", "2024-03-11T13:30:00.00000010Z"]
)
def test_a_moment_between_two_microseconds_is_kept_as_its_text(text: str) -> None:
    bad = among_neighbours(changed("t", json.dumps(text)))
    assert bad["timestamp"] is None
    assert text in bad["raw"]


@pytest.mark.parametrize("written", ["null", "5", '"bar"', "[]", "true", "{}", '{"T":"AAPL"}'])
def test_a_record_that_is_no_bar_at_all_is_all_null(written: str) -> None:
    bad = among_neighbours(written)
    assert bad.pop("raw") == json.dumps(json.loads(written))
    assert set(bad.values()) == {None}


@pytest.mark.parametrize("key", ["t", "o", "h", "l", "c", "v"])
def test_a_record_with_a_field_missing_is_kept_as_it_was(key: str) -> None:
    fields = {name: value for name, value in json.loads(GOOD).items() if name != key}
    bad = among_neighbours(json.dumps(fields))
    assert bad[COLUMNS.get(key, "timestamp")] is None
    assert json.loads(str(bad["raw"])) == fields


@pytest.mark.parametrize(
    "text",
    [
        '"yesterday"',
        '""',
        '"2024-03-11"',
        '"2024-03-11T13:31:00"',
        '"2024-13-11T13:31:00Z"',
        '"2024-03-11T25:31:00Z"',
        '"2024-03-11T13:31:60Z"',
        '" 2024-03-11T13:31:00Z"',
        '"\\ud800"',
        '"\\u0000"',
        "1710163860",
        "1710163860000",
        "null",
        "true",
    ],
)
def test_a_time_that_cannot_be_read_becomes_null_and_its_record_is_kept(text: str) -> None:
    bad = among_neighbours(changed("t", text))
    assert bad["timestamp"] is None
    assert (bad["open"], bad["trade_count"]) == (37.0, 3)
    assert json.loads(str(bad["raw"]))["t"] == json.loads(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_outside_the_calendar_beside_another_damaged_record_is_null(text: str) -> None:
    page = parse(changed("t", f'"{text}"'), "null", GOOD)
    assert [row["timestamp"] is None for row in page_rows(page)] == [True, True, False]


def test_damaged_records_of_unrequested_symbols_are_only_counted() -> None:
    body = '{"bars":{"AAPL":[' + GOOD + '],"TSLA":[5,null,"x"]}}'
    page = ResponseParser((Symbol("AAPL"),)).parse(body.encode())
    assert (page.num_rows, page.unrequested) == (1, 3)
    assert page_rows(page)[0]["raw"] is None


def test_a_page_read_record_by_record_puts_symbols_in_order_too() -> None:
    body = '{"bars":{"MSFT":[null],"AAPL":[' + GOOD + "]}}"
    page = ResponseParser((Symbol("AAPL"), Symbol("MSFT"))).parse(body.encode())
    assert page.runs == (SymbolRun(Symbol("AAPL"), 1), SymbolRun(Symbol("MSFT"), 1))
    assert [row["raw"] for row in page_rows(page)] == [None, "null"]


def test_raw_is_a_column_of_text_beside_the_canonical_ones() -> None:
    schema = pa.table(parse("null").columns).schema
    assert schema.field("raw").type == pa.string()
    assert schema.names[-1] == "raw"
