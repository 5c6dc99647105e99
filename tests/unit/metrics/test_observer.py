from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from marketpipe import (
    Credentials,
    Pipeline,
    PipelineConfig,
)
from marketpipe.metrics import metrics_in
from marketpipe.shared_kernel.events import JobStarted
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback, record


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
