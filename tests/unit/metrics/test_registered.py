from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

import marketpipe.metrics
from marketpipe.metrics import BACKLOG, DEFAULT, ERRORS, LATENCY, REQUESTS, metrics_in, series
from marketpipe.metrics.registered import collector_in
from marketpipe.shared_kernel.events import JobStarted


def test_the_names_of_the_module_belong_to_the_default_registry() -> None:
    assert (DEFAULT.requests, DEFAULT.errors, DEFAULT.latency, DEFAULT.backlog) == (REQUESTS, ERRORS, LATENCY, BACKLOG)
    assert metrics_in(None) is metrics_in(REGISTRY) is DEFAULT
    names = {family.name for family in REGISTRY.collect()}
    assert {"marketpipe_requests", "marketpipe_errors", "marketpipe_request_latency_seconds"} <= names
    assert "marketpipe_backlog_symbol_days" in names


def test_a_registry_has_one_set_of_metrics_however_often_it_is_given() -> None:
    registry = CollectorRegistry()

    assert metrics_in(registry) is metrics_in(registry)
    assert metrics_in(CollectorRegistry()) is not metrics_in(registry)


def test_a_registry_that_is_dropped_is_freed() -> None:
    registry = CollectorRegistry()
    metrics_in(registry)
    watched = weakref.ref(registry)

    del registry
    gc.collect()

    assert watched() is None


def test_the_module_can_be_reloaded() -> None:
    reloaded = importlib.reload(marketpipe.metrics)

    assert (reloaded.REQUESTS, reloaded.LATENCY) == (REQUESTS, LATENCY)
    assert reloaded.metrics_in(None) is DEFAULT


def test_a_second_import_finds_the_same_series() -> None:
    first = marketpipe.metrics
    with _forgotten(first.__name__):
        again = importlib.import_module(first.__name__)

    assert again is not first
    assert (again.REQUESTS, again.ERRORS, again.LATENCY, again.BACKLOG) == (REQUESTS, ERRORS, LATENCY, BACKLOG)


@pytest.mark.parametrize("name", ["series", "totals", "registered", "observer", "exposition"])
def test_each_module_of_metrics_can_be_reloaded_alone(name: str) -> None:
    package, registry = marketpipe.metrics.__name__, CollectorRegistry()
    with _forgotten(package):
        loaded = importlib.import_module
        exposition, observer = loaded(f"{package}.exposition"), loaded(f"{package}.observer")
        importlib.reload(loaded(f"{package}.{name}"))
        metrics, labels = loaded(f"{package}.registered").metrics_in(registry), observer.StoreLabels("us", "p", "x")
        observer.MetricsObserver(lambda: labels, metrics).on_job_started(JobStarted(1, "p", 3, 0, 1))
        families = exposition.families_of_totals(labels, {})

    ended = {"store": "us", "provider": "p", "session": "x", "job_kind": "update", "state": "failed"}
    assert registry.get_sample_value("marketpipe_jobs_total", ended) == 0
    assert {"marketpipe_jobs", "marketpipe_request_latency_seconds"} <= {family.name for family in families}


def test_series_that_got_another_label_since_the_first_import_are_replaced() -> None:
    registry = CollectorRegistry()
    former = metrics_in(registry).counter(series.RETRIES)

    again = collector_in(registry, evolve(series.RETRIES, labels=("reason",)))

    again.labels("s", "p", "extended", "timeout")
    assert again is not former
    assert b'marketpipe_retries_total{provider="p",reason="timeout",' in generate_latest(registry)


@contextmanager
def _forgotten(package: str) -> Iterator[None]:
    """Let the package be imported again inside a ``with``, as Streamlit does."""
    parent, _, name = package.rpartition(".")
    former = {each: sys.modules.pop(each) for each in list(sys.modules) if f"{each}.".startswith(f"{package}.")}
    try:
        yield
    finally:
        sys.modules.update(former)
        setattr(sys.modules[parent], name, former[package])
