"""What a scrape gets of a store while a thread measures it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from marketpipe import Pipeline, StatusReport
from marketpipe.monitoring import StoreMonitor
from tests.support.child_processes import wait_until
from tests.support.measured_store import measured_store


class _Store:
    """A pipeline whose files take as long to list as a test wants."""

    def __init__(self, made: Pipeline) -> None:
        self.made, self.may_go_on, self.measured = made, threading.Event(), 0

    def status(self) -> StatusReport:
        self.may_go_on.wait(60)
        self.measured += 1
        return self.made.status()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made, name)


def test_a_scrape_does_not_wait_for_long_before_the_first_measurement_and_gets_it_when_it_is_complete(
    tmp_path: Path,
) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
        store = _Store(made)
        monitor = StoreMonitor(store, longest_first_wait=0.01)
        first, second = monitor.recent(), monitor.recent()
        store.may_go_on.set()
        wait_until(lambda: monitor.recent().health.ok)

    assert [first.health.reasons[0].check, second.health.reasons[0].check] == ["readable", "readable"]
    assert "is being measured for the first time" in first.health.reasons[0].message
    assert store.measured == 1  # the second scrape started no thread of its own


def test_a_store_is_measured_again_when_the_latest_measurement_is_old(tmp_path: Path) -> None:
    with measured_store(tmp_path, refresh_seconds=30) as made:
        made.ingest()
        store, clock = _Store(made), made._parts.clock
        store.may_go_on.set()
        monitor = StoreMonitor(store)
        first = monitor.recent()
        clock.sleep(29)
        young = monitor.recent()
        clock.sleep(2)
        monitor.recent()
        wait_until(lambda: store.measured == 2)

    assert young is first
