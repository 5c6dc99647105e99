"""A store whose state was copied elsewhere: everything recorded is there, and nothing is requested again."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from marketpipe import ConfigurationError, Pipeline, PipelineConfig, StoreBusyError
from marketpipe.place_parts import store_lock
from marketpipe.store_locks import EXCLUDING_CHANGES, holder_of


def config(root: Path, state: str | Path = "state/marketpipe.sqlite") -> PipelineConfig:
    scope = {"symbols": ["AAPL", "MSFT"], "start": "2024-11-25", "end": "2024-11-27"}
    return PipelineConfig(provider="synthetic", **scope, timeframes=["1d"], root=root, state_path=state)


def opened(root: Path, state: str | Path = "state/marketpipe.sqlite") -> Pipeline:
    return Pipeline(config(root, state), registry=CollectorRegistry())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with opened(tmp_path) as pipeline:
        assert pipeline.ingest().ok
    return tmp_path


def test_a_store_goes_on_with_the_copy_of_its_state(store: Path) -> None:
    with opened(store) as pipeline:
        report = pipeline.copy_state("elsewhere/s.sqlite")
    assert (report.rows["checkpoints"], report.rows["jobs"]) == (6, 1)
    assert report.target == str(store / "elsewhere" / "s.sqlite")
    with opened(store) as before, opened(store, "elsewhere/s.sqlite") as after:
        assert after.plan().planned == before.plan().planned == 0
        assert after.verify().ok
        assert after.freeze() == before.freeze()


def test_the_place_where_the_state_is_and_an_absent_state_are_refused(store: Path) -> None:
    with opened(store) as pipeline, pytest.raises(ConfigurationError, match="is where the state is already"):
        pipeline.copy_state("state/marketpipe.sqlite")
    with opened(store, "no.sqlite") as pipeline, pytest.raises(ConfigurationError, match="no state of this store"):
        pipeline.copy_state("elsewhere/s.sqlite")
    assert not [*store.glob("no.sqlite*")]


def test_a_pipeline_that_works_with_its_state_copies_it_neither_by_itself_nor_for_another(store: Path) -> None:
    with opened(store) as working, opened(store) as other:
        assert working.ingest().ok
        with pytest.raises(ConfigurationError, match="has its state open already"):
            working.copy_state("elsewhere/s.sqlite")
        with pytest.raises(StoreBusyError, match="a process works with the state in"):
            other.copy_state("elsewhere/s.sqlite")


@pytest.mark.parametrize("purpose", EXCLUDING_CHANGES)
def test_a_state_is_not_copied_beside_a_command_that_changes_the_store(store: Path, purpose: str) -> None:
    with opened(store) as busy, opened(store) as other:
        with (
            store_lock(busy._parts, purpose, waits=False).acquired(),
            pytest.raises(StoreBusyError, match=f"{holder_of(purpose)} is running"),
        ):
            other.copy_state("elsewhere/s.sqlite")
        assert not (store / "elsewhere").exists()
        assert other.copy_state("elsewhere/s.sqlite").rows["jobs"] == 1
