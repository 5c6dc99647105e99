"""A whole pipeline on real files, with a scripted provider."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from prometheus_client import CollectorRegistry

from marketpipe.config import PipelineConfig
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.infrastructure.store_layout import VERSION_INDEX
from marketpipe.testing import FakeClock, bar
from tests.support.scripted_provider import Row, ScriptedProvider

TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"


def minutes(trading_date: str, count: int = 4, *, start: str = "14:30", price: float = 100.0) -> list[Row]:
    """Return valid bars, one minute apart, from ``start`` (UTC) on."""
    return [row.copy() for row in _made_once(trading_date, count, start, price)]  # a test may change its own


@cache
def _made_once(trading_date: str, count: int, start: str, price: float) -> Sequence[Row]:
    """Return what ``minutes`` copies: hundreds of tests ask for the same sessions."""
    first = Timestamp.parse(f"{trading_date}T{start}:00Z")
    return [bar(str(first.plus(timedelta(minutes=number))), price + number / 4) for number in range(count)]


def config(root: Path, symbols: Sequence[str], start: str, end: str, **changes: Any) -> PipelineConfig:
    """Return the configuration of a store below ``root``; without ``timeframes`` it has no aggregates."""
    values: dict[str, Any] = {
        "provider": "scripted",
        "symbols": list(symbols),
        "start": start,
        "end": end,
        "output_path": root / "data",
        "aggregates_path": root / "aggregates",
        "quarantine_path": root / "quarantine",
        "revisions_path": root / "revisions",
        "state_path": root / "state" / "marketpipe.sqlite",
        "timeframes": [],
        "workers": 2,
    }
    return PipelineConfig(**{**values, **changes})


def pipeline(settings: PipelineConfig, provider: ScriptedProvider, clock: FakeClock | None = None) -> Pipeline:
    """Return a pipeline with its own metrics, at a time when all sessions of the tests are final."""
    return Pipeline(settings, registry=CollectorRegistry(), market_data_provider=provider, clock=clock or FakeClock())


def stored_rows(root: Path, symbol: str, trading_date: str) -> list[Row]:
    """Return the rows in the file of that day; none if there is no file."""
    return _rows(root / "data", symbol, trading_date)


def quarantined_rows(root: Path, symbol: str, trading_date: str) -> list[Row]:
    return _rows(root / "quarantine", symbol, trading_date)


def _rows(root: Path, symbol: str, trading_date: str) -> list[Row]:
    year, month, day = trading_date.split("-")
    path = root / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"
    if not path.exists():
        return []
    table = pq.ParquetFile(path).read()
    rows: list[Row] = table.drop_columns([n for n in table.column_names if n == "schema_version"]).to_pylist()
    return rows


def fingerprints(root: Path) -> dict[str, tuple[str, int]]:
    """Return content and modification time of every file except the state and the version indexes."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != VERSION_INDEX)
    files = (path for path in found if "state" not in path.parts)
    return {str(path.relative_to(root)): _fingerprint(path) for path in files}


def contents(root: Path) -> dict[str, str]:
    """Return the content of every file except the state and the version indexes."""
    return {name: digest for name, (digest, _) in fingerprints(root).items()}


def _fingerprint(path: Path) -> tuple[str, int]:
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
