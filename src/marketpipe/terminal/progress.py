"""The progress of an ingestion or an audit: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from attrs import define, field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.symbol import SymbolDayOutcome
from marketpipe.shared_kernel.events import (
    AggregatesRefreshed,
    AuditStarted,
    BarsCompared,
    Event,
    JobFinished,
    JobStarted,
    OfficialDaysRequested,
    OfficialDaysStored,
    RateLimitWaited,
    RequestCompleted,
    SymbolDaysRecorded,
)
from marketpipe.terminal.output import err

SECONDS_BETWEEN_LINES = 5.0
OFFICIAL = "requesting official days"


@contextmanager
def show_progress(pipeline: Pipeline) -> Iterator[None]:
    """Show on standard error what the pipeline does within the block."""
    console = Console(stderr=True)
    if not console.is_terminal:
        follow(pipeline, ProgressLines(err).show)
        yield
        return
    with progress_bar(console) as show:
        follow(pipeline, show)
        yield


@define
class RunCounts:
    """Counts of one run. ``planned``, ``settled``, ``done`` and ``failed`` are symbol-days.

    ``settled`` needed no request. ``rate_limit_left`` is the number of requests that the provider still allows in its
    current window, None if it does not tell. ``official`` is the number of official days that were answered.
    ``started`` is a monotonic time in seconds.
    """

    activity: str = "ingesting"
    planned: int = 0
    settled: int = 0
    done: int = 0
    bars: int = 0
    rejected: int = 0
    failed: int = 0
    official: int = 0
    requests: int = 0
    rate_limit_left: int | None = None
    waiting: bool = False
    aggregating: bool = False
    started: float = field(factory=time.monotonic)

    def add(self, event: Event) -> bool:
        """Return whether the event is one of those that are counted."""
        match event:
            case JobStarted():
                self.activity, self.done = "ingesting", 0  # an audit with --adopt ends with an ingestion
                self.planned, self.settled = event.planned, event.settled
            case AuditStarted():
                self.activity, self.planned = "auditing", event.planned
            case BarsCompared():
                self.done += len(event.days)
                self.bars += sum(day.unchanged + day.changed + day.added for day in event.days)
            case SymbolDaysRecorded():
                self._add_outcomes(event.outcomes)
            case OfficialDaysRequested():
                self.activity = OFFICIAL
            case OfficialDaysStored():
                self.official += len(event.request.symbols) * len(event.request.sessions)
            case RequestCompleted():
                self.requests += 1
                self.rate_limit_left, self.waiting = event.rate_limit_remaining, False
            case RateLimitWaited():
                self.waiting = True
            case JobFinished():
                self.aggregating = event.state != "interrupted"
            case AggregatesRefreshed():
                self.aggregating = False
            case _:
                return False
        return True

    def _add_outcomes(self, outcomes: Sequence[SymbolDayOutcome]) -> None:
        self.done += len(outcomes)
        self.bars += sum(outcome.rows for outcome in outcomes)
        self.rejected += sum(outcome.rejected for outcome in outcomes)
        self.failed += sum(outcome.error is not None for outcome in outcomes)

    def details(self) -> str:
        """Return everything but the symbol-days, as text."""
        rate = self.bars / max(0.001, time.monotonic() - self.started)
        parts = [f"{self.bars:,} bars", f"{rate:,.0f} bars/s", f"{self.requests:,} requests"]
        if self.official:
            parts.append(f"{self.official:,} official days")
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


def follow(pipeline: Pipeline, show: Callable[[RunCounts], None]) -> None:
    """Count the events of a pipeline and call ``show`` after each."""
    counts, lock = RunCounts(), threading.Lock()

    def on_event(event: Event) -> None:
        with lock:  # events come on several threads: one of them at a time counts and shows
            if counts.add(event):
                show(counts)

    pipeline.subscribe(Event, on_event)


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[RunCounts], None]]:
    """Draw a bar in place while the block runs. Yields the function that updates it."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("symbol-days · {task.fields[details]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )
    task = progress.add_task("planning", total=None, details="")

    def show(counts: RunCounts) -> None:
        progress.update(task, total=counts.planned, completed=counts.done)
        progress.update(task, description=counts.activity, details=counts.details())

    with progress:
        yield show


class ProgressLines:
    """A line at the start, at most one every five seconds, and one when everything is done."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._written_at, self._all_done = write, 0.0, False

    def show(self, counts: RunCounts) -> None:
        now, is_planned = time.monotonic(), counts.activity != OFFICIAL  # they come before the plan of the minutes
        all_done = is_planned and counts.done >= counts.planned
        if now - self._written_at < SECONDS_BETWEEN_LINES and (not all_done or self._all_done):
            return
        self._written_at, self._all_done = now, all_done
        settled = f" ({counts.settled:,} already settled)" if counts.settled else ""
        if not is_planned:
            self._write(f"{counts.activity}, {counts.details()}")
            return
        self._write(f"{counts.done:,} of {counts.planned:,} symbol-days{settled}, {counts.details()}")
