"""The rate limit that processes of several machines share, in a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socketserver
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from marketpipe.config import Credentials, PipelineConfig
from marketpipe.integration.infrastructure.rate_limits import postgres_rate_limit
from marketpipe.integration.infrastructure.rate_limits.postgres_rate_limit import PostgresRateLimit
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateWindow
from marketpipe.provider_registry import new_provider
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock
from marketpipe.testing import FakeClock, bars_request
from tests.contract.test_rate_limit_backends import *  # noqa: F403 - the whole contract, over another subject
from tests.contract.test_rate_limit_backends import Subject
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import PIPE, start
from tests.support.postgres_server import OWNER, PostgresServer

WINDOW = RateWindow(60, seconds=1.0)
PROCESSES, REQUESTS = 8, 25
"""All requests together take a few windows."""
LONGEST_TURN, OF_A_SLOW_MACHINE = 0.010, 5
"""Seconds; or so many times what a statement that does nothing takes, if all processors are busy with other things."""
PROCESS = """
import json, random, socket, sys, time
import psycopg
from marketpipe.integration.infrastructure.rate_limits.postgres_rate_limit import PostgresRateLimit
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateWindow
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock

url, port, limit, seconds, requests = json.loads(sys.argv[1])
clock, empty = SystemClock(), psycopg.connect(url, autocommit=True)
turns = PostgresRateLimit(url, "account", [RateWindow(limit, seconds)], clock)

def timed(what):
    begin = time.perf_counter()
    answer = what()
    return answer, time.perf_counter() - begin

turns.pause(0)
print(flush=True)
sys.stdin.readline()
taken, nothing = [], []
for _ in range(requests):
    while True:
        nothing.append(timed(lambda: empty.execute("SELECT 1").fetchone())[1])
        wait, seconds = timed(turns.reserve)
        taken.append(seconds)
        if wait == 0:
            break
        time.sleep(wait)
    time.sleep(random.uniform(0, 0.02))
    with socket.create_connection(("127.0.0.1", port)) as provider:
        provider.recv(1)
    turns.answered()
