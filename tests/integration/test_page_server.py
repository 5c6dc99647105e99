"""The page server of the benchmarks, asked by the real client: what is measured with it has to be what Alpaca sends."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pyarrow as pa
import pytest
from benchmarks.page_server import PageServer
from benchmarks.synthetic_pages import SyntheticPages, minutes_of

from marketpipe.testing import bars_request, sessions
from tests.support.clients import AlpacaSetting, exchange

FIRST, LAST, HALF_DAY = "2024-07-01", "2024-07-05", "2024-07-03"
BARS_A_DAY = 390
OF_THE_DAYS = {"2024-07-01": 390, "2024-07-02": 390, HALF_DAY: 390, "2024-07-05": 390}


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer(FIRST, LAST, BARS_A_DAY) as running:
        yield running


def _asked(server: PageServer, query: str, **headers: str) -> Any:
    asked = urllib.request.Request(f"{server.url}/v2/stocks/bars?{query}", headers=headers)
    with urllib.request.urlopen(asked) as answer:
        body = answer.read()
        return json.loads(gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body)


def test_a_client_gets_every_bar_of_every_symbol_once_in_whole_pages(server: PageServer) -> None:
    symbols, before = [f"S{number:02}" for number in range(15)], server.counts()
    client = AlpacaSetting(exchange(server.url)).client
    pages = list(client.fetch_batch(bars_request(symbols, FIRST, LAST)))
    client.close()
    after = server.counts()

    bars = len(symbols) * sum(OF_THE_DAYS.values())
    assert [page.num_rows for page in pages] == [10_000, 10_000, bars - 20_000]
    seen = [(str(run.symbol), run.length) for page in pages for run in page.runs]
    found = {symbol: sum(n for _, n in runs) for symbol, runs in groupby(seen, key=lambda run: run[0])}
    assert found == dict.fromkeys(symbols, sum(OF_THE_DAYS.values()))
    assert (after["requests"] - before["requests"], after["bars"] - before["bars"]) == (3, bars)
    table = pa.concat_tables([pa.table(page.columns) for page in pages])
    first = table.slice(0, sum(OF_THE_DAYS.values()))["timestamp"].to_pylist()
    assert first == sorted(set(first))


def test_start_end_and_limit_are_obeyed(server: PageServer) -> None:
    window = "symbols=A,B&start=2024-07-02T13:30:00Z&end=2024-07-02T13:32:00Z"
    first = _asked(server, f"{window}&limit=4")
    second = _asked(server, f"{window}&limit=4&page_token={first['next_page_token']}")

    times = [f"2024-07-02T13:{minute}:00Z" for minute in (30, 31, 32)]
    assert {symbol: [bar["t"] for bar in bars] for symbol, bars in first["bars"].items()} == {
        "A": times,
        "B": times[:1],
    }
    assert ([bar["t"] for bar in second["bars"]["B"]], second["next_page_token"]) == (times[1:], None)
    nothing = "symbols=A&start=2024-07-04T13:30:00Z&end=2024-07-04T20:00:00Z"
    assert _asked(server, nothing) == {"bars": {}, "next_page_token": None}


def test_a_gzip_response_has_the_same_content(server: PageServer) -> None:
    query = "symbols=A,B,C&start=2024-07-01T00:00:00Z&end=2024-07-05T23:00:00Z&limit=1000"
    assert _asked(server, query, **{"Accept-Encoding": "gzip"}) == _asked(server, query)


def test_a_bad_query_is_refused(server: PageServer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400") as refusal:
        _asked(server, "symbols=A&start=yesterday")
    refusal.value.close()


@pytest.mark.parametrize("count", [1, 20, 210, 390, 900, 960])
def test_minutes_are_spread_over_the_day_and_around_the_regular_session(count: int) -> None:
    for session in sessions(FIRST, LAST):
        minutes = minutes_of(session, count)
        start, end = (edge.epoch_micros // 1_000_000 for edge in (session.extended.start, session.extended.end))
        assert len(set(minutes)) == min(count, (end - start) // 60)
        assert all(start <= minute < end and minute % 60 == 0 for minute in minutes)


def test_made_up_bars_are_valid() -> None:
    page = SyntheticPages(sessions(FIRST, LAST), [BARS_A_DAY]).page(("A", "B"), 0, 1 << 40, 10_000, 0)
    assert gzip.decompress(page.gzipped) == page.raw
    for bars in json.loads(page.raw)["bars"].values():
        for bar in bars:
            assert bar["l"] <= min(bar["o"], bar["c"], bar["vw"])
            assert max(bar["o"], bar["c"], bar["vw"]) <= bar["h"]
