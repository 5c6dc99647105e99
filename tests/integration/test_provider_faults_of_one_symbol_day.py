"""A provider that cannot answer for one symbol-day, in any request that has it: the others are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback, Record
from tests.support.builders import day
from tests.support.examples import some
from tests.support.pipeline_ring import contents
from tests.support.provider_faults import (
    WEEK,
    all_days,
    hasty_pipeline,
    ingested,
    market,
    names,
    slow_answer,
    whenever_asked_for,
    wrongly_stored,
)

SYMBOLS, DATES = ("AAPL", "MSFT", "NVDA"), WEEK[1:4]
BARS = market(SYMBOLS, DATES, 10)
BAD = day("MSFT", DATES[1])
GOOD = [found for found in all_days(SYMBOLS, DATES) if found != BAD]
SCOPE: dict[str, Any] = {"symbols": SYMBOLS, "first": DATES[0], "last": DATES[-1]}
NUMBER = count(1)


def saying(value: object) -> Response:
    return Response(body=value if isinstance(value, bytes) else json.dumps(value).encode())


def of_msft(value: Any) -> Response:
    """Return a page of the bars of one symbol in another form."""
    return saying({"bars": {"MSFT": value}, "next_page_token": None})


def a_bar(**changes: object) -> Record:
    return {**BARS["MSFT"][0], **changes}


def twice(page: str) -> Response:
    """Every bar of it is good."""
    return saying(page.replace("BAR", json.dumps(BARS["MSFT"][10])).encode())


ANSWERS: dict[str, tuple[Response, str]] = {
    "a dict of bars": (of_msft({"0": a_bar()}), "not a page of bars"),
    "a number": (of_msft(5), "not a page of bars"),
    "a word": (of_msft("none"), "not a page of bars"),
    "bars are a word": (saying({"bars": "none"}), "not a page of bars"),
    "a list without a name": (saying({"bars": [a_bar()]}), "without their symbol"),
    "token is a number": (saying({"bars": {}, "next_page_token": 7}), "not a page of bars"),
    "deep nesting": (saying(b'{"bars":' + b'{"MSFT":' * 50_000), "not JSON"),
    "not UTF-8": (saying(b'{"bars":{"MSFT":[{"t":"\xff\xfe"}]},"next_page_token":null}'), "not JSON"),
    "symbol twice": (twice('{"bars":{"MSFT":[BAR],"MSFT":[BAR]}}'), "the key 'MSFT' twice"),
    "bars twice": (
        twice('{"bars":{"MSFT":[BAR]},"bars":{"NVDA":[BAR]},"next_page_token":null}'),
        "key 'bars' twice",
    ),
    "bars and nothing": (twice('{"bars":{"MSFT":[BAR]},"bars":null}'), "key 'bars' twice"),
    "token twice": (
        twice('{"next_page_token":"x","bars":{"MSFT":[BAR]},"next_page_token":null}'),
        "the key 'next_page_token' twice",
    ),
    "a message": (saying({"message": "try later"}), "a message instead of bars"),
    "half a page": (saying(b'{"bars":{"MSFT":[{"t":'), "not JSON"),
    "HTML": (saying(b"<html>"), "not JSON"),
    "500": (Response(500, b'{"message":"oops"}'), "alpaca answered 500: oops"),
    "504": (Response(504, b""), "alpaca answered 504: Gateway Timeout"),
    "hung up": (Response(dropped=True), "the connection broke"),
    "cut": (Response(body=b'{"bars":{}}', cut_after=5), "the connection broke"),
    "not gzip": (Response(body=b"x", headers={"Content-Encoding": "gzip"}), "in the middle of its gzip stream"),
}


def assert_only_the_bad_day_failed(root: Path, report: IngestionReport, complaint: str) -> None:
    assert {str(found): complaint in error for found, error in report.failures.items()} == {str(BAD): True}
    assert report.count(Outcome.COMPLETE) == len(GOOD)
    assert wrongly_stored(root, BARS, GOOD) == []
    assert [name for name in contents(root) if "MSFT" in name and "day=06" in name] == []


def assert_asked_again_alone(root: Path, loopback: AlpacaLoopback) -> None:
    loopback.fault = None
    again = ingested(root, loopback, **SCOPE)
    assert (again.planned, again.requests, again.ok) == (1, 1, True)
    assert wrongly_stored(root, BARS, [BAD]) == []


@pytest.mark.parametrize(("answer", "complaint"), some(ANSWERS.values()), ids=some(ANSWERS))
def test_a_day_without_a_usable_response_fails_alone(tmp_path: Path, answer: Response, complaint: str) -> None:
    fault = whenever_asked_for("MSFT", DATES[1], lambda _: answer)
    with AlpacaLoopback(BARS, fault=fault) as loopback:
        report = ingested(tmp_path, loopback, **SCOPE)
        assert_only_the_bad_day_failed(tmp_path, report, complaint)
        assert report.requests < 40
        assert_asked_again_alone(tmp_path, loopback)


def test_a_day_without_any_response_fails_alone(tmp_path: Path) -> None:
    fault = whenever_asked_for("MSFT", DATES[1], slow_answer)
    with AlpacaLoopback(BARS, fault=fault) as loopback, hasty_pipeline(tmp_path, loopback.url, **SCOPE) as made:
        report = made.ingest()
    assert_only_the_bad_day_failed(tmp_path, report, "no answer in time")


def test_pages_before_one_that_fails_are_not_requested_again(tmp_path: Path) -> None:
    def fault(_: int, query: Mapping[str, str]) -> Response | None:
        later = query["symbols"] == "MSFT" or int(query.get("page_token", "0")) >= 40
        return Response(500) if later and names(query, "MSFT", DATES[1]) else None

    with AlpacaLoopback(BARS, page_size=20, fault=fault) as loopback:
        report = ingested(tmp_path, loopback, **SCOPE)

    assert_only_the_bad_day_failed(tmp_path, report, "alpaca answered 500")
    begun = [query["symbols"] for query in loopback.requests if "page_token" not in query]
    assert [symbols for symbols in begun if "AAPL" in symbols] == ["AAPL,MSFT,NVDA"]


TOKENS = {
    "repeats for ever": (lambda _: "again", "to itself"),
    "repeats": (lambda query: {"b": "c", "c": "b"}.get(query.get("page_token", ""), "b"), "came twice"),
    "never ends": (lambda _: f"t{next(NUMBER)}", "25 pages in a row without a new bar"),
}
PAGES = {
    "nothing": {},
    "one bar": {"MSFT": BARS["MSFT"][10:11]},
    "the same bars": {"MSFT": BARS["MSFT"][10:20]},
    "strangers": {"TSLA": BARS["MSFT"][10:20]},
}
ENDLESS = [(token, "one bar") for token in TOKENS] + [("never ends", page) for page in PAGES if page != "one bar"]


@pytest.mark.parametrize(("tokens", "page"), some(ENDLESS))
def test_a_day_whose_pages_never_end_fails_alone(tmp_path: Path, tokens: str, page: str) -> None:
    token, complaint = TOKENS[tokens]
    complaint = "bars of 'TSLA', which was not requested, in place" if page == "strangers" else complaint

    def endless(query: Mapping[str, str]) -> Response:
        return saying({"bars": PAGES[page], "next_page_token": token(query)})

    with AlpacaLoopback(BARS, fault=whenever_asked_for("MSFT", DATES[1], endless)) as loopback:
        report = ingested(tmp_path, loopback, **SCOPE)
        assert len(loopback.requests) < 200
        assert_only_the_bad_day_failed(tmp_path, report, complaint)
        assert_asked_again_alone(tmp_path, loopback)
