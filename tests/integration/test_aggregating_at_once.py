"""Several aggregations of one store at once: none overwrites an aggregate that was made of newer minutes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from attrs import define, field

from marketpipe import JobFinished, Pipeline
from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
from marketpipe.shared_kernel.domain.errors import StateError
from tests.support.child_processes import PIPE, start
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

PATIENCE = 60
A_MOMENT = 0.3
"""Much longer than an aggregation of two days takes."""
HOLD = """
import sys
from pathlib import Path
from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
with ExclusiveFileLock(Path(sys.argv[1]), waits=True).acquired():
    print("held", flush=True)
    sys.stdin.read()
"""


@define
class _Aggregating:
    """On threads of which one hangs when it has read the minutes, and is about to put a file in its place."""

    pipeline: Pipeline
    hangs: threading.Event = field(factory=threading.Event)
    woken: threading.Event = field(factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def start(self) -> None:
        self.thread = threading.Thread(target=self._aggregate)
        self.thread.start()
        assert self.hangs.wait(PATIENCE)

    def wake(self) -> None:
        self.woken.set()
        self.thread.join(PATIENCE)

    def _aggregate(self) -> None:
        threading.setprofile(self._see)  # of every thread that begins from now on
        self.pipeline.aggregate()

    def _see(self, _: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function is os.replace and not self.hangs.is_set():
            threading.setprofile(None)
            self.hangs.set()
            assert self.woken.wait(PATIENCE)


def _store(root: Path) -> tuple[Callable[[str], Pipeline], ScriptedProvider]:
    provider = ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY), WEDNESDAY: minutes(WEDNESDAY)}})
    with pipeline(config(root, ["AAPL"], TUESDAY, TUESDAY), provider) as first:
        first.ingest()
    return lambda last: pipeline(config(root, ["AAPL"], TUESDAY, last, timeframes=["5m", "1d"]), provider), provider


def test_an_aggregate_of_older_minutes_does_not_overwrite_one_of_newer_minutes(tmp_path: Path) -> None:
    opened, _ = _store(tmp_path)
    with opened(TUESDAY) as one, opened(WEDNESDAY) as other:
        slow, stored = _Aggregating(one), threading.Event()
        slow.start()
        other.subscribe(JobFinished, lambda _: stored.set())
        ingesting = threading.Thread(target=other.ingest)
        ingesting.start()
        assert stored.wait(PATIENCE)
        ingesting.join(A_MOMENT)
        waits = ingesting.is_alive()
        slow.wake()
        ingesting.join(PATIENCE)

        again = other.aggregate()
        assert (again.written, again.unchanged) == (0, 2), "the aggregates agree with all minutes"
        assert waits
        assert other.coverage().ok


def test_several_aggregations_at_once_write_every_file_once(tmp_path: Path) -> None:
    opened, _ = _store(tmp_path)
    pipelines, reports = [opened(TUESDAY) for _ in range(4)], list[tuple[int, int]]()
    begin = threading.Barrier(len(pipelines))

    def aggregate(one: Pipeline) -> None:
        begin.wait(PATIENCE)
        found = one.aggregate()
        reports.append((found.written, found.unchanged))

    threads = [threading.Thread(target=aggregate, args=(one,)) for one in pipelines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for one in pipelines:
        one.close()

    assert sorted(reports) == [(0, 2), (0, 2), (0, 2), (2, 0)]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_killed_aggregation_releases_its_lock(tmp_path: Path) -> None:
    path, got = tmp_path / "lock", threading.Event()

    def want() -> None:
        with ExclusiveFileLock(path, waits=True).acquired():
            got.set()

    with start([sys.executable, "-c", HOLD, str(path)], stdin=PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waiting = threading.Thread(target=want)
        waiting.start()
        assert not got.wait(A_MOMENT)
        holder.kill()
        holder.wait(PATIENCE)
        assert got.wait(PATIENCE)
        waiting.join(PATIENCE)


def test_where_there_is_no_state_nothing_is_locked_and_nothing_made(tmp_path: Path) -> None:
    with ExclusiveFileLock(tmp_path / "nowhere" / "lock", waits=True).acquired():
        assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()

    with (
        pytest.raises(StateError, match=r"cannot lock .*lock: Is a directory"),
        ExclusiveFileLock(tmp_path / "lock", waits=True).acquired(),
    ):
        pass
