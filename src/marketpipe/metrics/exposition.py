"""Metric families of stores: made of samples by the table of series, and collected from many stores in one registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import Final

from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from marketpipe.metrics import series as table
from marketpipe.metrics.observer import StoreLabels
from marketpipe.metrics.series import LATENCY, Origin, Series, SeriesType
from marketpipe.metrics.totals import BUCKET, BUCKETS, SUM, TotalKey

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
    kind = CounterMetricFamily if series.type is SeriesType.COUNTER else GaugeMetricFamily
    family = kind(series.full_name, series.help, labels=series.all_labels)
    for sample in samples:
        family.add_metric((*store.values, *sample.labels), sample.value)
    return family


def families_of_totals(store: StoreLabels, totals: Mapping[TotalKey, float]) -> list[Metric]:
    """Return the counters and the histogram of all runs of a store. Values that are known begin at 0."""
    counters = [each for each in table.of_origin(Origin.RUN) if each.type is SeriesType.COUNTER]
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


class StoresCollector(Collector):
    """Collects the families of all stores in one registry: a registry refuses a second family of the same name."""

    def __init__(self, stores: Mapping[str, ReadFamilies]) -> None:
        self._stores = stores

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that to register this reads no store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        found = dict[str, Metric]()
        for read in list(self._stores.values()):
            for family in read():
                if family.name in found:
                    found[family.name].samples.extend(family.samples)
                else:
                    found[family.name] = family
        yield from found.values()


def stores_in(registry: CollectorRegistry) -> dict[str, ReadFamilies]:
    """Return what is collected from the stores in a registry, by the name of each; add to it, or remove from it."""
    stores: dict[str, ReadFamilies] = {}
    known = vars(registry).setdefault(_STORES, stores)
    if known is stores:
        registry.register(StoresCollector(stores))
    found: dict[str, ReadFamilies] = known
    return found
