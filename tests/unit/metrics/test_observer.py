from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from marketpipe import (
    Credentials,
    Pipeline,
    PipelineConfig,
)
from marketpipe.metrics import MetricsObserver, StoreLabels, metrics_in
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    JobStarted,
    LeasesAwaited,
    OfficialDayChange,
    OfficialDaysChanged,
    RequestCompleted,
    SymbolDaysRecorded,
)
from marketpipe.testing import Response, bars_request
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.builders import day


def _config(folder: Path, **changes: object) -> PipelineConfig:
    settings: dict[str, object] = {
        "provider": "synthetic",
        "symbols": ["AAPL", "MSFT"],
        "start": "2024-11-29",
        "end": "2024-11-29",
        "timeframes": [],
        "output_path": folder / "data",
        "quarantine_path": folder / "quarantine",
        "state_path": folder / "state.sqlite",
        **changes,
    }
    return PipelineConfig(**settings)


def _alpaca(folder: Path, url: str) -> PipelineConfig:
    return _config(folder, provider="alpaca", symbols=["AAPL"], alpaca={"base_url": url})


def _labels(folder: Path, provider: str) -> dict[str, str]:
    return {"store": str(folder / "data"), "provider": provider, "session": "extended"}


def test_an_ingestion_is_counted_only_in_the_given_registry(tmp_path: Path) -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    metrics_in(other)
    with Pipeline(_config(tmp_path), registry=registry) as pipeline:
        report = pipeline.ingest()

    labels = _labels(tmp_path, "synthetic")
    assert registry.get_sample_value("marketpipe_bars_ingested_total", labels) == report.bars > 0
    assert registry.get_sample_value("marketpipe_partitions_written_total", labels) == 2
    assert registry.get_sample_value("marketpipe_bars_rejected_total", labels) == 0
    assert registry.get_sample_value("marketpipe_backlog_symbol_days", labels) == 0
    assert other.get_sample_value("marketpipe_bars_ingested_total", labels) is None


def test_requests_errors_retries_and_latency_are_counted(tmp_path: Path) -> None:
    registry, labels = CollectorRegistry(), _labels(tmp_path, "alpaca")
    bars = {"AAPL": [record("2024-11-29T15:00:00Z")]}
    with AlpacaLoopback(bars, fault=lambda n, _: Response(500, b"{}") if n == 0 else None) as provider:
        keys = Credentials("k", "s")
        with Pipeline(_alpaca(tmp_path, provider.url), credentials=keys, registry=registry) as pipeline:
            pipeline.ingest()

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"marketpipe_{name}", {**labels, **more})

    assert (value("requests_total", outcome="success"), value("requests_total", outcome="error")) == (
        2,
        1,
    )  # one for official days
    assert value("errors_total", kind="unavailable") == 1
    assert value("retries_total") == 1
    assert value("request_latency_seconds_count") == 3


def test_the_backlog_starts_at_the_number_of_planned_symbol_days(tmp_path: Path) -> None:
    registry, seen = CollectorRegistry(), list[float | None]()
    with Pipeline(_config(tmp_path), registry=registry) as pipeline:
        pipeline.subscribe(
            JobStarted,
            lambda _: seen.append(
                registry.get_sample_value("marketpipe_backlog_symbol_days", _labels(tmp_path, "synthetic"))
            ),
        )
        pipeline.ingest()
    assert seen == [2]


def _observed(registry: CollectorRegistry) -> EventBus:
    bus = EventBus(LoggedIsolation)
    MetricsObserver(lambda: StoreLabels("us", "p", "extended"), metrics_in(registry)).observe(bus)
    return bus


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    store = {"store": "us", "provider": "p", "session": "extended"}
    return registry.get_sample_value(f"marketpipe_{name}", {**store, **labels})


def test_a_kind_of_error_that_a_plugin_defines_counts_as_other() -> None:
    registry = CollectorRegistry()
    bus = _observed(registry)
    for kind in ("timeout", "quota of today", "quota of tomorrow"):
        bus.publish(RequestCompleted("p", 0.1, error_kind=kind))

    assert (_value(registry, "errors_total", kind="timeout"), _value(registry, "errors_total", kind="other")) == (1, 2)


def test_a_wait_for_leases_is_counted_once_and_its_seconds_as_they_pass() -> None:
    registry = CollectorRegistry()
    bus = _observed(registry)
    for seconds in (0.0, 10.0, 20.5, 0.0, 10.0):
        bus.publish(LeasesAwaited(3, seconds))

    assert _value(registry, "lease_waits_total") == 2
    assert _value(registry, "lease_wait_seconds_total") == 30.5


def test_a_wait_for_official_days_and_one_for_minutes_are_counted_apart() -> None:
    registry = CollectorRegistry()
    bus = _observed(registry)
    for seconds, official in ((0.0, False), (10.0, False), (0.0, True), (20.0, False), (10.0, True)):
        bus.publish(LeasesAwaited(3, seconds, official=official))

    assert _value(registry, "lease_waits_total") == 2
    assert _value(registry, "lease_wait_seconds_total") == 30


def test_the_limit_and_what_the_provider_still_allows_are_shown() -> None:
    registry = CollectorRegistry()
    observer = MetricsObserver(lambda: StoreLabels("us", "as configured", "extended"), metrics_in(registry))
    observer.limit_is(None)
    observer.on_job_started(JobStarted(1, "p", 3, 0, 1))
    assert _value(registry, "rate_limit_requests_per_second") is None

    observer.limit_is(120)
    observer.on_job_started(JobStarted(2, "p", 3, 0, 1))
    observer.on_request_completed(RequestCompleted("p", 0.1, rate_limit_remaining=7))

    assert _value(registry, "rate_limit_requests_per_second") == 2
    assert _value(registry, "rate_limit_remaining_requests") == 7
    assert b"as configured" not in generate_latest(registry)


def test_a_changed_official_day_is_a_restatement_which_is_adopted_when_its_minutes_are_recorded() -> None:
    registry, official = CollectorRegistry(), OfficialDay(1.0, 1.0, 1.0, 1.0, 100.0)
    bus, first, second = _observed(registry), day("AAPL", "2024-01-02"), day("AAPL", "2024-01-03")
    changes = tuple(OfficialDayChange(each, official, None) for each in (first, second))
    bus.publish(OfficialDaysChanged(bars_request(["AAPL"], "2024-01-02", "2024-01-03"), changes))
    bus.publish(SymbolDaysRecorded(1, "p", (SymbolDayOutcome(first, Outcome.FAILED, error="timeout"),)))
    bus.publish(SymbolDaysRecorded(1, "p", (SymbolDayOutcome(second, Outcome.COMPLETE),)))

    assert _value(registry, "restatements_found_total", source="official_days") == 2
    assert _value(registry, "restatements_adopted_total", source="official_days") == 1


def test_a_job_begins_with_all_known_values_at_zero() -> None:
    registry = CollectorRegistry()
    _observed(registry).publish(JobStarted(1, "p", 3, 0, 1))

    assert _value(registry, "errors_total", kind="credentials") == 0
    assert _value(registry, "jobs_total", job_kind="update", state="failed") == 0
    assert _value(registry, "backlog_symbol_days") == 3
