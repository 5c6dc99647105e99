"""What the composition promises beside making things: the order of closing, and what it does not touch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe import composition, place_parts
from marketpipe.config import PipelineConfig
from marketpipe.parts import Parts
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StateError
from marketpipe.shared_kernel.events import BarsRequested


class WorkerProcesses:
    """Does something when it is closed."""

    def __init__(self, on_close: Callable[[], None]) -> None:
        self._on_close = on_close
        self.stopped = False

    def on_bars_requested(self, _: BarsRequested) -> None: ...

    def stop(self) -> None:
        self.stopped = True

    def go(self) -> None:
        self.stopped = False

    def close(self) -> None:
        self._on_close()


def _config(root: Path, **changes: object) -> PipelineConfig:
    return PipelineConfig(
        **{
            "provider": "synthetic",
            "symbols": ["AAPL"],
            "start": "2024-03-04",
            "end": "2024-03-04",
            "executor": "processes",
            "state_path": root / "state" / "s.sqlite",
            **changes,
        }  # type: ignore[arg-type]
    )


def test_worker_processes_end_before_the_state_is_closed_under_whose_leases_they_work(tmp_path: Path) -> None:
    read = list[object]()

    def new_pool(_: Parts) -> WorkerProcesses:
        return WorkerProcesses(lambda: read.append(place_parts.state(parts).dataset()))

    parts = Parts(_config(tmp_path), new_worker_pool=new_pool)
    composition.coordinator(parts)
    parts.close()

    assert read == [None]
    with pytest.raises(StateError):
        place_parts.state(parts).dataset()


def test_stopping_reaches_the_worker_processes(tmp_path: Path) -> None:
    pool = WorkerProcesses(lambda: None)
    parts = Parts(_config(tmp_path), new_worker_pool=lambda *_: pool)
    composition.coordinator(parts)
    parts.stop()
    assert pool.stopped
    parts.go()
    assert not pool.stopped
    parts.close()


def test_what_is_made_after_the_stop_is_stopped_until_the_next_run(tmp_path: Path) -> None:
    pool = WorkerProcesses(lambda: None)
    parts = Parts(_config(tmp_path), new_worker_pool=lambda *_: pool)
    parts.stop()
    composition.coordinator(parts)
    assert pool.stopped
    parts.go()
    assert not pool.stopped
    parts.close()


def test_a_coordinator_that_cannot_be_made_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    parts = Parts(_config(tmp_path))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="use threads"):
            composition.coordinator(parts)
    assert list(tmp_path.iterdir()) == []
    parts.close()


def test_a_pipeline_that_has_its_state_open_is_not_recovered(tmp_path: Path) -> None:
    parts = Parts(_config(tmp_path))
    composition.new_recoverer(parts)
    place_parts.state(parts)
    with pytest.raises(ConfigurationError, match="has its state open"):
        composition.new_recoverer(parts)
    parts.close()
