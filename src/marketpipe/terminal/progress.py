"""The progress of an ingestion or an audit: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

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
from marketpipe.terminal.output import err

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def show_progress(pipeline: Pipeline) -> Iterator[None]:
    """Show on standard error what the pipeline does within the block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        RunCounter(ProgressLines(err).show).follow(pipeline)
        yield
        return
    with ProgressBar(console) as bar:
        RunCounter(bar.show).follow(pipeline)
        yield


@define
class RunCounts:
    """Counts of one run. ``planned``, ``settled``, ``done`` and ``failed`` are symbol-days.

    ``settled`` needed no request. ``rate_limit_left`` is the number of requests that the provider still allows in its
    current window, None if it does not tell. ``started`` is a monotonic time in seconds.
    """

    activity: str = "ingesting"
    planned: int = 0
    settled: int = 0
    done: int = 0
    bars: int = 0
    rejected: int = 0
    failed: int = 0
    requests: int = 0
    rate_limit_left: int | None = None
    waiting: bool = False
    aggregating: bool = False
    started: float = field(factory=time.monotonic)

    def details(self) -> str:
        """Return everything but the symbol-days, as text."""
        rate = self.bars / max(0.001, time.monotonic() - self.started)
        parts = [f"{self.bars:,} bars", f"{rate:,.0f} bars/s", f"{self.requests:,} requests"]
        if self.rate_limit_left is not None:
            parts.append(f"{self.rate_limit_left:,} left of the rate limit")
        if self.rejected:
            parts.append(f"{self.rejected:,} rejected")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.waiting:
            parts.append("waiting for the rate limit")
        if self.aggregating:
            parts.append("refreshing the aggregates")
        return ", ".join(parts)


class RunCounter:
    """Counts the events of a pipeline and calls ``show`` after each.

    Events come on several threads; a lock lets one of them count and show at a time.
    """

    def __init__(self, show: Callable[[RunCounts], None]) -> None:
        self._counts, self._show, self._lock = RunCounts(), show, threading.Lock()

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
    def _changing(self) -> Iterator[RunCounts]:
        with self._lock:
            yield self._counts
            self._show(self._counts)

    def _on_started(self, event: JobStarted) -> None:
        with self._changing() as counts:
            counts.activity, counts.done = "ingesting", 0  # an audit with --adopt ends with an ingestion
            counts.planned, counts.settled = event.planned, event.settled

    def _on_audit_started(self, event: AuditStarted) -> None:
        with self._changing() as counts:
            counts.activity, counts.planned = "auditing", event.planned

    def _on_compared(self, event: BarsCompared) -> None:
        with self._changing() as counts:
            counts.done += len(event.days)
            counts.bars += sum(day.unchanged + day.changed + day.added for day in event.days)

    def _on_recorded(self, event: SymbolDaysRecorded) -> None:
        with self._changing() as counts:
            counts.done += len(event.outcomes)
            counts.bars += sum(outcome.rows for outcome in event.outcomes)
            counts.rejected += sum(outcome.rejected for outcome in event.outcomes)
            counts.failed += sum(outcome.error is not None for outcome in event.outcomes)

    def _on_request(self, event: RequestCompleted) -> None:
        with self._changing() as counts:
            counts.requests += 1
            counts.rate_limit_left, counts.waiting = event.rate_limit_remaining, False

    def _on_wait(self, _: RateLimitWaited) -> None:
        with self._changing() as counts:
            counts.waiting = True

    def _on_finished(self, event: JobFinished) -> None:
        with self._changing() as counts:
            counts.aggregating = event.state != "interrupted"

    def _on_refreshed(self, _: AggregatesRefreshed) -> None:
        with self._changing() as counts:
            counts.aggregating = False


class ProgressBar:
    """A bar that is redrawn in place while the block runs."""

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

    def show(self, counts: RunCounts) -> None:
        self._progress.update(
            self._task,
            total=counts.planned,
            completed=counts.done,
            description=counts.activity,
            details=counts.details(),
        )

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.stop()


class ProgressLines:
    """A line at the start, at most one every five seconds, and one when everything is done."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._written_at, self._all_done = write, 0.0, False

    def show(self, counts: RunCounts) -> None:
        now, all_done = time.monotonic(), counts.done >= counts.planned
        if now - self._written_at < SECONDS_BETWEEN_LINES and (not all_done or self._all_done):
            return
        self._written_at, self._all_done = now, all_done
        settled = f" ({counts.settled:,} already done)" if counts.settled else ""
        self._write(f"{counts.done:,} of {counts.planned:,} symbol-days{settled}, {counts.details()}")
