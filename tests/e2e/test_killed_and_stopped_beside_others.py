"""Two real processes on one store, one of which is killed or stopped with symbol-days in its hands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from attrs import define, field

from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.child_processes import wait_until
from tests.support.cli_process import KEYS, marketpipe, start_marketpipe
from tests.support.shared_store import (
    BARS,
    EVERY_DAY,
    PAGE,
    SEEDED,
    connect,
    days_asked,
    ends_well,
    files,
    opened,
    rows_of_state,
    seed,
    write_config,
)
from tests.support.started_cli import StartedCli

pytestmark = pytest.mark.slow
VICTIM, OTHER = "key-of-the-victim", KEYS["ALPACA_KEY"]
WORKERS, ANSWERED = 2, 3
LEASES_RUN_OUT = "UPDATE leases SET until = 0"
LEASES_HELD = "SELECT * FROM leases WHERE until > 9000000000000000000"


@define
class _Market:
    """Lets the victim have a few answers, and then hangs on to its requests: one of each worker is in its hands."""

    released: threading.Event = field(factory=threading.Event)
    provider: AlpacaLoopback = field(init=False)
    hanging: int = 0

    def __attrs_post_init__(self) -> None:
        self.provider = AlpacaLoopback(BARS, page_size=PAGE, fault=self._hold)

    def _hold(self, number: int, _: Mapping[str, str]) -> Response | None:
        keys = [headers["apca-api-key-id"] for headers in self.provider.headers[: number + 1]]
        if keys[number] == VICTIM and keys.count(VICTIM) > ANSWERED:
            self.hanging += 1
            self.released.wait(60)
        return None


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    with AlpacaLoopback(BARS, page_size=PAGE) as provider:
        done = marketpipe("ingest", "--config", write_config(folder, provider.url), cwd=folder)
    assert done.returncode == 0, done.stderr
    return files(folder)


@contextmanager
def with_days_in_hand(market: _Market, folder: Path) -> Iterator[tuple[StartedCli, list[str]]]:
    """The victim, who has recorded something and waits for more, and the command that it was started with."""
    with market.provider:
        config = write_config(folder, market.provider.url)
        seed(config, folder)
        market.provider.requests.clear()
        market.provider.headers.clear()
        command = ["ingest", "--config", config]
        victim = start_marketpipe(*command, cwd=folder, env={"ALPACA_KEY": VICTIM})
        try:
            wait_until(lambda: market.hanging == WORKERS and bool(recorded_by(folder, job_of_the_victim(folder))))
            yield victim, command
        finally:
            market.released.set()
            victim.kill()
            victim.communicate()


def recorded_by(folder: Path, job: int) -> set[tuple[str, str]]:
    return set(rows_of_state(folder, f"SELECT symbol, trading_date FROM checkpoints WHERE job_id = {job}"))


def job_of_the_victim(folder: Path) -> int:
    return int(rows_of_state(folder, "SELECT max(job_id) FROM jobs")[0][0])


def test_days_leased_by_a_killed_process_are_requested_again_and_no_others_twice(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    market = _Market()
    with with_days_in_hand(market, tmp_path) as (victim, command):
        job = job_of_the_victim(tmp_path)
        other = start_marketpipe(*command, cwd=tmp_path)
        wait_until(lambda: bool(days_asked(market.provider, OTHER)))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        ends_well([other])

    done = recorded_by(tmp_path, job)
    in_hand = set(days_asked(market.provider, VICTIM)) - done
    assert in_hand
    assert days_asked(market.provider, OTHER) == dict.fromkeys(EVERY_DAY - SEEDED - done, 1)
    assert files(tmp_path) == alone
    assert rows_of_state(tmp_path, "SELECT * FROM claims") == rows_of_state(tmp_path, "SELECT * FROM leases") == []
    assert not list((tmp_path / "state").glob("*holder*"))


def test_others_wait_for_a_stopped_process_which_goes_on_when_it_is_woken(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    market = _Market()
    with with_days_in_hand(market, tmp_path) as (victim, command):
        job = job_of_the_victim(tmp_path)
        wait_until(lambda: _is_stopped_between_writes(victim, tmp_path))
        market.released.set()
        other = start_marketpipe(*command, cwd=tmp_path)
        in_hand = set(days_asked(market.provider)) - recorded_by(tmp_path, job)
        wait_until(lambda: len(rows_of_state(tmp_path, "SELECT * FROM partitions")) == len(EVERY_DAY - in_hand))
        assert other.poll() is None
        victim.send_signal(signal.SIGCONT)
        ends_well([victim, other])

    assert days_asked(market.provider) == dict.fromkeys(EVERY_DAY - SEEDED, 1)
    assert in_hand <= recorded_by(tmp_path, job)
    assert files(tmp_path) == alone


def test_expired_leases_of_a_stopped_process_are_taken_over_and_not_written_again_when_it_wakes(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    market = _Market()
    with with_days_in_hand(market, tmp_path) as (victim, command):
        job = job_of_the_victim(tmp_path)
        wait_until(lambda: _is_stopped_between_writes(victim, tmp_path))
        market.released.set()
        rows_of_state(tmp_path, LEASES_RUN_OUT)  # as if ten minutes had passed
        other = start_marketpipe(*command, cwd=tmp_path)
        ends_well([other])
        before, times = recorded_by(tmp_path, job + 1), _times(tmp_path / "data")
        victim.send_signal(signal.SIGCONT)
        ends_well([victim])

    done = recorded_by(tmp_path, job)
    assert done
    assert days_asked(market.provider, OTHER) == dict.fromkeys(EVERY_DAY - SEEDED - done, 1)
    assert recorded_by(tmp_path, job + 1) == before == EVERY_DAY - SEEDED - done
    assert files(tmp_path) == alone
    assert _times(tmp_path / "data") == times
    with opened(command[-1], tmp_path) as pipeline:
        assert pipeline.verify().ok
    states = rows_of_state(tmp_path, f"SELECT state FROM jobs WHERE job_id >= {job}")
    assert states == [("completed",), ("completed",)]


def _is_stopped_between_writes(victim: StartedCli, folder: Path) -> bool:
    """One that is stopped while it stores, or writes to the state, is waited for without end (ADR 0012)."""
    with closing(connect(folder)) as state, state:
        state.execute("BEGIN IMMEDIATE")
        if state.execute(LEASES_HELD).fetchone():
            return False
        victim.send_signal(signal.SIGSTOP)
        victim.wait_until_stopped()
    return True


def _times(folder: Path) -> dict[str, tuple[int, int]]:
    looks = {str(path): path.stat() for path in folder.rglob("*.parquet")}
    return {name: (look.st_ino, look.st_mtime_ns) for name, look in looks.items()}
