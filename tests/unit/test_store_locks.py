"""The locks of a store: how errors name their holders, and who keeps out all that changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe import store_locks
from marketpipe.config import StoreConfig
from marketpipe.parts import Parts
from marketpipe.place_parts import aggregation_lock, store_lock, without_changes
from marketpipe.shared_kernel.domain.errors import StoreBusyError
from marketpipe.store_locks import AGGREGATION, EXCLUDING_CHANGES, GC, HOLDERS, MONTHS, OFFICIAL, UPDATE


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    (tmp_path / "state").mkdir()
    return Parts(StoreConfig(root=tmp_path))


def another(parts: Parts) -> Parts:
    """The same store in another process."""
    return Parts(parts.config)


def test_each_lock_that_is_refused_at_once_has_a_holder_of_its_own() -> None:
    assert set(HOLDERS) == set(EXCLUDING_CHANGES)
    assert len(set(HOLDERS.values())) == len(HOLDERS)


@pytest.mark.parametrize("purpose", EXCLUDING_CHANGES)
def test_who_keeps_out_changes_is_refused_beside_each_of_them_and_refuses_each(parts: Parts, purpose: str) -> None:
    holder = store_locks.holder_of(purpose)
    lock, busy = store_lock(another(parts), purpose, waits=False), f"{holder} is running .*: nothing was done"
    with lock.acquired(), pytest.raises(StoreBusyError, match=busy), without_changes(parts):
        pytest.fail("two holders at once")
    with without_changes(parts), pytest.raises(StoreBusyError, match=busy), lock.acquired():
        pytest.fail("two holders at once")
    with lock.acquired():
        """Free again."""


def test_an_aggregation_takes_the_lock_of_that_name(parts: Parts) -> None:
    lock = aggregation_lock(another(parts), longest_wait_seconds=0.0)
    with without_changes(parts), pytest.raises(StoreBusyError, match="has held"), lock.acquired():
        pytest.fail("two holders at once")


def test_locks_have_the_names_of_earlier_versions_which_may_run_beside_this_one(parts: Parts) -> None:
    for purpose in (UPDATE, GC, OFFICIAL, MONTHS, AGGREGATION):
        with store_lock(parts, purpose, waits=True).acquired():
            """Made."""
    names = {path.name for path in (parts.config.root / "state").iterdir()}
    store = "2af35ddd5942"
    others = {f"marketpipe.sqlite.{store}.{name}-lock" for name in ("update", "gc", "official", "months")}
    assert names == {"marketpipe.sqlite.aggregation-lock", *others}
