"""Processes that send requests to one provider, as fast as the rate limit that they share in PostgreSQL allows.

The provider notes when it counts each request, and the processes how long each turn took.
"""

from __future__ import annotations

import json
import random
import socketserver
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, cast

from attrs import frozen

from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateWindow
from tests.support.child_processes import PIPE, Popen

WINDOW: Final = RateWindow(150, seconds=1.0)
REQUESTS: Final = 100
"""Of each process: a few windows for all, and so many that the first turns of eight are less than one in a hundred."""
LONGEST_TURN, OF_A_SLOW_MACHINE = 0.010, 5
"""Seconds; or so many times what a statement that does nothing takes, if all processors are busy with other things."""
LONGEST_DELAY: Final = 0.005
PROCESS: Final = """
import json, random, socket, sys, time
import psycopg
from marketpipe.integration.infrastructure.rate_limits.postgres_rate_limit import PostgresRateLimit
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateWindow
from marketpipe.shared_kernel.infrastructure.system_clock import SystemClock

url, port, limit, seconds, requests, delay = json.loads(sys.argv[1])
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
    time.sleep(random.uniform(0, delay))
    with socket.create_connection(("127.0.0.1", port)) as provider:
        provider.recv(1)
    turns.answered()
print(json.dumps([taken, nothing]))
"""


class CountingServer(socketserver.ThreadingTCPServer):
    """Answers each connection some milliseconds later. ``log`` has when it has counted each."""

    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Counting)
        self.log = list[float]()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Counting(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        before, after = (random.uniform(0, LONGEST_DELAY) for _ in "12")
        time.sleep(before)
        cast(CountingServer, self.server).log.append(time.monotonic())
        time.sleep(after)
        self.request.sendall(b".")


@contextmanager
def counting_server() -> Iterator[CountingServer]:
    with CountingServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@frozen
class Measured:
    """When the provider counted a request, and the seconds of each turn and of each statement that does nothing."""

    moments: list[float]
    turns: list[float]
    nothing: list[float]

    def keeps_the_limit(self, processes: int) -> None:
        crowds = [bisect_left(self.moments, each + WINDOW.seconds) - n for n, each in enumerate(self.moments)]
        assert len(self.moments) == processes * REQUESTS
        assert max(crowds) <= WINDOW.limit
        # and the limit is used
        assert self.moments[-1] - self.moments[0] < 2 * processes * REQUESTS / WINDOW.limit * WINDOW.seconds

    def takes_turns_fast(self) -> None:
        assert _nearly_all(self.turns) < max(LONGEST_TURN, OF_A_SLOW_MACHINE * _nearly_all(self.nothing))


def measured(starters: Sequence[Callable[..., Popen[Any]]], url: str, provider: CountingServer) -> Measured:
    """Let each of the starters start a process, and all processes begin at once, when all are connected."""
    asked = [url, provider.port, WINDOW.limit, WINDOW.seconds, REQUESTS, LONGEST_DELAY]
    processes = [start([sys.executable, "-c", PROCESS, json.dumps(asked)], stdin=PIPE) for start in starters]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n", process.communicate()[1]
    with ThreadPoolExecutor(len(processes)) as threads:
        answers = [*threads.map(lambda process: process.communicate("go\n"), processes)]
    turns, nothing = (sorted(chain(*each)) for each in zip(*(json.loads(out) for out, _ in answers), strict=True))
    return Measured(sorted(provider.log), turns, nothing)


def _nearly_all(ascending: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return ascending[len(ascending) * 99 // 100]
