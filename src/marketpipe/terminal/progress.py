from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from attrs import define, field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.events import (
    AggregatesRefreshed,
    AuditStarted,
    BarsCompared,
    JobFinished,
    JobStarted,
    RateLimitWaited,
    RequestCompleted,
    SymbolDaysRecorded,
)

SECONDS_BETWEEN_LINES = 5.0


@define
class Tally:
    """What there is to show; symbol-days in ``done`` and ``planned``."""

    activity: str = "ingesting"
    planned: int = 0
    settled: int = 0
    done: int = 0
    bars: int = 0
    rejected: int = 0
    failed: int = 0
    requests: int = 0
    limit_left: int | None = None
    waiting: bool = False
    aggregating: bool = False
    started: float = field(factory=time.monotonic)

    def line(self) -> str:
        rate = self.bars / max(0.001, time.monotonic() - self.started)
        parts = [f"{self.bars:,} bars", f"{rate:,.0f} bars/s", f"{self.requests:,} requests"]
        if self.limit_left is not None:
            parts.append(f"{self.limit_left:,} left of the rate limit")
        if self.rejected:
            parts.append(f"{self.rejected:,} rejected")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.waiting:
            parts.append("waiting for the rate limit")
        if self.aggregating:
            parts.append("refreshing the aggregates")
        return ", ".join(parts)


class _View(Protocol):
    def show(self, tally: Tally) -> None: ...


class _Follower:
    """Counts events under a lock, as they come on several threads, and shows them."""

    def __init__(self, view: _View) -> None:
        self._tally, self._view, self._lock = Tally(), view, threading.Lock()

    def follow(self, pipeline: Pipeline) -> None:
        pipeline.subscribe(JobStarted, self._on_started)
        pipeline.subscribe(SymbolDaysRecorded, self._on_recorded)
        pipeline.subscribe(RequestCompleted, self._on_request)
        pipeline.subscribe(RateLimitWaited, self._on_wait)
        pipeline.subscribe(JobFinished, self._on_finished)
        pipeline.subscribe(AggregatesRefreshed, self._on_refreshed)
        pipeline.subscribe(AuditStarted, self._on_audit_started)
        pipeline.subscribe(BarsCompared, self._on_compared)

    @contextmanager
    def _changing(self) -> Iterator[Tally]:
        with self._lock:
            yield self._tally
            self._view.show(self._tally)

    def _on_started(self, event: JobStarted) -> None:
        with self._changing() as tally:
            tally.activity, tally.done = "ingesting", 0  # an adoption follows an audit
            tally.planned, tally.settled = event.planned, event.settled

    def _on_audit_started(self, event: AuditStarted) -> None:
        with self._changing() as tally:
            tally.activity, tally.planned = "auditing", event.planned

    def _on_compared(self, event: BarsCompared) -> None:
        with self._changing() as tally:
            tally.done += len(event.days)
            tally.bars += sum(day.unchanged + day.changed + day.added for day in event.days)

    def _on_recorded(self, event: SymbolDaysRecorded) -> None:
        with self._changing() as tally:
            tally.done += len(event.outcomes)
            tally.bars += sum(outcome.rows for outcome in event.outcomes)
            tally.rejected += sum(outcome.rejected for outcome in event.outcomes)
            tally.failed += sum(outcome.error is not None for outcome in event.outcomes)

    def _on_request(self, event: RequestCompleted) -> None:
        with self._changing() as tally:
            tally.requests += 1
            tally.limit_left, tally.waiting = event.rate_limit_remaining, False

    def _on_wait(self, _: RateLimitWaited) -> None:
        with self._changing() as tally:
            tally.waiting = True

    def _on_finished(self, event: JobFinished) -> None:
        with self._changing() as tally:
            tally.aggregating = event.state != "interrupted"

    def _on_refreshed(self, _: AggregatesRefreshed) -> None:
        with self._changing() as tally:
            tally.aggregating = False


class ProgressBar:
    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("symbol-days · {task.fields[details]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
        )
        self._task = self._progress.add_task("planning", total=None, details="")
        self._follower = _Follower(self)

    def follow(self, pipeline: Pipeline) -> None:
        self._follower.follow(pipeline)

    def show(self, tally: Tally) -> None:
        self._progress.update(
            self._task,
            total=tally.planned,
            completed=tally.done,
            description=tally.activity,
            details=tally.line(),
        )

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.stop()


class ProgressLines:
    """A line at the start, at most one every five seconds, and one when everything is done."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._last, self._all_done = write, 0.0, False
        self._follower = _Follower(self)

    def follow(self, pipeline: Pipeline) -> None:
        self._follower.follow(pipeline)

    def show(self, tally: Tally) -> None:
        now, all_done = time.monotonic(), tally.done >= tally.planned
        if now - self._last < SECONDS_BETWEEN_LINES and (not all_done or self._all_done):
            return
        self._last, self._all_done = now, all_done
        known = f" ({tally.settled:,} known before)" if tally.settled else ""
        self._write(f"{tally.done:,} of {tally.planned:,} symbol-days{known}, {tally.line()}")

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Nothing to put back."""
