"""Prometheus metrics. The names of this module belong to prometheus_client's default registry.

``PipelineMetrics`` makes the same metrics in any other registry; ``MetricsObserver`` feeds either from a bus.
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


@define(eq=False, slots=False)
class PipelineMetrics:
    """Every metric of a pipeline, in ``registry``. Prometheus refuses a name twice: ask ``metrics_in`` for it."""

    registry: CollectorRegistry = field(repr=False)

    def __attrs_post_init__(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"marketpipe_{name}", text, ("provider", *labels), registry=self.registry)

        self.requests = counter("requests_total", "Requests to the market data provider, by outcome.", "outcome")
        self.errors = counter("errors_total", "Failed requests and symbol-days, by kind of error.", "kind")
        self.retries = counter("retries_total", "Requests that were made again.")
        self.bars_ingested = counter("bars_ingested_total", "Bars in the day files that were written.")
        self.bars_rejected = counter("bars_rejected_total", "Bars that validation sent to quarantine.")
        self.partitions = counter("partitions_written_total", "Day files written.")
        self.waits = counter("rate_limit_waits_total", "Times a request waited for the rate limit.")
        self.waited = counter("rate_limit_wait_seconds_total", "Seconds spent waiting for the rate limit.")
        self.latency = Histogram(
            "marketpipe_request_latency_seconds",
            "Seconds from sending a request to having parsed its answer.",
            ("provider",),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.backlog = Gauge(
            "marketpipe_backlog_symbol_days",
            "Symbol-days planned and not yet recorded.",
            ("provider",),
            registry=self.registry,
        )


DEFAULT: Final = PipelineMetrics(REGISTRY)
REQUESTS, ERRORS, LATENCY, BACKLOG = DEFAULT.requests, DEFAULT.errors, DEFAULT.latency, DEFAULT.backlog

_BY_REGISTRY: Final = WeakKeyDictionary[CollectorRegistry, PipelineMetrics]({REGISTRY: DEFAULT})

_MAKING: Final = threading.Lock()


def metrics_in(registry: Registry | None) -> PipelineMetrics:
    """The one set of metrics of a registry; None stands for the default registry."""
    wanted = REGISTRY if registry is None else registry
    with _MAKING:
        if wanted not in _BY_REGISTRY:
            _BY_REGISTRY[wanted] = PipelineMetrics(wanted)
        return _BY_REGISTRY[wanted]


class MetricsObserver:
    """Turns events into metrics."""

    def __init__(self, provider: str, metrics: PipelineMetrics) -> None:
        self._provider, self._metrics = provider, metrics

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
        self._metrics.backlog.labels(event.provider).set(event.planned)

    def on_symbol_days_recorded(self, event: SymbolDaysRecorded) -> None:
        self._metrics.backlog.labels(event.provider).dec(len(event.outcomes))
        failed = sum(outcome.error is not None for outcome in event.outcomes)
        if failed:
            self._metrics.errors.labels(event.provider, "symbol_day_failed").inc(failed)

    def on_job_finished(self, event: JobFinished) -> None:
        if event.state == "completed":
            self._metrics.backlog.labels(event.provider).set(0)
