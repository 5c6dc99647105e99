"""The column ``session`` that is made without SQL is the one that SQL makes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers
from marketpipe.storage.infrastructure.reading.session_hours import SessionNames, session_column
from tests.support.builders import CALENDAR

MINUTES = np.arange(0, 3 * 24 * 60, 5, np.int64) * 60_000_000


@pytest.mark.parametrize(
    "first",
    ["2024-03-08", "2024-07-02", "2024-11-01", "2024-11-28", "2024-12-31", "2023-12-31"],
    ids=["clocks forward", "half day", "clocks back", "after a holiday", "over a year", "closed day"],
)
def test_sessions_are_those_of_sql(first: str) -> None:
    times = int(datetime.fromisoformat(first).replace(tzinfo=UTC).timestamp()) * 1_000_000 + MINUTES
    sessions = CALENDAR.reaching(TradingDate.parse("2023-01-01"), TradingDate.parse("2025-12-31"))
    bars = pa.table(
        {
            "timestamp": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
            "trading_date": pa.array(day_numbers(times).astype(np.int32)).cast(pa.date32()),
        }
    )
    with duckdb.connect() as connection:
        connection.register("bars", bars)
        expected = connection.sql(f"SELECT {session_column(sessions)} FROM bars").fetchall()

    assert SessionNames(CALENDAR.reaching).of(times).to_pylist() == [name for (name,) in expected]


def test_bars_without_a_calendar_are_in_no_session() -> None:
    def none(*_: TradingDate) -> Sequence[TradingSession]:
        return ()

    assert SessionNames(none).of(MINUTES[:2]).equals(pa.nulls(2, pa.string()))
