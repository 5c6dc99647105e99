"""Damaged bars in the middle of a page of many symbols and days: they alone are kept out of the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest
from attrs import frozen

from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback, Record
from tests.support.builders import day
from tests.support.pipeline_ring import quarantined_rows, stored_rows
from tests.support.provider_faults import WEEK, alpaca_pipeline, ingested, market, truth

UNREADABLE = ("null", '"37.0"', "true", "[37]", "{}", "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400)
TIMES = ("null", '"yesterday"', '""', "1709735460", "true", '"2024-03-05T14:32:30Z"', '"2024-03-05T99:00:00Z"')
MISSING = "missing"
NOT_A_BAR = ("null", "5", '"bar"', "[]", "{}")
BAD = [
    *product(("o", "h", "l", "c", "v"), (*UNREADABLE, "-1", MISSING)),
    *product(("n", "vw"), (*UNREADABLE[1:], "-1")),
    *product("t", (*TIMES, MISSING)),
    *((None, text) for text in NOT_A_BAR),
    ("n", "3.5"),
    ("n", "1e30"),
    ("o", "0"),
    ("o", "1e300"),
]
WHATEVER = [("n", "null"), ("n", MISSING), ("vw", "null"), ("vw", MISSING)]
"""Fields that Alpaca may omit."""
CASES = [*BAD, *WHATEVER]
SYMBOLS = [f"S{number}" for number in range(100, 100 + len(CASES))]
FIRST, SECOND = DATES = WEEK[:2]
THE_BAD_ONE = 2
BARS = market(SYMBOLS, DATES, 5)


def written(record: Record, key: str | None, value: str) -> str:
    """Return a record as JSON text, with one value, or all of it, replaced."""
    if key is None:
        return value
    if value == MISSING:
        return json.dumps({name: given for name, given in record.items() if name != key})
    return json.dumps({**record, key: "\0"}).replace('"\\u0000"', value)


def page_of_everything() -> bytes:
    """Every symbol has another kind of damaged bar in the middle of its second day."""
    groups = []
    for symbol, (key, value) in zip(SYMBOLS, CASES, strict=True):
        texts = [json.dumps(record) for record in BARS[symbol]]
        texts[5 + THE_BAD_ONE] = written(BARS[symbol][5 + THE_BAD_ONE], key, value)
        groups.append(f'"{symbol}":[{",".join(texts)}]')
    return f'{{"bars":{{{",".join(groups)}}},"next_page_token":null}}'.encode()


@frozen
class Ingested:
    root: Path
    report: IngestionReport
    requests: int


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    root, page = tmp_path_factory.mktemp("bad_bars"), page_of_everything()
    with (
        AlpacaLoopback({}, fault=lambda *_: Response(body=page)) as loopback,
        alpaca_pipeline(root, loopback.url, symbols=SYMBOLS, first=FIRST, last=SECOND) as made,
    ):
        return Ingested(root, made.ingest(), len(loopback.requests))


def test_no_bad_bar_fails_a_day_and_one_request_is_enough(done: Ingested) -> None:
    assert (done.report.failures, done.requests) == ({}, 1)
    assert done.report.count(Outcome.COMPLETE) == 2 * len(CASES)
    assert done.report.rejected == len(BAD)


def test_a_bad_bar_goes_to_quarantine_and_its_neighbours_stay(done: Ingested) -> None:
    for symbol, case in list(zip(SYMBOLS, CASES, strict=True))[: len(BAD)]:
        good = truth(BARS, symbol, SECOND)
        del good[THE_BAD_ONE]
        assert stored_rows(done.root, symbol, FIRST) == truth(BARS, symbol, FIRST), case
        assert stored_rows(done.root, symbol, SECOND) == good, case
        assert done.report.outcomes[day(symbol, SECOND)].rejected == 1, case
        assert [bool(bad["rule"] and bad["reason"]) for bad in quarantined_rows(done.root, symbol, SECOND)] == [True]
        assert quarantined_rows(done.root, symbol, FIRST) == [], case


def test_an_optional_field_that_is_missing_is_stored_as_null(done: Ingested) -> None:
    for symbol, (key, _) in list(zip(SYMBOLS, CASES, strict=True))[len(BAD) :]:
        expected = truth(BARS, symbol, SECOND)
        expected[THE_BAD_ONE]["trade_count" if key == "n" else "vwap"] = None
        assert stored_rows(done.root, symbol, SECOND) == expected


ASKED = {"symbols": ("AAPL", "MSFT"), "first": WEEK[1], "last": WEEK[2]}
TWO = market(("AAPL", "MSFT"), WEEK[:4], 6)
Group = tuple[str, Sequence[Record]]


def days(symbol: str) -> list[list[Record]]:
    """Bars of the day before, of the two requested days, and of the day after."""
    return [TWO[symbol][start : start + 6] for start in range(0, 24, 6)]


def in_pages(*pages: Sequence[Group]) -> AlpacaLoopback:
    def answer(_: int, query: Mapping[str, str]) -> Response:
        number = int(query.get("page_token", "0"))
        token = str(number + 1) if number + 1 < len(pages) else None
        return Response(body=json.dumps({"bars": dict(pages[number]), "next_page_token": token}).encode())

    return AlpacaLoopback({}, fault=answer)


def assert_all_true(root: Path, report: IngestionReport) -> None:
    assert report.ok
    assert report.count(Outcome.COMPLETE) == 4
    for symbol, date in product(("AAPL", "MSFT"), WEEK[1:3]):
        assert stored_rows(root, symbol, date) == truth(TWO, symbol, date)
    assert not any(stored_rows(root, symbol, date) for symbol, date in product(("AAPL", "MSFT"), (WEEK[0], WEEK[3])))


def test_bars_of_unrequested_symbols_and_days_are_dropped(tmp_path: Path) -> None:
    _, a, b, _ = days("AAPL")
    with in_pages(
        [("aapl", a), ("TSLA", [*a, *b]), ("AAPL", [*TWO["AAPL"][:6], *a, *b[:3]])],
        [("", []), ("AAPL", [*b[3:], *TWO["AAPL"][18:]]), ("MSFT", TWO["MSFT"]), ("ZZZ", [])],
    ) as loopback:
        assert_all_true(tmp_path, ingested(tmp_path, loopback, **ASKED))
    assert not any("TSLA" in str(path) or "aapl" in str(path) for path in (tmp_path / "data").rglob("*"))


def test_bars_out_of_order_within_and_across_pages_all_arrive(tmp_path: Path) -> None:
    (_, a, b, _), (_, c, d, _) = days("AAPL"), days("MSFT")
    with in_pages(
        [("MSFT", [*d[:4], *c[::-1][:3]]), ("AAPL", b[::-2])],
        [("AAPL", [*a[3:], *a[:2]])],
        [("MSFT", [d[5], c[0], d[4], c[1], c[2]]), ("AAPL", [a[2], *b[::2]])],
    ) as loopback:
        report = ingested(tmp_path, loopback, **ASKED)
    assert_all_true(tmp_path, report)
    assert report.rejected == 0


def test_bars_that_come_twice_are_stored_once(tmp_path: Path) -> None:
    """Within a page, across pages within a day, and after the day had been stored."""
    (_, a, b, _), (_, c, d, _) = days("AAPL"), days("MSFT")
    with in_pages(
        [("AAPL", [*a, a[5], *b[:3]])],
        [("AAPL", [*b[1:], *a]), ("MSFT", [*c, *d])],
        [("MSFT", [*c, *d])],
    ) as loopback:
        report = ingested(tmp_path, loopback, **ASKED)
    assert_all_true(tmp_path, report)


def test_of_bars_that_contradict_each_other_the_last_counts(tmp_path: Path) -> None:
    (_, a, b, _), (_, c, d, _) = days("AAPL"), days("MSFT")
    wrong = {**b[1], "c": b[1]["c"] + 0.25}
    with in_pages([("AAPL", [*a, b[0], wrong])], [("AAPL", b[1:]), ("MSFT", [*c, *d])]) as loopback:
        report = ingested(tmp_path, loopback, **ASKED)
    assert_all_true(tmp_path, report)
    (rejected,) = quarantined_rows(tmp_path, "AAPL", WEEK[2])
    assert (rejected["rule"], rejected["close"]) == ("unique_timestamp", wrong["c"])
