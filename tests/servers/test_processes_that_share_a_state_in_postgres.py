"""Several real processes that share a store by its state in PostgreSQL, as those of several machines do."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.child_processes import LONGEST_SECONDS, wait_until
from tests.support.cli_process import marketpipe, result_of, start_marketpipe
from tests.support.postgres_server import PostgresServer, running_postgres
from tests.support.postgres_states import connected
from tests.support.shared_store import (
    BARS,
    DAYS,
    EVERY_DAY,
    PAGE,
    SYMBOLS,
    days_asked,
    ends_well,
    files,
    slowly,
    write_config,
)

pytestmark = pytest.mark.slow
RESTARTS = 20


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of it whose state is a file."""
    folder = tmp_path_factory.mktemp("alone")
    with AlpacaLoopback(BARS, page_size=PAGE) as provider:
        done = marketpipe("ingest", "--config", write_config(folder, provider.url), cwd=folder)
    assert done.returncode == 0, done.stderr
    return files(folder)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own: it is stopped and started again."""
    with running_postgres() as running:
        yield running


def shared_config(folder: Path, provider: AlpacaLoopback, state: str) -> str:
    config = write_config(folder, provider.url)
    with open(config, "a", encoding="utf-8") as file:
        file.write(f"state_path: {state}\n")
    return config


def test_eight_with_ranges_that_overlap_ask_for_every_day_once(
    tmp_path: Path, database_url: str, alone: dict[str, bytes]
) -> None:
    halves = ",".join(SYMBOLS[:5]), ",".join(SYMBOLS[3:])
    ranges = [(halves[0], 0, 3), (halves[1], 1, 4), (halves[0], 2, 4), (halves[1], 0, 2)]
    ranges += [(",".join(SYMBOLS), 0, 4)] * 4
    with AlpacaLoopback(BARS, page_size=PAGE, fault=slowly(0.1)) as provider:
        config = shared_config(tmp_path, provider, database_url)
        processes = [
            start_marketpipe(
                *("ingest", "--config", config, "--symbols", symbols, "--start", DAYS[first], "--end", DAYS[last]),
                cwd=tmp_path,
            )
            for symbols, first, last in ranges
        ]
        ends_well(processes)

    assert days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
    assert files(tmp_path) == alone
    status = result_of(marketpipe("status", "--config", config, "--json", cwd=tmp_path))
    assert {job["state"] for job in status["jobs"]} == {"completed"}


def test_a_server_that_is_restarted_in_mid_job_costs_no_bar_and_no_lease(
    tmp_path: Path, server: PostgresServer, alone: dict[str, bytes]
) -> None:
    with AlpacaLoopback(BARS, page_size=60, fault=slowly(0.5)) as provider:
        config = shared_config(tmp_path, provider, server.new_database())
        processes = [start_marketpipe("ingest", "--config", config, cwd=tmp_path) for _ in range(2)]
        wait_until(lambda: len(provider.requests) > 2)
        restarts = 0
        while restarts < RESTARTS and any(process.poll() is None for process in processes):
            server.restart("immediate")
            restarts += 1
            time.sleep(0.2)
        ends_well(processes)

    assert restarts > 5
    assert days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
    assert files(tmp_path) == alone


def test_after_an_outage_the_next_run_asks_only_for_what_was_in_flight(
    tmp_path: Path, server: PostgresServer, alone: dict[str, bytes]
) -> None:
    with AlpacaLoopback(BARS, page_size=PAGE, fault=slowly(0.2)) as provider:
        url = server.new_database()
        config = shared_config(tmp_path, provider, url)
        process = start_marketpipe("ingest", "--config", config, cwd=tmp_path)
        wait_until(lambda: len(provider.requests) > 8)
        server.stop()
        _, errors = process.communicate(timeout=LONGEST_SECONDS)
        assert process.returncode != 0
        assert "cannot be reached" in errors or "cannot share the rate limit" in errors, errors
        assert "the same command asks only for the rest" in errors or "see whether the server runs" in errors
        assert "Traceback" not in errors
        server.start()
        stored = _settled(url)
        provider.requests.clear()
        provider.headers.clear()
        done = marketpipe("ingest", "--config", config, cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    assert stored
    assert days_asked(provider) == dict.fromkeys(EVERY_DAY - stored, 1)
    assert files(tmp_path) == alone


def _settled(url: str) -> set[tuple[str, str]]:
    with connected(url) as connection:
        rows = connection.execute("SELECT symbol, trading_date FROM checkpoints WHERE outcome = 'complete'").fetchall()
    return {(str(symbol), str(date)) for symbol, date in rows}


def test_a_process_that_is_frozen_for_longer_than_its_leases_last_changes_nothing_when_it_goes_on(
    tmp_path: Path, database_url: str, alone: dict[str, bytes]
) -> None:
    """As one whose network is cut: after 30 seconds without a sign of life its days are another's."""
    with AlpacaLoopback(BARS, page_size=PAGE, fault=slowly(0.3)) as provider:
        config = shared_config(tmp_path, provider, database_url)
        frozen = start_marketpipe("ingest", "--config", config, cwd=tmp_path)
        wait_until(lambda: len(provider.requests) > 4)
        frozen.send_signal(signal.SIGSTOP)
        other = start_marketpipe("ingest", "--config", config, cwd=tmp_path)
        ends_well([other])
        before = files(tmp_path), _records(database_url)
        assert before[0] == alone

        frozen.send_signal(signal.SIGCONT)
        _, errors = frozen.communicate(timeout=LONGEST_SECONDS)

    assert "Traceback" not in errors
    assert (files(tmp_path), _records(database_url)) == before


def _records(url: str) -> list[tuple[object, ...]]:
    with connected(url) as connection:
        return connection.execute("SELECT * FROM checkpoints ORDER BY symbol, trading_date").fetchall()
