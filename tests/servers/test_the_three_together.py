"""A store in a bucket with its state in PostgreSQL, filled by a Dask cluster: each server is killed in mid-job.

Each worker is on a machine of its own, a network namespace; if those are not allowed, all are processes of this one.
What is stored then equals, byte for byte, what one process stores on a disk of its own.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from marketpipe.testing import Response, sessions
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import CompletedProcess, Popen, wait_until
from tests.support.cli_process import KEYS, fresh_marketpipe, result_of, start_fresh_marketpipe
from tests.support.dask_servers import DaskServers, running_dask
from tests.support.installed import REQUIRED, why_not
from tests.support.network_namespaces import Network, network, why_no_network
from tests.support.postgres_server import HOST, PostgresServer, running_postgres
from tests.support.s3_servers import SECRET_KEY, S3Server

pytestmark = pytest.mark.slow
DAYS: Final = [str(session.trading_date) for session in sessions("2024-03-04", "2024-03-20")]
"""Each run that is disturbed has some of its own: of one whose process is killed, the workers may store all."""
SYMBOLS: Final = ["AAPL", "BRK.B", "IBM", "MSFT", "NVDA", "SPY"]
BARS_A_DAY, PAGE, WORKERS = 30, 60, 3
FAULTS: Final = (
    Response(429, b'{"message":"too many requests."}', {"Retry-After": "0"}),
    Response(500, b'{"message":"internal server error occurred"}'),
    Response(dropped=True),
)
BARS: Final = {
    symbol: [
        record(f"{day}T15:{minute:02d}:00Z", 100.0 + n + minute / 8) for day in DAYS for minute in range(BARS_A_DAY)
    ]
    for n, symbol in enumerate(SYMBOLS)
}


class Provider(AlpacaLoopback):
    """Fails each tenth request in one of three ways. While it holds, requests wait until it goes on."""

    def __init__(self) -> None:
        super().__init__(BARS, page_size=PAGE, fault=self._answer)
        self._going_on, self._after, self.held = threading.Event(), 1_000_000, 0
        self._going_on.set()
        self.faults = 0

    def hold(self, after: int) -> None:
        """Answer so many more requests for minutes, and let all others wait."""
        self._after, self.held = len(self.requests) + after, 0
        self._going_on.clear()

    def go_on(self) -> None:
        self._going_on.set()

    def _answer(self, number: int, _: Mapping[str, str]) -> Response | None:
        if number >= self._after and not self._going_on.is_set():
            self.held += 1
            self._going_on.wait(300)
        if number % 10 != 5:
            return None
        self.faults += 1
        return FAULTS[number // 10 % len(FAULTS)]


class Together:
    """The command line over all three, and what it has printed."""

    def __init__(self, folder: Path, provider: Provider, s3: S3Server, database: str) -> None:
        self.folder, self.provider, self.env = folder, provider, s3.environment
        self.printed = list[str]()
        (folder / "one.yaml").write_text(_configured(provider))
        places = f"output_path: s3://{s3.new_bucket()}/a/store\nstate_path: {database}\nexecutor: dask\n"
        (folder / "three.yaml").write_text(_configured(provider) + places)

    def run(self, *words: str, config: str = "three.yaml", dask: DaskServers | None = None) -> CompletedProcess[str]:
        env, scheduler = self.env, list[str]()
        if dask is not None:
            env, scheduler = {**env, **dask.environment}, ["--scheduler", dask.address]
        ended = fresh_marketpipe(words[0], "--config", config, *words[1:], *scheduler, cwd=self.folder, env=env)
        return self._noted(words, ended.returncode, ended.stdout, ended.stderr)

    def ingest_while(self, dask: DaskServers, last: str, act: Callable[[Popen[str]], None]) -> CompletedProcess[str]:
        """Call ``act`` while three workers wait for the provider, which goes on if it has not yet."""
        self.provider.hold(after=4)
        words = ("ingest", "--config", "three.yaml", "--scheduler", dask.address, "--end", last)
        process = start_fresh_marketpipe(*words, cwd=self.folder, env={**self.env, **dask.environment})
        try:
            wait_until(lambda: self.provider.held == WORKERS or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            act(process)
        finally:
            self.provider.go_on()
        out, errors = process.communicate(timeout=300)
        return self._noted(words, process.returncode, out, errors)

    def _noted(self, words: tuple[str, ...], code: int, out: str, errors: str) -> CompletedProcess[str]:
        self.printed.append(f"{' '.join(words)}: {code}\n{out}\n{errors}")
        return CompletedProcess(words, code, out, errors)


def _configured(provider: Provider) -> str:
    return (
        f"provider: alpaca\nsymbols: [{', '.join(SYMBOLS)}]\nstart: {DAYS[0]}\nend: {DAYS[-1]}\n"
        f"workers: {WORKERS}\ntimeframes: [5m, 1d]\n"
        f"alpaca: {{base_url: '{provider.url}', rate_limit_per_min: 100000}}\n"
    )


@contextmanager
def cluster(s3: S3Server, net: Network | None) -> Iterator[DaskServers]:
    with running_dask({**s3.environment, **KEYS}, tls=True, host=net.host if net else HOST) as servers:
        for number in range(WORKERS):
            servers.add_worker(f"w{number}", on=net.machines[number] if net else None)
        with servers.client(WORKERS):
            pass
        yield servers


@pytest.fixture
def net() -> Iterator[Network | None]:
    if why_no_network() and not REQUIRED:
        yield None
    else:
        with network(WORKERS) as made:
            yield made


@pytest.fixture
def database_server(net: Network | None) -> Iterator[PostgresServer]:
    with running_postgres(host=net.host if net else HOST) as running:
        yield running


@contextmanager
def reached_from_all(net: Network | None, *urls: str) -> Iterator[None]:
    """Let the workers reach servers on the loopback, beyond which nothing goes unencrypted."""
    with ExitStack() as undo:
        for url in urls if net else ():
            undo.enter_context(net.reaching(urlsplit(url).port or 0))
        yield


def interrupt(server: S3Server, go_on: Callable[[], None]) -> None:
    """Kill it and start it again. One that keeps nothing, as moto, only does not answer for a moment."""
    keeps = why_not("weed") is None
    assert server.pid is not None
    if keeps:
        server.kill()
    else:
        os.kill(server.pid, signal.SIGSTOP)
    go_on()
    if keeps:
        server.start()
    else:
        os.kill(server.pid, signal.SIGCONT)


def test_whatever_is_killed_the_three_store_what_one_machine_does(
    tmp_path: Path, net: Network | None, database_server: PostgresServer, bucket_server: S3Server
) -> None:
    def stop_database(_: Popen[str]) -> None:
        dask.kill_worker("w0")
        database_server.stop("immediate")
        provider.go_on()
        database_server.start()

    with Provider() as provider, reached_from_all(net, provider.url, bucket_server.url):
        three = Together(tmp_path, provider, bucket_server, database_server.new_database())
        with cluster(bucket_server, net) as dask:
            lost_worker = three.ingest_while(dask, DAYS[3], stop_database)
            three.ingest_while(dask, DAYS[6], lambda _: interrupt(bucket_server, provider.go_on))
            killed = three.ingest_while(dask, DAYS[9], lambda process: process.kill())
            without_scheduler = three.ingest_while(
                dask, DAYS[-1], lambda _: os.killpg(dask.scheduler.pid, signal.SIGKILL)
            )
            logs = dask.log()
        with cluster(bucket_server, net) as dask:
            last = three.run("ingest", "--json", dask=dask)
            asked = len(provider.requests), len(provider.official)
            again = three.run("ingest", "--json", dask=dask)
            asked_again = len(provider.requests), len(provider.official)
            logs += dask.log()
        one = three.run("ingest", "--executor", "threads", config="one.yaml")
        frozen = {config: three.run("freeze", config=config) for config in ("one.yaml", "three.yaml")}
        checks = [three.run(word) for word in ("verify", "coverage")]

    story = "\n".join(three.printed)
    assert lost_worker.returncode == 0, story
    assert killed.returncode == -signal.SIGKILL
    assert without_scheduler.returncode == 1, story
    assert "is gone" in without_scheduler.stderr
    assert [each.returncode for each in (last, again, one, *checks)] == [0] * 5, story
    assert result_of(again)["planned"] == 0
    assert asked_again == asked
    assert provider.faults >= len(FAULTS)
    assert frozen["three.yaml"].stdout == frozen["one.yaml"].stdout
    assert frozen["one.yaml"].stdout.count("  data/symbol=") == len(SYMBOLS) * len(DAYS)
    assert "Traceback" not in story
    for secret in (SECRET_KEY, *KEYS.values()):
        assert secret not in story + logs
