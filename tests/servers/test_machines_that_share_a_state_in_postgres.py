"""Processes of two machines that share a store: each machine is a network namespace, with a cable to the database."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from marketpipe.testing import LoopbackRequest, Response
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.child_processes import LONGEST_SECONDS, wait_until
from tests.support.cli_process import marketpipe, result_of
from tests.support.network_namespaces import Network, network
from tests.support.postgres_server import PostgresServer, running_postgres
from tests.support.postgres_states import connected
from tests.support.rate_limited_processes import counting_server, measured
from tests.support.shared_store import BARS, EVERY_DAY, days_asked, ends_well, files, write_config
from tests.support.started_cli import StartedCli

pytestmark = pytest.mark.slow
EACH = 4
"""Processes of a machine."""
PAGE, LIMIT = 60, 60
"""More requests than a minute allows are needed for all."""
MINUTE = 60.0


class CountingProvider(AlpacaLoopback):
    """Notes when it counts each request against the limit of the account.

    After so many requests for minutes it lets all others wait until it goes on.
    """

    def __init__(self, hold_after: int | None = None) -> None:
        super().__init__(BARS, page_size=PAGE, fault=self._wait)
        self.moments = list[float]()
        self._hold_after, self._going_on = hold_after, threading.Event()

    def go_on(self) -> None:
        self._going_on.set()

    def __exit__(self, *error: Any) -> None:
        self.go_on()
        super().__exit__(*error)

    def _wait(self, number: int, _: object) -> None:
        if self._hold_after is not None and number >= self._hold_after:
            self._going_on.wait(LONGEST_SECONDS)

    def answer(self, request: LoopbackRequest) -> Response:
        self.moments.append(time.monotonic())
        return super().answer(request)

    def most_in(self, seconds: float) -> int:
        ascending = sorted(self.moments)
        return max(bisect_left(ascending, each + seconds) - number for number, each in enumerate(ascending))


class Machines:
    """The store of a folder, on which all processes of both machines work."""

    def __init__(self, net: Network, folder: Path, url: str) -> None:
        self.one, self.other = net.machines
        self._net, self.folder, self.url = net, folder, url
        self.config = ""

    @contextmanager
    def use(self, provider: CountingProvider, *, rate: int = 100_000) -> Iterator[None]:
        self.config = write_config(self.folder, provider.url, rate=rate)
        with open(self.config, "a", encoding="utf-8") as file:
            file.write(f"state_path: {self.url}\n")
        with self._net.reaching(urlsplit(provider.url).port or 0):
            yield

    def ingest(self, on: int, processes: int) -> list[StartedCli]:
        machine = (self.one, self.other)[on]
        return [machine.marketpipe("ingest", "--config", self.config, cwd=self.folder) for _ in range(processes)]

    def records(self) -> list[tuple[object, ...]]:
        with connected(self.url) as connection:
            return connection.execute("SELECT * FROM checkpoints ORDER BY symbol, trading_date").fetchall()

    def settled(self) -> set[tuple[str, str]]:
        with connected(self.url) as connection:
            rows = connection.execute("SELECT symbol, trading_date FROM checkpoints WHERE outcome = 'complete'")
            return {(str(symbol), str(date)) for symbol, date in rows.fetchall()}

    def holders(self) -> set[str]:
        """Return the marks of the machines on which processes work."""
        with connected(self.url) as connection:
            rows = connection.execute("SELECT holder FROM holders").fetchall()
            return {str(holder).partition("@")[2].partition("/")[0] for (holder,) in rows}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of it whose state is a file."""
    folder = tmp_path_factory.mktemp("alone")
    with AlpacaLoopback(BARS) as provider:
        done = marketpipe("ingest", "--config", write_config(folder, provider.url), cwd=folder)
    assert done.returncode == 0, done.stderr
    return files(folder)


@pytest.fixture(scope="module")
def network_of_two() -> Iterator[Network]:
    with network() as made:
        for machine in made.machines:  # or the first process of one would be done before the other machine begins
            machine.marketpipe("--version", cwd=Path()).communicate()
        yield made


@pytest.fixture
def net(network_of_two: Network) -> Iterator[Network]:
    yield network_of_two
    for machine in network_of_two.machines:
        machine.mend()


@pytest.fixture(scope="module")
def server(network_of_two: Network) -> Iterator[PostgresServer]:
    with running_postgres(host=network_of_two.host) as running:
        yield running


@pytest.fixture
def machines(net: Network, server: PostgresServer, tmp_path: Path) -> Machines:
    return Machines(net, tmp_path, server.new_database())


def test_eight_processes_of_two_machines_ask_for_every_day_once_and_never_exceed_the_limit(
    machines: Machines, alone: dict[str, bytes]
) -> None:
    with CountingProvider() as provider, machines.use(provider, rate=LIMIT):
        processes = [process for on in (0, 1) for process in machines.ingest(on, EACH)]
        wait_until(lambda: len(provider.moments) >= LIMIT)
        assert len(machines.holders()) == 2
        ends_well(processes)

    assert days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
    assert provider.most_in(MINUTE) <= LIMIT < len(provider.moments)
    assert files(machines.folder) == alone
    status = result_of(marketpipe("status", "--config", machines.config, "--json", cwd=machines.folder))
    assert {job["state"] for job in status["jobs"]} == {"completed"}


def test_a_cable_that_is_out_for_less_than_leases_last_costs_nothing(
    machines: Machines, alone: dict[str, bytes]
) -> None:
    with CountingProvider(hold_after=8) as provider, machines.use(provider):
        processes = [process for on in (0, 1) for process in machines.ingest(on, 2)]
        wait_until(lambda: len(provider.requests) > 8)
        machines.one.cut()
        provider.go_on()
        time.sleep(8)
        machines.one.mend()
        ends_well(processes)

    assert days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
    assert files(machines.folder) == alone


@pytest.mark.parametrize("gives_up", [False, True], ids=["back when all is done", "away until it gives up"])
def test_a_machine_that_is_cut_off_for_longer_than_its_leases_last_changes_nothing_any_more(
    machines: Machines, alone: dict[str, bytes], gives_up: bool
) -> None:
    with CountingProvider(hold_after=8) as provider, machines.use(provider):
        lost = machines.ingest(0, 2)
        wait_until(lambda: len(provider.requests) > 8)
        others = machines.ingest(1, 2)
        machines.one.cut()
        stored = machines.settled()
        provider.go_on()
        ends_well(others)
        before = files(machines.folder), machines.records()
        if gives_up:
            wait_until(lambda: all(process.poll() is not None for process in lost))
        machines.one.mend()
        errors = [process.communicate()[1] for process in lost]

    assert before[0] == alone
    assert (files(machines.folder), machines.records()) == before
    asked = days_asked(provider)
    assert asked.keys() == EVERY_DAY
    assert {asked[day] for day in stored} == {1}
    assert max(asked.values()) <= 2
    is_clear = ["cannot be reached" in each or "cannot share the rate limit" in each for each in errors]
    assert [process.returncode for process in lost] == [int(each) for each in is_clear], errors
    assert all(is_clear) or not gives_up
    assert not any("Traceback" in each for each in errors)


def test_a_turn_of_the_rate_limit_over_a_network_takes_few_milliseconds(net: Network, server: PostgresServer) -> None:
    with counting_server() as provider, net.reaching(provider.port):
        found = measured([machine.start for machine in net.machines] * EACH, server.new_database(), provider)
    found.keeps_the_limit(processes=len(net.machines) * EACH)
    found.takes_turns_fast()
