"""The series of a running process in one registry of prometheus_client.

What was created belongs to the registry itself, so that it ends with the registry, and is found again by a module that
was loaded a second time: by ``importlib.reload``, Jupyter's autoreload or Streamlit.
"""

from __future__ import annotations

import threading
from typing import Any, Final, cast
from weakref import WeakSet

from attrs import define, field
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from marketpipe.metrics import series as table
from marketpipe.metrics.series import LATENCY_BUCKETS, Origin, Series, SeriesType, of_origin
from marketpipe.shared_kernel.domain.errors import ConfigurationError

Registry = CollectorRegistry
_METRICS, _COLLECTORS, _NAMES = "_marketpipe_metrics", "_marketpipe_collectors", "_marketpipe_names"
_LOCK: Final = threading.Lock()
"""Two pipelines that start at once with one registry must not both create its series."""


@define(eq=False, slots=False)
class PipelineMetrics:
    """The series of running pipelines in one registry. Get instances from ``metrics_in`` only."""

    registry: CollectorRegistry = field(repr=False)

    def __attrs_post_init__(self) -> None:
        self._collectors = {
            series.name: collector_in(self.registry, series) for series in of_origin(Origin.RUN, Origin.PROGRESS)
        }
        self.requests, self.errors = self.counter(table.REQUESTS), self.counter(table.ERRORS)
        self.latency, self.backlog = self.histogram(table.LATENCY), self.gauge(table.BACKLOG)

    def counter(self, series: Series) -> Counter:
        return cast(Counter, self._collectors[series.name])

    def gauge(self, series: Series) -> Gauge:
        return cast(Gauge, self._collectors[series.name])

    def histogram(self, series: Series) -> Histogram:
        return cast(Histogram, self._collectors[series.name])


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
    if series.type == SeriesType.HISTOGRAM:
        return Histogram(*described, buckets=LATENCY_BUCKETS, registry=registry)
    return (Counter if series.type == SeriesType.COUNTER else Gauge)(*described, registry=registry)


class StoreNames:
    """Which store each value of the label ``store`` means in one registry: two stores must not be counted as one."""

    def __init__(self) -> None:
        self._lock, self._stores = threading.Lock(), dict[str, tuple[str, WeakSet[Any]]]()

    def reserve(self, name: str, place: str, owner: object) -> None:
        """Let ``owner``, as long as it lives, or until ``release``, use the name for the store at ``place``.

        Raises ``ConfigurationError`` if another owner uses it for another place.
        """
        with self._lock:
            known, owners = self._stores.get(name, (place, WeakSet()))
            if known != place and len(owners):
                raise ConfigurationError(
                    f"metrics.store: {name!r} is the name of two stores in one registry, {known} and {place}: their "
                    "bars would be added up. Give each a name of its own, or close the first one"
                )
            self._stores[name] = place, owners if known == place else WeakSet()
            self._stores[name][1].add(owner)

    def release(self, name: str, owner: object) -> None:
        with self._lock:
            self._stores[name][1].discard(owner)


def names_in(registry: CollectorRegistry) -> StoreNames:
    names: StoreNames = vars(registry).setdefault(_NAMES, StoreNames())
    return names


def metrics_in(registry: Registry | None) -> PipelineMetrics:
    """Return the metrics of a registry, created at the first call; None means the default registry."""
    chosen = REGISTRY if registry is None else registry
    with _LOCK:
        known = vars(chosen).get(_METRICS)
        if not isinstance(known, PipelineMetrics):
            known = vars(chosen)[_METRICS] = PipelineMetrics(chosen)
        return known
