"""A process may die at any step of storing: no version is lost, and storing again ends as without the death."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any
from unittest import mock

import pytest
from attrs import define

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles, FileGroup
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk, tree

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
START, THEN = Timestamp.parse("2025-06-02T12:00:00Z"), Timestamp.parse("2025-06-02T12:01:00Z")
OLD, NEW = [100.0, 100.0], [200.0, 200.0]
STEPS = {"mkdir", "link", "fsync", "utime", "replace"}


class Killed(BaseException):
    """No handler in the code under test hears of it."""


class KilledBeforePublishing(DurableFiles):
    @contextmanager
    def group(self) -> Iterator[FileGroup]:
        with super().group() as group, mock.patch.object(group, "publish", side_effect=Killed):
            yield group


@define
class KilledAt:
    """A context manager: the process dies when it is about to take its ``step``-th step towards the disk."""

    step: int

    def __enter__(self) -> KilledAt:
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function.__module__ == os.name and function.__name__ in STEPS:
            self.step -= 1
            if self.step < 0:
                raise Killed


def _begin(root: Path) -> StoreOnDisk:
    """Bars of two symbols; a minute later others are to be stored."""
    store = StoreOnDisk(root)
    _say(store, 100.0)
    store.clock.advance(60)
    return store


def _say(store: StoreOnDisk, price: float) -> None:
    store.keep((AAPL, [at(0, price)]), (MSFT, [at(0, price)]))


def _known(store: StoreOnDisk, as_of: Timestamp | None) -> list[float]:
    date = TradingDate.parse("2024-01-02")
    bars = store.loader.load([Symbol("AAPL"), Symbol("MSFT")], date, date, Timeframe.MINUTE_1, as_of)
    found: list[float] = bars["open"].to_pylist()
    return found


def _times(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*.parquet")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    store = _begin(tmp_path_factory.mktemp("undisturbed"))
    _say(store, 200.0)
    return store


def test_a_death_between_revision_and_file_leaves_every_version_once(tmp_path: Path) -> None:
    store = _begin(tmp_path)
    store.files = KilledBeforePublishing()

    with pytest.raises(Killed):
        _say(store, 200.0)

    assert len(list(store.layout.revisions.rglob("*.parquet"))) == 2
    assert (_known(store, None), _known(store, START), _known(store, THEN)) == (OLD, OLD, OLD)


def test_storing_again_ends_as_without_the_death(tmp_path: Path, undisturbed: StoreOnDisk) -> None:
    store = _begin(tmp_path)
    store.files = KilledBeforePublishing()
    with pytest.raises(Killed):
        _say(store, 200.0)

    store.files = DurableFiles()
    _say(store, 200.0)

    assert tree(tmp_path) == tree(undisturbed.root)
    assert _times(tmp_path) == _times(undisturbed.root)
    assert (_known(store, START), _known(store, THEN)) == (OLD, NEW)


def test_to_store_something_else_after_a_death_forgets_nothing(tmp_path: Path) -> None:
    store = _begin(tmp_path)
    store.files = KilledBeforePublishing()
    with pytest.raises(Killed):
        _say(store, 200.0)

    store.files = DurableFiles()
    store.clock.advance(60)
    _say(store, 300.0)

    assert (_known(store, START), _known(store, THEN), _known(store, store.clock.now())) == (OLD, OLD, [300.0, 300.0])


def test_no_step_is_one_at_which_a_death_loses_a_version(tmp_path: Path, undisturbed: StoreOnDisk) -> None:
    """One step after the other, until one is never reached."""
    step, died = 0, True
    while died:
        store = _begin(tmp_path / str(step))
        died = _dies_at(step, store)
        assert _known(store, START) == OLD
        assert all(price in pair for price, *pair in zip(_known(store, THEN), OLD, NEW, strict=True))
        _say(store, 200.0)
        assert tree(store.root) == tree(undisturbed.root)
        assert _times(store.root) == _times(undisturbed.root)
        assert (_known(store, START), _known(store, THEN)) == (OLD, NEW)
        step += 1
    assert step > 20


def _dies_at(step: int, store: StoreOnDisk) -> bool:
    store.files = DurableFiles()
    try:
        with KilledAt(step):
            _say(store, 200.0)
    except Killed:
        return True
    return False
