from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from marketpipe.metrics import RunTotals, StoreLabels, metrics_in, series
from marketpipe.metrics.exposition import Sample, families_of, families_of_totals, stores_in

US, EU = StoreLabels("us", "alpaca", "extended"), StoreLabels("eu", "import:x", "regular")


def test_the_families_of_two_stores_are_one_family_in_a_registry() -> None:
    registry = CollectorRegistry()
    for store, bars in ((US, 3), (EU, 5)):
        samples = [Sample(series.STORE_BARS, bars), Sample(series.STORE_COVERAGE, 1, ("missing",))]
        stores_in(registry).add(store.store, lambda store=store, samples=samples: families_of(store, samples))

    text = generate_latest(registry).decode()
    assert text.count("# TYPE marketpipe_store_bars gauge") == 1
    assert 'marketpipe_store_bars{provider="alpaca",session="extended",store="us"} 3.0' in text
    assert 'marketpipe_store_bars{provider="import:x",session="regular",store="eu"} 5.0' in text


def test_to_register_a_store_reads_nothing_and_a_second_one_is_collected_by_the_same_collector() -> None:
    registry, read = CollectorRegistry(auto_describe=True), list[str]()
    stores_in(registry).add("us", lambda: read.append("us") or [])
    assert (stores_in(registry) is stores_in(registry), read) == (True, [])

    list(registry.collect())
    assert read == ["us"]


def test_names_of_stores_are_escaped() -> None:
    registry, odd = CollectorRegistry(), StoreLabels('a"b\\c\nd{e}', "p", "extended")
    stores_in(registry).add("odd", lambda: families_of(odd, [Sample(series.STORE_BARS, 1)]))

    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    assert [sample.labels["store"] for sample in family.samples] == [odd.store]


def test_totals_of_all_runs_have_the_form_of_the_live_ones() -> None:
    registry, totals = CollectorRegistry(), RunTotals()
    live = metrics_in(registry)
    for seconds in (0.02, 0.3, 100.0):
        live.latency.labels(*US.values).observe(seconds)
        totals.add_latency(seconds)
    live.errors.labels(*US.values, "timeout").inc(2)
    totals.add(series.ERRORS, ("timeout",), 2)

    kept = {sample for family in families_of_totals(US, totals.take()) for sample in _values(family) if sample[2]}
    seen = {sample for family in registry.collect() for sample in _values(family) if sample[2]}
    assert kept == seen


def test_totals_begin_at_zero_for_all_known_values() -> None:
    families = {family.name: family for family in families_of_totals(US, {})}

    kinds = {sample.labels["kind"]: sample.value for sample in families["marketpipe_errors"].samples}
    assert kinds == dict.fromkeys(series.ERROR_KINDS, 0)
    assert families["marketpipe_bars_ingested"].samples[0].value == 0


def _values(family: Metric) -> set[tuple[str, str, float]]:
    return {
        (sample.name, str(sorted(sample.labels.items())), round(sample.value, 9))
        for sample in family.samples
        if not sample.name.endswith("_created") and not math.isnan(sample.value)
    }
