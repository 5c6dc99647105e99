"""One store on which several real processes work at once, and what each of them requested from the provider."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from attrs import evolve
from prometheus_client import CollectorRegistry

from marketpipe import Pipeline
from marketpipe.config import Credentials, load_config
from marketpipe.testing import Response
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import LONGEST_SECONDS
from tests.support.cli_process import KEYS
from tests.support.started_cli import StartedCli

SYMBOLS = [f"S{i:02d}" for i in range(8)]
DAYS = ["2024-03-04", "2024-03-05", "2024-03-06", "2024-03-07", "2024-03-08"]
BARS_A_DAY = 120
BARS = {
    symbol: [
        record(f"{day}T{hour}:{minute:02d}:00Z", 50 + i) for day in DAYS for hour in (15, 16) for minute in range(60)
    ]
    for i, symbol in enumerate(SYMBOLS)
}
EVERY_DAY = {(symbol, day) for symbol in SYMBOLS for day in DAYS}
PAGE = 240
SEEDED = {(symbol, DAYS[i % 5]) for i, symbol in enumerate(SYMBOLS)}
"""One day of each symbol is stored: what is missing then makes many batches instead of one."""
NEW_YORK = ZoneInfo("America/New_York")


def slowly(seconds: float) -> Callable[[int, object], Response | None]:
    def wait(_: int, __: object) -> None:
        time.sleep(seconds)

    return wait


def write_config(folder: Path, url: str, *, rate: int = 100_000, symbols: list[str] = SYMBOLS) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(
        f"provider: alpaca\nsymbols: [{', '.join(symbols)}]\nstart: 2024-03-04\nend: 2024-03-08\nworkers: 2\n"
        f'timeframes: [5m, 1d]\nalpaca: {{feed: iex, base_url: "{url}", rate_limit_per_min: {rate}}}\n'
    )
    return str(file)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def days_asked(provider: AlpacaLoopback, key: str | None = None) -> Counter[tuple[str, str]]:
    """Return the requested days, by the first page of each batch; with ``key`` only of requests with that key."""
    found: Counter[tuple[str, str]] = Counter()
    for query, headers in zip(list(provider.requests), list(provider.headers), strict=False):
        if "page_token" not in query and key in (None, headers["apca-api-key-id"]):
            first, last = (new_york_date(query[name]) for name in ("start", "end"))
            days = [day for day in DAYS if first <= day <= last]
            found.update((symbol, day) for symbol in query["symbols"].split(",") for day in days)
    return found


def new_york_date(moment: str) -> str:
    return str(datetime.fromisoformat(moment).astimezone(NEW_YORK).date())


def ends_well(processes: list[StartedCli]) -> None:
    try:
        for process in processes:
            _, errors = process.communicate(timeout=LONGEST_SECONDS)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()


def opened(config_file: str, folder: Path) -> Pipeline:
    """Open the same store in this process."""
    settings = load_config(Path(config_file))
    places = {f"{name}_path": folder / name for name in ("aggregates", "quarantine", "revisions", "official")}
    settings = evolve(
        settings, output_path=folder / "data", state_path=folder / "state" / "marketpipe.sqlite", **places
    )
    return Pipeline(settings, credentials=Credentials(*KEYS.values()), registry=CollectorRegistry())


def seed(config_file: str, folder: Path) -> None:
    with opened(config_file, folder) as pipeline:
        for symbol, day in sorted(SEEDED):
            assert pipeline.ingest(symbol, day, day).ok


def connect(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "state" / "marketpipe.sqlite")


def rows_of_state(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(connect(folder)) as connection, connection:
        return connection.execute(sql).fetchall()
