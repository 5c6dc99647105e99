"""The methods of ``Store`` that show its metrics and its health: served, written, pushed, or in a registry."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import asdict, frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from marketpipe.config import MetricsConfig, PipelineConfig, StoreConfig
from marketpipe.measuring import (
    MICROS,
    PAUSE,
    MeasuredStore,
    Measurement,
    configured_labels,
    labels_of,
    measure,
    not_measured,
    unreadable,
)
from marketpipe.metrics import PipelineMetrics, series
from marketpipe.metrics.delivery import push, write_textfile
from marketpipe.metrics.exposition import (
    ExposedStores,
    ReadFamilies,
    Sample,
    families_of,
    families_of_totals,
    stores_in,
)
from marketpipe.metrics.observer import SECONDS_PER_MINUTE
from marketpipe.metrics.registered import StoreNames, names_in
from marketpipe.metrics_server import MetricsServer
from marketpipe.provider_registry import capabilities_without_keys
from marketpipe.reports import HealthReport
from marketpipe.shared_kernel.domain.errors import ConfigurationError, MarketPipeError, PipelineClosedError
from marketpipe.shared_kernel.domain.store_inventory import TotalKey
from marketpipe.shared_kernel.events import MetricsNotDelivered

from . import derived, place_parts

logger = logging.getLogger("marketpipe.metrics")
LONGEST_FIRST_WAIT: Final = 2.0
"""Seconds that a scrape waits for the first measurement: Prometheus gives up after ten."""
ReadMeasurement = Callable[[], Measurement]


class MonitoredStore(MeasuredStore, Protocol):
    """What monitoring needs of a ``Store``."""

    _metrics: PipelineMetrics

    @property
    def _monitor(self) -> StoreMonitor: ...


class StoreMonitor:
    """Measures a store for scrapes, which do not wait for it: each gets the latest measurement that is complete.

    A thread makes another one if that is older than ``metrics.refresh_seconds``, and than ten times the time it took.
    """

    def __init__(self, store: MeasuredStore, longest_first_wait: float = LONGEST_FIRST_WAIT) -> None:
        self._store, self._lock, self._first_wait = store, threading.Lock(), longest_first_wait
        self._latest = dict[bool, tuple[float, float, Measurement]]()
        self._threads = dict[bool, threading.Thread]()

    def now(self, *, assess: bool = True) -> Measurement:
        """Measure the store now. One that cannot be read is not ready, for that reason."""
        clock = self._store._parts.clock
        started = clock.monotonic()
        try:
            found = measure(self._store, assess=assess)
        except (MarketPipeError, OSError) as error:
            found = unreadable(error, clock.now())
        ended = clock.monotonic()
        self._latest[assess] = ended, ended - started, found
        return found

    def recent(self, *, assess: bool = True) -> Measurement:
        """Return the latest measurement, or wait for the first one, but not for long."""
        with self._lock:
            thread = self._threads.get(assess)
            if self._is_due(assess) and (thread is None or not thread.is_alive()):
                thread = threading.Thread(target=self._again, args=(assess,), name="marketpipe-measure", daemon=True)
                self._threads[assess] = thread
                thread.start()
        if assess not in self._latest and thread is not None:
            thread.join(self._first_wait)
        known = self._latest.get(assess)
        return not_measured(self._store._parts.clock.now()) if known is None else known[2]

    def _is_due(self, assess: bool) -> bool:
        if assess not in self._latest:
            return True
        ended, seconds, _ = self._latest[assess]
        age = self._store._parts.clock.monotonic() - ended
        return age > max(self._store.config.metrics.refresh_seconds, PAUSE * seconds)

    def _again(self, assess: bool) -> None:
        try:
            self.now(assess=assess)
        except PipelineClosedError:
            """The store was closed meanwhile."""
        except RuntimeError:  # such as that of an executor which was closed
            if self._is_open():
                raise

    def _is_open(self) -> bool:
        with suppress(PipelineClosedError):
            return self._store._parts is not None
        return False


def begin(store: MonitoredStore) -> None:
    """Reserve the store's name in its registry until the store is closed, or gone.

    Raises ``ConfigurationError`` if another store there has it, and for a textfile that is configured to be inside the
    store.
    """
    if store.config.metrics.textfile is not None:
        _place_of_textfile(store, store.config.metrics.textfile)
    names, place = names_in(store._metrics.registry), os.path.realpath(store.config.output_path)
    names.reserve(store.config.store_name, place, store)
    store._parts.closing(_NameRelease(names, store.config.store_name, weakref.ref(store)))


@frozen
class _NameRelease:
    names: StoreNames
    name: str
    owner: Callable[[], object]

    def close(self) -> None:
        self.names.release(self.name, self.owner())


def health(self: MonitoredStore) -> HealthReport:
    """Return whether the store is as fresh and as complete as the section ``metrics`` demands, with the reasons if not.

    It lists the files, and finds the verdicts of ``coverage`` unless they are known from less than an hour ago and no
    checkpoint was written since. Asks no provider.
    """
    return self._monitor.now().health


def metrics_registry(self: MonitoredStore) -> CollectorRegistry:
    """Return a registry of everything that is known of the store, which is measured at each collection.

    Its counters are the totals of all runs that the state has recorded.
    """
    return _registry_of(self, lambda: self._monitor.now())


def expose_store(self: MonitoredStore) -> None:
    """Add what the store has (freshness, coverage, size) and its last jobs to the pipeline's registry, until ``close``.

    A scrape gets what a thread has measured, at most every ``metrics.refresh_seconds``. For services that live as long
    as their pipeline; several stores may share one registry.
    """
    stores, name = stores_in(self._metrics.registry), self.config.store_name

    def read() -> Iterable[Metric]:
        return _or_not_ready(self.config, lambda: _live_families(self, assess=True))

    stores.add(name, read, before_others=True)
    self._parts.closing(_Removal(stores, name, read))


def serve_metrics(self: MonitoredStore, host: str | None = None, port: int | None = None) -> MetricsServer:
    """Serve everything that is known of the store at /metrics, and /healthz and /readyz, until the server is closed.

    Use it in a ``with``. Without arguments it listens where the configuration says; port 0 takes a free one. The
    counters are the totals of all runs that the state has recorded. Raises ``ConfigurationError`` if it cannot listen.
    """
    wanted, monitor = self.config.metrics, self._monitor
    registry = CollectorRegistry()
    stores_in(registry).add(
        self.config.store_name, lambda: _or_not_ready(self.config, lambda: _all_families(self, monitor.recent()))
    )
    address = wanted.host if host is None else host, wanted.port if port is None else port
    return MetricsServer(registry, *address, readiness=lambda: _answer(monitor.recent()))


def write_metrics(self: MonitoredStore, path: Path | str | None = None) -> Path:
    """Write the metrics of the store to a file for node_exporter's textfile collector, and return its path.

    Without a ``path`` it is the configured ``metrics.textfile``. The file is replaced as a whole. Raises
    ``ConfigurationError`` if there is no path, or one inside the store, and ``MetricsDeliveryError`` if it cannot be
    written.
    """
    wanted = self.config.metrics.textfile if path is None else path
    if wanted is None:
        raise ConfigurationError("metrics.textfile: give a path such as /var/lib/node_exporter/marketpipe.prom")
    place = _place_of_textfile(self, wanted)
    write_textfile(place, metrics_registry(self))
    return place


def _place_of_textfile(store: MonitoredStore, wanted: Path | str) -> Path:
    place = store.config.root / wanted
    try:
        derived.own_places(store._parts).refuse(place)
    except ConfigurationError as error:
        raise ConfigurationError(f"metrics.textfile: {error}") from error
    return place


def push_metrics(self: MonitoredStore, url: str | None = None) -> str:
    """Send the metrics of the store to a Pushgateway, in place of those that were sent before, and return its URL.

    Without a ``url`` it is the configured ``metrics.pushgateway``. They are grouped by the job marketpipe and the
    store. Raises ``ConfigurationError`` if there is no URL, or one that cannot be the configured one, and
    ``MetricsDeliveryError`` if they do not arrive.
    """
    wanted = (self.config.metrics if url is None else MetricsConfig(pushgateway=url)).pushgateway
    if wanted is None:
        raise ConfigurationError("metrics.pushgateway: give a URL such as http://127.0.0.1:9091")
    push(wanted, self.config.store_name, metrics_registry(self))
    return wanted


def deliver(store: MonitoredStore, *, assess: bool) -> None:
    """Write and push the metrics after a run, as configured. What they do not reach is published, and not raised."""
    wanted = store.config.metrics
    if wanted.textfile is None and wanted.pushgateway is None:
        return
    measured = store._monitor.now(assess=assess)
    registry = _registry_of(store, lambda: measured)
    try:
        if wanted.textfile is not None:
            write_textfile(store.config.root / wanted.textfile, registry)
    except MarketPipeError as error:  # also of a state that cannot be read
        store._parts.bus.publish(MetricsNotDelivered(str(wanted.textfile), str(error)))
    try:
        if wanted.pushgateway is not None:
            push(wanted.pushgateway, store.config.store_name, registry)
    except MarketPipeError as error:
        store._parts.bus.publish(MetricsNotDelivered(wanted.pushgateway or "", str(error)))


def readiness_during_a_run(store: MonitoredStore) -> tuple[bool, Mapping[str, Any]]:
    """Return what /readyz answers while a run goes on: by the verdicts of coverage that were found before it."""
    return _answer(store._monitor.recent(assess=False))


def _answer(measured: Measurement) -> tuple[bool, Mapping[str, Any]]:
    health = measured.health
    reasons = [asdict(reason) for reason in health.reasons]
    return health.ok, {**asdict(health, recurse=False), "reasons": reasons, "measured_at": str(health.measured_at)}


@contextmanager
def exposed_during_a_run(store: MonitoredStore) -> Iterator[None]:
    """Have the store in the pipeline's registry inside a ``with``; if it is there already, that is what is read.

    Coverage is not found again: the run has better uses for the processor.
    """
    stores, name = stores_in(store._metrics.registry), store.config.store_name

    def read() -> Iterable[Metric]:
        return _or_not_ready(store.config, lambda: _live_families(store, assess=False))

    stores.add(name, read)
    try:
        yield
    finally:
        stores.remove(name, read)


@frozen(eq=False)
class _Removal:
    """Removes from a registry what one pipeline has added."""

    stores: ExposedStores
    name: str
    read: ReadFamilies

    def close(self) -> None:
        self.stores.remove(self.name, self.read)


def _registry_of(store: MonitoredStore, measured: ReadMeasurement) -> CollectorRegistry:
    registry = CollectorRegistry()
    stores_in(registry).add(store.config.store_name, lambda: _all_families(store, measured()))
    return registry


def _or_not_ready(config: StoreConfig, read: ReadFamilies) -> Iterable[Metric]:
    """Return the families; of a store that cannot be read, or was closed, only that it is not ready.

    A scrape of the other stores in the registry must not fail.
    """
    try:
        return read()
    except (MarketPipeError, OSError) as error:
        logger.info("the metrics of %s cannot be read: %s", config.store_name, error)
        return families_of(configured_labels(config), (Sample(series.STORE_READY, 0),))


def _all_families(store: MeasuredStore, measured: Measurement) -> list[Metric]:
    labels, totals = labels_of(store), place_parts.known_state(store._parts).runs.totals()
    found = families_of(labels, (*_of_limit(store), *_of_jobs(store, totals), *measured.samples))
    return [*families_of_totals(labels, totals), *found]


def _live_families(store: MonitoredStore, *, assess: bool) -> list[Metric]:
    """Return the families that a running process does not count itself."""
    totals = place_parts.known_state(store._parts).runs.totals()
    return families_of(labels_of(store), (*_of_jobs(store, totals), *store._monitor.recent(assess=assess).samples))


def _of_limit(store: MeasuredStore) -> Iterator[Sample]:
    config = store.config
    provided = capabilities_without_keys(config) if isinstance(config, PipelineConfig) else None
    if provided is not None and provided.requests_per_minute is not None:
        yield Sample(series.RATE_LIMIT, provided.requests_per_minute / SECONDS_PER_MINUTE)


def _of_jobs(store: MeasuredStore, totals: Mapping[TotalKey, float]) -> Iterator[Sample]:
    """Yield what is read at each scrape: the last jobs and the leases."""
    state = place_parts.known_state(store._parts)
    runs = state.runs.latest()
    for kind in dict.fromkeys(run.kind for run in runs):
        last = max((run for run in runs if run.kind == kind), key=lambda run: run.finished_at)
        yield Sample(series.JOB_END, last.finished_at.epoch_micros / MICROS, (kind,))
        for each in series.JOB_STATES:
            yield Sample(series.JOB_STATE, each == last.state, (kind, each))
    for run in runs:
        if run.state == series.COMPLETED:
            yield Sample(series.JOB_SUCCESS, run.finished_at.epoch_micros / MICROS, (run.kind,))
            yield Sample(series.JOB_SUCCESS_DURATION, run.seconds, (run.kind,))
    if (unadopted := totals.get((series.UNADOPTED.name, ()))) is not None:
        yield Sample(series.UNADOPTED, unadopted)
    yield Sample(series.STORE_LEASED, state.leases.count(store._parts.clock.now()))
