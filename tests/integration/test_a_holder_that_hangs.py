"""Two pipelines on one store, of which one hangs longer than its lease lasts: files and state agree in the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from marketpipe import BarsRequest, BarsStored, IngestionReport, LeasesAwaited, Pipeline
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline, stored_rows
from tests.support.scripted_provider import ScriptedProvider

LATER_THAN_ANY_LEASE = "2025-06-03T12:00:00Z"
PATIENCE = 60


@define
class _Stop:
    """A point at which a thread hangs until it is woken."""

    reached: threading.Event = field(factory=threading.Event)
    woken: threading.Event = field(factory=threading.Event)

    def __call__(self, _: object = None) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.woken.wait(PATIENCE)


class _HangingProvider(ScriptedProvider):
    def __init__(self, stop: _Stop, price: float) -> None:
        super().__init__({"AAPL": {TUESDAY: minutes(TUESDAY, price=price), WEDNESDAY: minutes(WEDNESDAY, price=price)}})
        self._stop = stop

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        self._stop()
        yield from super().fetch_batch(request)


class _WakingClock(FakeClock):
    """A day ahead, so that what others hold has run out. A thread that waits long enough wakes the one that hangs."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(LATER_THAN_ANY_LEASE)
        self._wake = wake

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.slept) == 3:
            self._wake()


@define
class _Hanging:
    """One who ingests on a thread of his own, and hangs."""

    pipeline: Pipeline
    stop: _Stop
    thread: threading.Thread = field(init=False)
    reports: list[IngestionReport] = field(factory=list)

    def start(self) -> None:
        self.thread = threading.Thread(target=lambda: self.reports.append(self.pipeline.ingest()))
        self.thread.start()
        assert self.stop.reached.wait(PATIENCE)

    def wake(self) -> None:
        self.stop.woken.set()
        self.thread.join(PATIENCE)


@contextmanager
def hanging(root: Path, *, where: str) -> Iterator[_Hanging]:
    """``where``: at the provider, or when the files are written and not yet recorded."""
    stop, nowhere = _Stop(), _Stop()
    nowhere.reached.set()
    provider = _HangingProvider(stop if where == "provider" else nowhere, price=100.0)
    with pipeline(config(root, ["AAPL"], TUESDAY, WEDNESDAY), provider) as hung:
        if where == "files":
            hung.subscribe(BarsStored, stop)
        found = _Hanging(hung, stop)
        found.start()
        try:
            yield found
        finally:
            found.wake()


def other(root: Path, clock: FakeClock, price: float = 200.0) -> tuple[Pipeline, ScriptedProvider]:
    provider = ScriptedProvider(
        {"AAPL": {TUESDAY: minutes(TUESDAY, price=price), WEDNESDAY: minutes(WEDNESDAY, price=price)}}
    )
    return pipeline(config(root, ["AAPL"], TUESDAY, WEDNESDAY), provider, clock), provider


def test_a_holder_that_wakes_from_a_request_does_not_write_days_that_were_taken_over(tmp_path: Path) -> None:
    with hanging(tmp_path, where="provider") as hung:
        taking, provider = other(tmp_path, FakeClock(LATER_THAN_ANY_LEASE))
        with taking:
            assert taking.ingest().state == "completed"
            before = stored_rows(tmp_path, "AAPL", TUESDAY)
            hung.wake()

            assert hung.reports[0].state == "completed"
            assert {str(day) for day in hung.reports[0].outcomes} == {f"AAPL {TUESDAY}", f"AAPL {WEDNESDAY}"}
            assert stored_rows(tmp_path, "AAPL", TUESDAY) == before
            assert before[0]["open"] == 200.0
            assert list((tmp_path / "revisions").rglob("*.parquet")) == [], "bars that came too late are no version"
            assert taking.verify().ok
            assert taking.coverage().ok
            assert taking.ingest().requests == 0
            assert len(provider.requests) == 1


def test_days_of_a_holder_that_hangs_while_writing_are_waited_for(tmp_path: Path) -> None:
    """To take them over would be to have the files of one and the checkpoint of the other."""
    with hanging(tmp_path, where="files") as hung:
        clock = _WakingClock(hung.wake)
        taking, provider = other(tmp_path, clock)
        with taking:
            waits = list[LeasesAwaited]()
            taking.subscribe(LeasesAwaited, waits.append)
            report = taking.ingest()

            assert (report.state, len(report.outcomes)) == ("completed", 2)
            assert len(clock.slept) >= 3
            assert waits == [LeasesAwaited(2, 0.0, (f"process {os.getpid()}",))]
            assert provider.requests == []
            assert stored_rows(tmp_path, "AAPL", TUESDAY)[0]["open"] == 100.0
            assert taking.verify().ok
            assert taking.coverage().ok
            assert hung.reports[0].state == "completed"
