"""The parts that several threads use at once, under stress: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.testing import FakeClock
from tests.support.bar_stores import OnDisk, at, word
from tests.support.builders import columnar, day
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import answer, record
from tests.support.threads_at_once import at_once

IDENTITY = DatasetIdentity("alpaca", "iex", "raw")


@pytest.fixture(autouse=True)
def switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("is_shared", [False, True], ids=["in one process", "among processes"])
def test_a_rate_limiter_lets_exactly_as_many_through_as_it_may(tmp_path: Path, is_shared: bool) -> None:
    clock, through = FakeClock(), list[int]()
    clock.interrupt()
    limiter = RateLimiter([RateWindow(500)], clock, shared_in=tmp_path / "file" if is_shared else None)

    def ask(number: int) -> None:
        for _ in range(200):
            try:
                limiter.acquire()
            except IngestionInterrupted:
                continue
            through.append(number)

    at_once(ask)

    assert len(through) == 500
    limiter.close()


def test_a_state_loses_no_checkpoint_and_gives_no_day_to_two(tmp_path: Path) -> None:
    """Four states of one file, as four processes have them, each used by two threads."""
    states = [SQLiteState(tmp_path / "marketpipe.sqlite", "../data") for _ in range(4)]
    states[0].bind_dataset(IDENTITY, SessionKind.EXTENDED)
    days = [day("AAPL", str(TradingDate.parse("2024-01-01").plus_days(n))) for n in range(60)]
    fetched: list[SymbolDay] = []
    since = states[0].leases.position()

    def work(number: int) -> None:
        state, order = states[number % 4], list(days)
        random.Random(number).shuffle(order)
        while order:
            wanted, now = order[:7], NOW
            taken = state.leases.take(
                dict.fromkeys(wanted, SessionHours.EXTENDED), since, now, now.plus(timedelta(minutes=1))
            )
            mine = [found for found in wanted if found in taken.ours and number < 4]
            fetched.extend(mine)
            record(state, [answer("AAPL", str(found.trading_date), rows=number + 1) for found in mine])
            state.checkpoints.between(Symbol("AAPL"), days[0].trading_date, days[-1].trading_date)
            state.leases.release(taken.lease)
            order = [found for found in order if found not in taken.settled and found not in mine]
            order = order[7:] + order[:7] if number < 4 else order[7:]

    at_once(work)

    known = states[0].checkpoints.between(Symbol("AAPL"), days[0].trading_date, days[-1].trading_date)
    assert sorted(fetched) == days
    assert list(known) == [found.trading_date for found in days]
    for state in states:
        state.close()


def test_durable_files_are_always_whole(tmp_path: Path) -> None:
    files, paths = DurableFiles(), [tmp_path / f"folder-{n % 3}" / f"file-{n}" for n in range(6)]
    done = threading.Event()

    def work(number: int) -> None:
        if number < 2:
            while not done.is_set():
                for path in paths:
                    if path.exists():
                        assert len(set(path.read_bytes())) == 1
            return
        try:
            for turn in range(15):
                files.publish(dict.fromkeys(paths, bytes([number * 20 + turn]) * 5000))
        finally:
            done.set()

    at_once(work)

    assert {len(path.read_bytes()) for path in paths} == {5000}
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_day_that_comes_in_parts_from_many_threads_loses_no_bar(tmp_path: Path) -> None:
    store, one, other = OnDisk(tmp_path), day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")

    def work(number: int) -> None:
        for turn in range(4):
            for found in (one, other) if number % 2 else (other, one):
                minutes = [at(number * 40 + turn * 10 + n) for n in range(10)]
                store.store.store(word(found, minutes, None), columnar())

    at_once(work)

    for found in (one, other):
        assert [row["timestamp"] for row in store.bars(found)] == [at(n)["timestamp"] for n in range(320)]
