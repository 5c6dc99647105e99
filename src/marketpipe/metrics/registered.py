"""The series of a running process in one registry of prometheus_client.

What was created belongs to the registry itself, so that it ends with the registry, and is found again by a module that
was loaded a second time: by ``importlib.reload``, Jupyter's autoreload or Streamlit.
"""

from __future__ import annotations

import threading
from typing import Any, Final, cast

from attrs import define, field
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from marketpipe.metrics import series as table
from marketpipe.metrics.series import LATENCY_BUCKETS, Series, SeriesType

Registry = CollectorRegistry
_METRICS, _COLLECTORS = "_marketpipe_metrics", "_marketpipe_collectors"
_LOCK: Final = threading.Lock()
"""Two pipelines that start at once with one registry must not both create its series."""


@define(eq=False, slots=False)
class PipelineMetrics:
    """The series of running pipelines in one registry. Get instances from ``metrics_in`` only."""

    registry: CollectorRegistry = field(repr=False)

    def __attrs_post_init__(self) -> None:
        self.requests = self._counter(table.REQUESTS)
        self.errors = self._counter(table.ERRORS)
        self.retries = self._counter(table.RETRIES)
        self.latency = cast(Histogram, collector_in(self.registry, table.LATENCY))
        self.waits = self._counter(table.RATE_LIMIT_WAITS)
        self.waited = self._counter(table.RATE_LIMIT_WAIT_SECONDS)
        self.bars_ingested = self._counter(table.BARS_INGESTED)
        self.bars_rejected = self._counter(table.BARS_REJECTED)
        self.rule_violations = self._counter(table.RULE_VIOLATIONS)
        self.partitions = self._counter(table.PARTITIONS)
        self.backlog = self._gauge(table.BACKLOG)
        self.rate_limit_remaining = self._gauge(table.RATE_LIMIT_REMAINING)

    def _counter(self, series: Series) -> Counter:
        return cast(Counter, collector_in(self.registry, series))

    def _gauge(self, series: Series) -> Gauge:
        return cast(Gauge, collector_in(self.registry, series))


def collector_in(registry: CollectorRegistry, series: Series) -> Counter | Gauge | Histogram:
    """Return the collector of a series, created at the first call.

    One that an earlier version of this module made with other labels is replaced: the registry refuses a second one.
    """
    known: dict[str, tuple[object, Any]] = vars(registry).setdefault(_COLLECTORS, {})
    signature = str(series.type), series.help, series.all_labels
    if series.name in known:
        former, collector = known[series.name]
        if former == signature:
            return cast("Counter | Gauge | Histogram", collector)
        registry.unregister(collector)
    made = _new(registry, series)
    known[series.name] = signature, made
    return made


def _new(registry: CollectorRegistry, series: Series) -> Counter | Gauge | Histogram:
    described = series.full_name, series.help, series.all_labels
    if series.type is SeriesType.HISTOGRAM:
        return Histogram(*described, buckets=LATENCY_BUCKETS, registry=registry)
    return (Counter if series.type is SeriesType.COUNTER else Gauge)(*described, registry=registry)


def metrics_in(registry: Registry | None) -> PipelineMetrics:
    """Return the metrics of a registry, created at the first call; None means the default registry."""
    chosen = REGISTRY if registry is None else registry
    with _LOCK:
        known = vars(chosen).get(_METRICS)
        if not isinstance(known, PipelineMetrics):
            known = vars(chosen)[_METRICS] = PipelineMetrics(chosen)
        return known
