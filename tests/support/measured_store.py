"""A small store named us, with a scripted provider, and the values of its metrics."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from marketpipe import Pipeline, TradingDate
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, config, minutes
from tests.support.scripted_provider import ScriptedProvider

MONDAY = "2024-01-08"
DATES = [TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]
SYMBOLS = ["AAPL", "MSFT"]
AFTER_FRIDAY, AFTER_MONDAY = "2024-01-06T06:00:00Z", "2024-01-09T06:00:00Z"
BARS = {symbol: {date: minutes(date, 5) for date in DATES} for symbol in SYMBOLS}
LABELS = {"store": "us", "provider": "scripted", "session": "extended"}


@contextmanager
def measured_store(
    root: Path,
    end: str = FRIDAY,
    now: str = AFTER_FRIDAY,
    registry: CollectorRegistry | None = None,
    provider: ScriptedProvider | None = None,
    session: str = "extended",
    **metrics: Any,
) -> Iterator[Pipeline]:
    settings = config(root, SYMBOLS, TUESDAY, end, session=session, metrics={"store": "us", **metrics})
    used = registry or CollectorRegistry(), provider or ScriptedProvider(BARS)
    with Pipeline(settings, registry=used[0], market_data_provider=used[1], clock=FakeClock(now)) as made:
        yield made


def value_of(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"marketpipe_{name}", {**LABELS, **labels})


def values_of(made: Pipeline, name: str, label: str) -> Mapping[str, float]:
    """Return the values of a series of the store that are not 0, by one label."""
    families = made.metrics_registry().collect()
    samples = [each for family in families for each in family.samples if each.name == f"marketpipe_{name}"]
    return {each.labels[label]: each.value for each in samples if each.value}


def close_of(date: str) -> float:
    return TradingDate.parse(date).midnight.epoch_micros / 1e6 + 16 * 3600


def break_the_state(root: Path) -> None:
    with closing(sqlite3.connect(root / "state" / "marketpipe.sqlite")) as connection:
        connection.execute("DROP TABLE totals")
