"""Run MarketPipe as the benchmarks do: with all default features, into a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from marketpipe import Credentials, IngestionReport, Pipeline, PipelineConfig, TradingDate
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

FIRST, LATEST = TradingDate.parse("2024-01-02"), TradingDate.parse("2025-12-31")


def last_date(sessions: int) -> str:
    """Return the date of the last one of ``sessions`` sessions that begin with ``FIRST``."""
    found = ExchangeCalendar(LATEST).sessions(FIRST, LATEST)
    if sessions > len(found):
        raise SystemExit(f"--sessions: at most {len(found)}, which is up to {LATEST}")
    return str(found[sessions - 1].trading_date)


def numbered_symbols(count: int) -> list[str]:
    return [f"S{number:04d}" for number in range(count)]


def pipeline_config(folder: Path, url: str, symbols: Sequence[str], last: str, **changes: Any) -> PipelineConfig:
    values: dict[str, Any] = {
        "provider": "alpaca",
        "symbols": list(symbols),
        "start": FIRST,
        "end": last,
        "session": "regular",
        "timeframes": [],
        "alpaca": {"base_url": url, "rate_limit_per_min": 1_000_000},
        "output_path": folder / "data",
        "state_path": folder / "state" / "marketpipe.sqlite",
        **{f"{name}_path": folder / name for name in ("aggregates", "quarantine", "revisions")},
    }
    return PipelineConfig(**{**values, **changes})


def ingest(config: PipelineConfig) -> IngestionReport:
    with Pipeline(config, credentials=Credentials("key", "secret"), registry=CollectorRegistry()) as pipeline:
        report = pipeline.ingest()
    if not report.ok:
        raise SystemExit(f"not everything was ingested: {report}")
    return report
