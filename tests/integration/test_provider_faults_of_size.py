"""Responses that would fill the memory or never end, and redirects that would send the credentials elsewhere."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marketpipe.integration.infrastructure.http_exchange import LARGEST_BODY
from marketpipe.shared_kernel.domain.errors import MalformedResponseError
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.builders import day
from tests.support.clients import KEY, SECRET, exchange
from tests.support.endless_server import EndlessServer
from tests.support.examples import some
from tests.support.provider_faults import (
    WEEK,
    all_days,
    alpaca_pipeline,
    hasty_pipeline,
    ingested,
    market,
    whenever_asked_for,
    wrongly_stored,
)

SYMBOLS, DATES = ("AAPL", "MSFT"), WEEK[:2]
BARS, BAD = market(SYMBOLS, DATES, 10), day("MSFT", WEEK[1])
GOOD = [found for found in all_days(SYMBOLS, DATES) if found != BAD]
SCOPE: dict[str, Any] = {"symbols": SYMBOLS, "first": DATES[0], "last": DATES[-1]}
TWO_GIGABYTES = 2 * 1024**3
MEGABYTE = 1_000_000
GZIP = {"Content-Encoding": "gzip"}
RECORDS = b'{"bars":{"MSFT":[' + b"{}," * 1_500_000 + b"{}]}}"


@contextmanager
def memory_below(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_of_two_gigabytes_is_cut_off_long_before_its_end(packed: bool) -> None:
    with EndlessServer(TWO_GIGABYTES, packed=packed) as server, memory_below(4 * LARGEST_BODY):
        with pytest.raises(MalformedResponseError, match=r"(is larger|unpacks to more) than 16,777,216 bytes"):
            exchange(server.url).get("/v2/stocks/bars", {})
        assert server.sent < LARGEST_BODY + 16 * MEGABYTE


def test_a_body_without_an_end_fails_its_symbol_days_and_not_the_memory(tmp_path: Path) -> None:
    with (
        EndlessServer(TWO_GIGABYTES) as server,
        hasty_pipeline(tmp_path, server.url, largest_body=MEGABYTE, **SCOPE) as made,
        memory_below(40 * MEGABYTE),
    ):
        report = made.ingest()

    assert set(report.failures) == set(all_days(SYMBOLS, DATES))
    assert set(report.failures.values()) == {"the response is larger than 1,000,000 bytes"}


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "zeros": (lambda: gzip.compress(bytes(100 * MEGABYTE), 1), "unpacks to more than 16,777,216 bytes"),
    "many members": (lambda: gzip.compress(b"") * 100_000, "gzip stream of more than 64 members"),
    "many records": (lambda: gzip.compress(RECORDS, 1), "more than 100,000 parts"),
    "deep": (lambda: gzip.compress(b'{"bars":' + b"[" * 15 * MEGABYTE, 1), "more than 100,000 parts"),
    "a bomb in a bomb": (lambda: gzip.compress(gzip.compress(bytes(MEGABYTE))), "not JSON"),
}


@pytest.mark.parametrize(("bomb", "complaint"), some(BOMBS.values()), ids=some(BOMBS))
def test_a_gzip_bomb_fails_its_symbol_day_alone_and_not_the_memory(
    tmp_path: Path, bomb: Callable[[], bytes], complaint: str
) -> None:
    reply = Response(body=bomb(), headers=GZIP)
    fault = whenever_asked_for("MSFT", DATES[1], lambda _: reply)
    with AlpacaLoopback(BARS, fault=fault) as loopback, memory_below(120 * MEGABYTE):
        report = ingested(tmp_path, loopback, **SCOPE)

    assert {str(found): complaint in error for found, error in report.failures.items()} == {str(BAD): True}
    assert (report.count(Outcome.COMPLETE), wrongly_stored(tmp_path, BARS, GOOD)) == (len(GOOD), [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_clear_failure_and_takes_no_credentials_to_another_host(tmp_path: Path, status: int) -> None:
    with AlpacaLoopback(BARS) as elsewhere:

        def moved(_: int, __: Mapping[str, str]) -> Response:
            return Response(
                status, b"", {"Location": f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/v2/stocks/bars"}
            )

        with AlpacaLoopback(BARS, fault=moved) as home, alpaca_pipeline(tmp_path, home.url, **SCOPE) as made:
            report = made.ingest()

    assert (elsewhere.requests, len(home.requests)) == ([], 1)
    assert set(report.failures) == set(all_days(SYMBOLS, DATES))
    assert all("Redirects are not followed: correct base_url" in error for error in report.failures.values())
    assert not any(secret in error for error in report.failures.values() for secret in (KEY, SECRET))