print(json.dumps([taken, nothing]))
"""


@pytest.fixture(scope="module")
def module_database(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="module")
def subject(module_database: str) -> Iterator[Subject]:
    """An account for each folder; the connections of all tests are closed in the end."""
    with contextlib.ExitStack() as opened:

        def connect(folder: Path, windows: object, clock: object) -> tuple[PostgresRateLimit, PostgresRateLimit]:
            made = [PostgresRateLimit(module_database, str(folder), windows, clock, by_given_clock=True) for _ in "12"]
            for each in made:
                opened.callback(each.close)
            return made[0], made[1]

        yield Subject("in PostgreSQL", connect)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Provider(socketserver.ThreadingTCPServer):
    """Answers each connection some milliseconds later, and logs when it has counted the request."""

    request_queue_size = 100

    def __init__(self, *of_a_server: Any) -> None:
        super().__init__(*of_a_server)
        self.log = list[float]()


class Counting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        before, after = (random.uniform(0, 0.02) for _ in "12")
        time.sleep(before)
        cast(Provider, self.server).log.append(time.monotonic())
        time.sleep(after)
        self.request.sendall(b".")


def test_no_window_of_the_provider_has_more_requests_of_eight_processes_than_the_limit(
    database_url: str, provider: Provider
) -> None:
    asked = [database_url, provider.server_address[1], WINDOW.limit, WINDOW.seconds, REQUESTS]
    command = [sys.executable, "-c", PROCESS, json.dumps(asked)]
    processes = [start(command, stdin=PIPE) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n", process.communicate()[1]
    with ThreadPoolExecutor(PROCESSES) as threads:
        answers = [*threads.map(lambda process: process.communicate("go\n"), processes)]

    moments = sorted(provider.log)
    crowds = [bisect_left(moments, moment + WINDOW.seconds) - number for number, moment in enumerate(moments)]
    assert len(moments) == PROCESSES * REQUESTS
    assert max(crowds) <= WINDOW.limit
    assert moments[-1] - moments[0] < 2 * PROCESSES * REQUESTS / WINDOW.limit * WINDOW.seconds  # and the limit is used
    turns, nothing = (sorted(chain(*each)) for each in zip(*(json.loads(out) for out, _ in answers), strict=True))
    assert _nearly_all(turns) < max(LONGEST_TURN, OF_A_SLOW_MACHINE * _nearly_all(nothing))


def _nearly_all(ascending: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return ascending[len(ascending) * 99 // 100]


def test_a_crash_of_the_database_costs_one_window_and_never_a_request_too_many(
    postgres_server: PostgresServer, database_url: str
) -> None:
    clock = FakeClock()
    turns = PostgresRateLimit(database_url, "account", [RateWindow(3)], clock, by_given_clock=True)
    assert [turns.reserve(), turns.reserve(), turns.reserve()] == [0, 0, 0]
    postgres_server.restart("immediate")
    assert turns.reserve() == pytest.approx(60)
    turns.answered()
    assert turns.reserve() == pytest.approx(60)
    clock.advance(60)
    assert [turns.reserve(), turns.reserve(), turns.reserve()] == [0, 0, 0]
    assert turns.reserve() > 0
    turns.close()


def test_an_orderly_restart_of_the_database_costs_nothing(postgres_server: PostgresServer, database_url: str) -> None:
    turns = PostgresRateLimit(database_url, "account", [RateWindow(3)], FakeClock(), by_given_clock=True)
    assert turns.reserve() == 0
    postgres_server.restart("fast")
    assert [turns.reserve(), turns.reserve()] == [0, 0]
    assert turns.reserve() > 0
    turns.close()


def test_the_end_of_an_outage_is_waited_for_and_a_long_one_is_an_error(
    postgres_server: PostgresServer, database_url: str
) -> None:
    clock = FakeClock()
    turns = PostgresRateLimit(database_url, "account", [RateWindow(3)], clock, by_given_clock=True)
    assert turns.reserve() == 0
    postgres_server.stop("fast")
    begin = clock.monotonic()
    with pytest.raises(StateError, match=r"share the rate limit in postgresql://marketpipe@.*refused.*see"):
        turns.reserve()
    assert postgres_rate_limit.LONGEST_OUTAGE <= clock.monotonic() - begin < postgres_rate_limit.LONGEST_OUTAGE + 1
    postgres_server.start()
    assert turns.reserve() == 0
    turns.close()


def test_a_clock_of_the_database_that_is_put_back_gives_no_request_too_many_and_waits_one_window(
    database_url: str,
) -> None:
    late, early = FakeClock(), FakeClock()
    late.advance(10_000)
    turns, others = (
        PostgresRateLimit(database_url, "account", [RateWindow(1)], clock, by_given_clock=True)
        for clock in (late, early)
    )
    assert turns.reserve() == 0
    assert others.reserve() == pytest.approx(60)
    early.advance(60)
    assert others.reserve() == 0
    turns.close()
    others.close()


def test_accounts_and_databases_know_nothing_of_each_other(database_url: str) -> None:
    clock = SystemClock()
    made = [PostgresRateLimit(database_url, account, [RateWindow(1)], clock) for account in ("one", "other")]
    assert [turns.reserve() for turns in made] == [0, 0]
    assert all(59 < turns.reserve() <= 60 for turns in made)
    for turns in made:
        turns.close()


def test_a_user_without_rights_is_told_so(postgres_server: PostgresServer) -> None:
    turns = PostgresRateLimit(
        postgres_server.url(user=OWNER), "account", [RateWindow(1)], FakeClock(), by_given_clock=True
    )
    with pytest.raises(StateError, match="permission denied for database postgres; see whether"):
        turns.reserve()
    turns.close()


def test_providers_of_configurations_with_the_same_database_share_the_limit_of_an_account(
    database_url: str, tmp_path: Path
) -> None:
    with AlpacaLoopback({"AAPL": [record("2024-03-04T15:00:00Z")]}) as alpaca:
        for number, key in enumerate(("AKONE", "AKONE", "AKOTHER")):
            settings = {"base_url": alpaca.url, "rate_limit_per_min": 100}
            values: dict[str, Any] = {"provider": "alpaca", "symbols": ["AAPL"], "alpaca": settings}
            values |= {"start": "2024-03-04", "end": "2024-03-04", "output_path": tmp_path / str(number) / "data"}
            config = PipelineConfig(**values, state_path=Path(database_url))
            provider = new_provider(config, Credentials(key, "secret"), SystemClock(), lambda _: None)
            [*provider.fetch_batch(bars_request(["AAPL"], "2024-03-04", "2024-03-04"))]
            provider.close()
    with psycopg.connect(database_url) as connection:
        used = connection.execute("SELECT account, requests FROM marketpipe.rate_limits").fetchall()
    assert sorted(requests for _, requests in used) == [1, 2]
    assert all(re.fullmatch("alpaca-[0-9a-f]{32}", account) for account, _ in used)
