"""Metric families of stores: made of samples by the table of series, and collected from many stores in one registry."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, product
from typing import Final

from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from marketpipe.metrics import series as table
from marketpipe.metrics.observer import StoreLabels
from marketpipe.metrics.series import LATENCY, Origin, Series, SeriesType
from marketpipe.metrics.totals import BUCKET, BUCKETS, SUM
from marketpipe.shared_kernel.domain.store_inventory import TotalKey

_STORES: Final = "_marketpipe_stores"
ReadFamilies = Callable[[], Iterable[Metric]]


@frozen
class Sample:
    """One value of a series. ``labels`` come after those of the store."""

    series: Series
    value: float
    labels: tuple[str, ...] = ()


def families_of(store: StoreLabels, samples: Iterable[Sample]) -> list[Metric]:
    """Return one family for each series, in the order in which they come first."""
    by_series = defaultdict[str, list[Sample]](list)
    for sample in samples:
        by_series[sample.series.name].append(sample)
    return [_family(some[0].series, store, some) for some in by_series.values()]


def _family(series: Series, store: StoreLabels, samples: Sequence[Sample]) -> Metric:
    kind = CounterMetricFamily if series.type == SeriesType.COUNTER else GaugeMetricFamily
    family = kind(series.full_name, series.help, labels=series.all_labels)
    for sample in samples:
        family.add_metric((*store.values, *sample.labels), sample.value)
    return family


def families_of_totals(store: StoreLabels, totals: Mapping[TotalKey, float]) -> list[Metric]:
    """Return the counters and the histogram of all runs of a store. Values that are known begin at 0."""
    counters = [each for each in table.of_origin(Origin.RUN) if each.type == SeriesType.COUNTER]
    known = {
        (each.name, labels): 0.0
        for each in counters
        for labels in product(*(each.values.get(label, ()) for label in each.labels))
    }
    by_name, values = {each.name: each for each in counters}, {**known, **totals}
    samples = [Sample(by_name[name], value, labels) for (name, labels), value in values.items() if name in by_name]
    histogram = HistogramMetricFamily(LATENCY.full_name, LATENCY.help, labels=LATENCY.all_labels)
    counts = list(accumulate(totals.get((BUCKET, (bound,)), 0.0) for bound in BUCKETS))
    buckets = [(bound, count) for bound, count in zip(BUCKETS, counts, strict=True)]
    histogram.add_metric(store.values, buckets=buckets, sum_value=totals.get((SUM, ()), 0.0))
    return [*families_of(store, samples), histogram]


class ExposedStores:
    """What is collected from the stores in one registry. Pipelines of one store share its name: the first is read."""

    def __init__(self) -> None:
        self._lock, self._by_name = threading.Lock(), defaultdict[str, list[ReadFamilies]](list)

    def add(self, name: str, read: ReadFamilies, *, before_others: bool = False) -> None:
        with self._lock:
            self._by_name[name].insert(0 if before_others else len(self._by_name[name]), read)

    def remove(self, name: str, read: ReadFamilies) -> None:
        """Remove what was added; of no effect if it was removed already."""
        with self._lock, suppress(ValueError):
            self._by_name[name].remove(read)

    def chosen(self) -> list[ReadFamilies]:
        """Return what reads each store."""
        with self._lock:
            return [reads[0] for reads in self._by_name.values() if reads]


class StoresCollector(Collector):
    """Collects the families of all stores in one registry: a registry refuses a second family of the same name."""

    def __init__(self, stores: ExposedStores) -> None:
        self._stores = stores

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that to register this reads no store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        found = dict[str, Metric]()
        for read in self._stores.chosen():
            for family in read():
                if family.name in found:
                    found[family.name].samples.extend(family.samples)
                else:
                    found[family.name] = family
        yield from found.values()


def stores_in(registry: CollectorRegistry) -> ExposedStores:
    """Return what is collected from the stores in a registry; add to it, or remove from it."""
    stores = ExposedStores()
    known: ExposedStores = vars(registry).setdefault(_STORES, stores)
    if known is stores:
        registry.register(StoresCollector(stores))
    return known
