"""What turns the events on a pipeline's bus into metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import product

from attrs import astuple, evolve, frozen

from marketpipe.metrics import series
from marketpipe.metrics.registered import PipelineMetrics
from marketpipe.metrics.series import ERROR_KINDS, OTHER, SYMBOL_DAY_FAILED, Series
from marketpipe.metrics.totals import RunTotals
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    AttemptLost,
    BarsStored,
    BarsValidated,
    FilesSynced,
    JobFinished,
    JobStarted,
    LeasesAwaited,
    OfficialDaysChanged,
    OfficialDaysValidated,
    RateLimitWaited,
    RequestCompleted,
    RequestRetried,
    RestatementsAdopted,
    RestatementsFound,
    RunFinished,
    SymbolDaysRecorded,
)

OFFICIAL_DAYS = "official_days"
SECONDS_PER_MINUTE = 60


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

    def __init__(
        self, read_labels: Callable[[], StoreLabels], metrics: PipelineMetrics, totals: RunTotals | None = None
    ) -> None:
        """``read_labels`` is called at the first event and as each job starts: only then a new store has a dataset.

        ``totals`` gets every count too, apart from what other pipelines count in the same registry.
        """
        self._read_labels, self._metrics, self._totals = read_labels, metrics, totals or RunTotals()
        self._known_labels: StoreLabels | None = None
        self._backlog = Counter[int]()
        self._changed_days = set[SymbolDay]()
        self._limit: float | None = None
        self._lease_waits = {False: 0.0, True: 0.0}
        """How long the present wait for minutes has taken, and that for official days; they may overlap."""
        self._lock = threading.Lock()

    def observe(self, bus: EventBus) -> None:
        bus.observe(RequestCompleted, self.on_request_completed)
        bus.observe(RequestRetried, lambda _: self._count(series.RETRIES))
        bus.observe(AttemptLost, lambda _: self._count(series.ATTEMPTS_LOST))
        bus.observe(RateLimitWaited, self.on_rate_limit_waited)
        bus.observe(LeasesAwaited, self.on_leases_awaited)
        bus.observe(BarsValidated, self.on_bars_validated)
        bus.observe(OfficialDaysValidated, self.on_bars_validated)
        bus.observe(FilesSynced, lambda event: self._count(series.FILES_SYNCED, event.files))
        bus.observe(BarsStored, self.on_bars_stored)
        bus.observe(JobStarted, self.on_job_started)
        bus.observe(SymbolDaysRecorded, self.on_symbol_days_recorded)
        bus.observe(JobFinished, self.on_job_finished)
        bus.observe(RunFinished, self.on_run_finished)
        bus.observe(OfficialDaysChanged, self.on_official_days_changed)
        bus.observe(RestatementsFound, self.on_restatements)
        bus.observe(RestatementsAdopted, self.on_restatements)

    def limit_is(self, requests_per_minute: float | None) -> None:
        """Show from the start of the next job on how many requests are allowed; None if there is no limit."""
        self._limit = requests_per_minute

    def on_request_completed(self, event: RequestCompleted) -> None:
        self._count(series.REQUESTS, 1, "error" if event.error_kind else "success")
        self._metrics.latency.labels(*self._labels.values).observe(event.seconds)
        self._totals.add_latency(event.seconds)
        if event.error_kind:
            self._count(series.ERRORS, 1, event.error_kind if event.error_kind in ERROR_KINDS else OTHER)
        if event.rate_limit_remaining is not None:
            remaining = self._metrics.gauge(series.RATE_LIMIT_REMAINING)
            remaining.labels(*self._labels.values).set(event.rate_limit_remaining)

    def on_rate_limit_waited(self, event: RateLimitWaited) -> None:
        self._count(series.RATE_LIMIT_WAITS)
        self._count(series.RATE_LIMIT_WAIT_SECONDS, event.seconds)

    def on_leases_awaited(self, event: LeasesAwaited) -> None:
        if not event.seconds:
            self._count(series.LEASE_WAITS)
        with self._lock:
            before = self._lease_waits[event.official] if event.seconds else 0.0
            waited, self._lease_waits[event.official] = event.seconds - before, event.seconds
        self._count(series.LEASE_WAIT_SECONDS, max(0.0, waited))

    def on_bars_validated(self, event: BarsValidated | OfficialDaysValidated) -> None:
        for finding in event.findings:
            self._count(series.RULE_VIOLATIONS, finding.count, finding.rule, str(finding.severity))

    def on_bars_stored(self, event: BarsStored) -> None:
        written = [day for day in event.days if day.sha256 is not None]
        self._count(series.PARTITIONS, len(written))
        self._count(series.BARS_INGESTED, sum(day.rows for day in written))
        self._count(series.BARS_REJECTED, sum(day.rejected for day in event.days))

    def on_job_started(self, event: JobStarted) -> None:
        self._known_labels = evolve(self._read_labels(), provider=event.provider)
        self._begin_at_zero()
        if self._limit is not None:
            self._metrics.gauge(series.RATE_LIMIT).labels(*self._labels.values).set(self._limit / SECONDS_PER_MINUTE)
        self._change_backlog(event.job_id, event.planned)

    def on_symbol_days_recorded(self, event: SymbolDaysRecorded) -> None:
        self._change_backlog(event.job_id, -len(event.outcomes))
        failed = [outcome.symbol_day for outcome in event.outcomes if outcome.error is not None]
        if failed:
            self._count(series.ERRORS, len(failed), SYMBOL_DAY_FAILED)
        if self._changed_days:
            self._adopt({outcome.symbol_day for outcome in event.outcomes} - set(failed))

    def _adopt(self, recorded: set[SymbolDay]) -> None:
        with self._lock:
            renewed = self._changed_days & recorded
            self._changed_days -= renewed
        self._count(series.RESTATEMENTS_ADOPTED, len(renewed), OFFICIAL_DAYS)

    def on_job_finished(self, event: JobFinished) -> None:
        self._change_backlog(event.job_id, -self._backlog[event.job_id])
        del self._backlog[event.job_id]

    def on_run_finished(self, event: RunFinished) -> None:
        self._count(series.JOBS, 1, event.kind, event.state)
        self._count(series.JOB_SECONDS, event.seconds, event.kind)

    def on_official_days_changed(self, event: OfficialDaysChanged) -> None:
        with self._lock:
            self._changed_days.update(change.symbol_day for change in event.changes)
        self._count(series.RESTATEMENTS_FOUND, len(event.changes), OFFICIAL_DAYS)

    def on_restatements(self, event: RestatementsFound | RestatementsAdopted) -> None:
        found = isinstance(event, RestatementsFound)
        self._count(
            series.RESTATEMENTS_FOUND if found else series.RESTATEMENTS_ADOPTED, event.symbol_days, event.source
        )

    @property
    def _labels(self) -> StoreLabels:
        known = self._known_labels
        if known is None:
            known = self._known_labels = self._read_labels()
        return known

    def _begin_at_zero(self) -> None:
        """Show known values before the first event: a rise from nothing to one is none for Prometheus."""
        for each in series.of_origin(series.Origin.RUN):
            for labels in product(*(each.values.get(label, ()) for label in each.labels)):
                if each.type == series.SeriesType.COUNTER:
                    self._metrics.counter(each).labels(*self._labels.values, *labels)

    def _change_backlog(self, job_id: int, days: int) -> None:
        """Add to the backlog of all jobs of the store: other pipelines of this process may have some too."""
        with self._lock:
            self._backlog[job_id] += days
        self._metrics.backlog.labels(*self._labels.values).inc(days)

    def _count(self, counter: Series, amount: float = 1, *labels: str) -> None:
        self._metrics.counter(counter).labels(*self._labels.values, *labels).inc(amount)
        self._totals.add(counter, labels, amount)
