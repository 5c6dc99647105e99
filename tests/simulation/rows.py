"""Rows of bars as plain values, so that the oracle compares them without the code that it judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

NEW_YORK = ZoneInfo("America/New_York")
Row = tuple[int, float | None, float | None, float | None, float | None, float | None, int | None, float | None]
"""Microseconds since 1970, open, high, low, close, volume, trade count, vwap."""
Day = tuple[str, str]
"""A symbol and a trading date, as text."""
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume", "trade_count", "vwap")
JSON_KEYS = ("o", "h", "l", "c", "v", "n", "vw")


@lru_cache(maxsize=1 << 15)
def micros(text: str) -> int | None:
    """Return a moment of RFC 3339 in microseconds since 1970; None if the text is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round(moment.timestamp() * 1_000_000) if moment.tzinfo is not None else None


@lru_cache(maxsize=1 << 15)
def date_of(at: int) -> str:
    """Return the date that New York's calendars show at a moment."""
    return datetime.fromtimestamp(at / 1_000_000, NEW_YORK).date().isoformat()


def in_json(bars: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the bars of an answer that have a time, in their order. Values that are no numbers are None."""
    found = list[Row]()
    for bar in bars:
        if isinstance(bar, Mapping) and (at := micros(str(bar.get("t")))) is not None:
            *prices, volume, count, vwap = (_number(bar.get(key)) for key in JSON_KEYS)
            found.append((at, *prices, volume, None if count is None else int(count), vwap))  # type: ignore[arg-type]
    return found


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def in_table(table: pa.Table) -> list[Row]:
    """Return the rows of a table with the columns of bars, in their order."""
    times = table["timestamp"].cast(pa.int64()).to_pylist()
    return list(zip(times, *(table[name].to_pylist() for name in COLUMNS[1:]), strict=True))


def by_time(rows: Sequence[Row]) -> dict[int, Row]:
    """Return rows by their time; of several with one time the last."""
    return {row[0]: row for row in rows}
