"""What turns the events on a pipeline's bus into metrics."""

from __future__ import annotations

import threading
from collections import Counter

from attrs import astuple, evolve, frozen

from marketpipe.metrics.registered import PipelineMetrics
from marketpipe.shared_kernel.domain import errors
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsStored,
    BarsValidated,
    JobFinished,
    JobStarted,
    OfficialDaysValidated,
    RateLimitWaited,
    RequestCompleted,
    RequestRetried,
    SymbolDaysRecorded,
)

SYMBOL_DAY_FAILED, OTHER = "symbol_day_failed", "other"


def _kinds_below(error: type[errors.ProviderError]) -> set[str]:
    return {error.kind}.union(
        *(_kinds_below(each) for each in error.__subclasses__() if each.__module__ == errors.__name__)
    )


ERROR_KINDS = tuple(sorted({*_kinds_below(errors.ProviderError), SYMBOL_DAY_FAILED, OTHER}))
"""All values of the label ``kind``. A provider's own kind counts as "other": labels must stay few."""


@frozen
class StoreLabels:
    """The labels that every series has: which store, whose bars, for which hours."""

    store: str
    provider: str
    session: str

    @property
    def values(self) -> tuple[str, str, str]:
        return astuple(self)


class MetricsObserver:
    """Updates the metrics of one pipeline from the events on a bus. Events come on several threads."""

    def __init__(self, labels: StoreLabels, metrics: PipelineMetrics) -> None:
        self._labels, self._metrics = labels, metrics
        self._backlog = Counter[int]()
        self._lock = threading.Lock()

    def observe(self, bus: EventBus) -> None:
        bus.observe(RequestCompleted, self.on_request_completed)
        bus.observe(RequestRetried, self.on_request_retried)
        bus.observe(RateLimitWaited, self.on_rate_limit_waited)
        bus.observe(BarsValidated, self.on_bars_validated)
        bus.observe(OfficialDaysValidated, self.on_bars_validated)
        bus.observe(BarsStored, self.on_bars_stored)
        bus.observe(JobStarted, self.on_job_started)
        bus.observe(SymbolDaysRecorded, self.on_symbol_days_recorded)
        bus.observe(JobFinished, self.on_job_finished)

    def on_request_completed(self, event: RequestCompleted) -> None:
        store, metrics = self._labels.values, self._metrics
        metrics.requests.labels(*store, "error" if event.error_kind else "success").inc()
        metrics.latency.labels(*store).observe(event.seconds)
        if event.error_kind:
            metrics.errors.labels(*store, event.error_kind if event.error_kind in ERROR_KINDS else OTHER).inc()
        if event.rate_limit_remaining is not None:
            metrics.rate_limit_remaining.labels(*store).set(event.rate_limit_remaining)

    def on_request_retried(self, _: RequestRetried) -> None:
        self._metrics.retries.labels(*self._labels.values).inc()

    def on_rate_limit_waited(self, event: RateLimitWaited) -> None:
        self._metrics.waits.labels(*self._labels.values).inc()
        self._metrics.waited.labels(*self._labels.values).inc(event.seconds)

    def on_bars_validated(self, event: BarsValidated | OfficialDaysValidated) -> None:
        for finding in event.findings:
            labels = *self._labels.values, finding.rule, str(finding.severity)
            self._metrics.rule_violations.labels(*labels).inc(finding.count)

    def on_bars_stored(self, event: BarsStored) -> None:
        store, written = self._labels.values, [day for day in event.days if day.sha256 is not None]
        self._metrics.partitions.labels(*store).inc(len(written))
        self._metrics.bars_ingested.labels(*store).inc(sum(day.rows for day in written))
        self._metrics.bars_rejected.labels(*store).inc(sum(day.rejected for day in event.days))

    def on_job_started(self, event: JobStarted) -> None:
        self._labels = evolve(self._labels, provider=event.provider)  # an import has a provider of its own
        self._change_backlog(event.job_id, event.planned)

    def on_symbol_days_recorded(self, event: SymbolDaysRecorded) -> None:
        self._change_backlog(event.job_id, -len(event.outcomes))
        failed = sum(outcome.error is not None for outcome in event.outcomes)
        if failed:
            self._metrics.errors.labels(*self._labels.values, SYMBOL_DAY_FAILED).inc(failed)

    def on_job_finished(self, event: JobFinished) -> None:
        self._change_backlog(event.job_id, -self._backlog[event.job_id])
        del self._backlog[event.job_id]

    def _change_backlog(self, job_id: int, days: int) -> None:
        """Add to the backlog of all jobs of the store: other pipelines of this process may have some too."""
        with self._lock:
            self._backlog[job_id] += days
        self._metrics.backlog.labels(*self._labels.values).inc(days)
