"""Stores in buckets that are folders, or in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from obstore.store import LocalStore
from prometheus_client import CollectorRegistry

from marketpipe.config import PipelineConfig
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore
from marketpipe.storage.infrastructure.objects.obstore_objects import ObstoreObjects
from marketpipe.testing import FakeClock
from tests.support.scripted_provider import ScriptedProvider

NewStore = Callable[[str], ObjectStore]


def in_folders(root: Path) -> NewStore:
    """Return what makes a bucket of a folder below ``root``, for each URL its own."""

    def made(url: str) -> ObjectStore:
        return ObstoreObjects(LocalStore(root / url.removeprefix("s3://"), mkdir=True), url)

    return made


def bucket_config(root: Path, url: str = "s3://bucket/bars", **changes: Any) -> PipelineConfig:
    """Return the configuration of a store in a bucket whose state is a file below ``root``."""
    state = root / "state" / f"{url.rpartition('/')[2]}.sqlite"
    values: dict[str, Any] = {"provider": "scripted", "session": "regular", "workers": 2, "state_path": state}
    return PipelineConfig(**{**values, "output_path": url, **changes})


def over(new_store: NewStore, config: PipelineConfig, provider: ScriptedProvider, clock: FakeClock) -> Pipeline:
    """Return a pipeline whose bucket is what ``new_store`` makes."""

    class OverObjects(Pipeline):
        _new_object_store = staticmethod(new_store)

    return OverObjects(config, registry=CollectorRegistry(), market_data_provider=provider, clock=clock)


def answers(store: Pipeline, first: str, last: str, *moments: Timestamp) -> list[Any]:
    """Return what a store answers, to be compared with what another one does."""
    known = sorted(map(str, store._known_symbols()))
    loaded = [store.load(known, first, last, as_of=moment).to_pylist() for moment in (None, *moments)]
    daily = store.load(known, first, last, "1d").to_pylist()
    return [known, loaded, daily, store.freeze().text(), store.coverage(start=first, end=last).to_arrow().to_pylist()]
