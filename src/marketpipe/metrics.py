"""Prometheus metrics of pipelines, updated from the events on their bus.

The constants ``REQUESTS``, ``ERRORS``, ``LATENCY`` and ``BACKLOG`` belong to the default registry of
prometheus_client; ``metrics_in`` gives the same metrics in another registry. The gauges of
``marketpipe metrics`` about what a store has are in ``terminal/store.py``.
"""

from __future__ import annotations

import threading
from typing import Final
from weakref import WeakKeyDictionary

from attrs import define, field
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsStored,
    JobFinished,
    JobStarted,
    RateLimitWaited,
    RequestCompleted,
    RequestRetried,
    SymbolDaysRecorded,
)

Registry = CollectorRegistry
LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds."""


@define(eq=False, slots=False)
class PipelineMetrics:
    """All metrics of a pipeline in one registry.

    A registry refuses a second metric of the same name, so get instances from ``metrics_in`` only.
    """

    registry: CollectorRegistry = field(repr=False)

    def __attrs_post_init__(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"marketpipe_{name}", text, ("provider", *labels), registry=self.registry)

        self.requests = counter("requests_total", "Requests to the provider, by outcome: success or error.", "outcome")
        self.errors = counter("errors_total", "Failed requests and symbol-days, by kind of error.", "kind")
        self.retries = counter("retries_total", "Requests that were repeated after a failure.")
        self.bars_ingested = counter("bars_ingested_total", "Bars written to day files.")
        self.bars_rejected = counter("bars_rejected_total", "Bars that validation moved to quarantine.")
        self.partitions = counter("partitions_written_total", "Day files written.")
        self.waits = counter("rate_limit_waits_total", "Waits of requests for the rate limit.")
        self.waited = counter(
            "rate_limit_wait_seconds_total", "Seconds of waiting for the rate limit, counted as a wait begins."
        )
        self.latency = Histogram(
            "marketpipe_request_latency_seconds",
            "Seconds from sending a request to the end of its response.",
            ("provider",),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.backlog = Gauge(
            "marketpipe_backlog_symbol_days",
            "Symbol-days that are planned and not recorded yet.",
            ("provider",),
            registry=self.registry,
        )


DEFAULT: Final = PipelineMetrics(REGISTRY)
REQUESTS, ERRORS, LATENCY, BACKLOG = DEFAULT.requests, DEFAULT.errors, DEFAULT.latency, DEFAULT.backlog

_BY_REGISTRY: Final = WeakKeyDictionary[CollectorRegistry, PipelineMetrics]({REGISTRY: DEFAULT})
_BY_REGISTRY_LOCK: Final = threading.Lock()
"""Two pipelines that start at once with one registry must not both create its metrics."""


def metrics_in(registry: Registry | None) -> PipelineMetrics:
    """Return the metrics of a registry, created at the first call; None means the default registry."""
    chosen = REGISTRY if registry is None else registry
    with _BY_REGISTRY_LOCK:
        if chosen not in _BY_REGISTRY:
            _BY_REGISTRY[chosen] = PipelineMetrics(chosen)
        return _BY_REGISTRY[chosen]


class MetricsObserver:
    """Updates the metrics from the events on a bus. Stored bars are those of the provider whose job started last."""

    def __init__(self, metrics: PipelineMetrics) -> None:
        self._provider, self._metrics = "", metrics

    def observe(self, bus: EventBus) -> None:
        bus.observe(RequestCompleted, self.on_request_completed)
        bus.observe(RequestRetried, self.on_request_retried)
        bus.observe(RateLimitWaited, self.on_rate_limit_waited)
        bus.observe(BarsStored, self.on_bars_stored)
        bus.observe(JobStarted, self.on_job_started)
        bus.observe(SymbolDaysRecorded, self.on_symbol_days_recorded)
        bus.observe(JobFinished, self.on_job_finished)

    def on_request_completed(self, event: RequestCompleted) -> None:
        self._metrics.requests.labels(event.provider, "error" if event.error_kind else "success").inc()
        self._metrics.latency.labels(event.provider).observe(event.seconds)
        if event.error_kind:
            self._metrics.errors.labels(event.provider, event.error_kind).inc()

    def on_request_retried(self, event: RequestRetried) -> None:
        self._metrics.retries.labels(event.provider).inc()

    def on_rate_limit_waited(self, event: RateLimitWaited) -> None:
        self._metrics.waits.labels(event.provider).inc()
        self._metrics.waited.labels(event.provider).inc(event.seconds)

    def on_bars_stored(self, event: BarsStored) -> None:
        written = [day for day in event.days if day.sha256 is not None]
        self._metrics.partitions.labels(self._provider).inc(len(written))
        self._metrics.bars_ingested.labels(self._provider).inc(sum(day.rows for day in written))
        self._metrics.bars_rejected.labels(self._provider).inc(sum(day.rejected for day in event.days))

    def on_job_started(self, event: JobStarted) -> None:
        self._provider = event.provider
        self._metrics.backlog.labels(event.provider).set(event.planned)

    def on_symbol_days_recorded(self, event: SymbolDaysRecorded) -> None:
        self._metrics.backlog.labels(event.provider).dec(len(event.outcomes))
        failed = sum(outcome.error is not None for outcome in event.outcomes)
        if failed:
            self._metrics.errors.labels(event.provider, "symbol_day_failed").inc(failed)

    def on_job_finished(self, event: JobFinished) -> None:
        if event.state == "completed":
            self._metrics.backlog.labels(event.provider).set(0)
