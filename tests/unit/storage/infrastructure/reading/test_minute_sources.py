"""Tests of the SQL of minute bars."""

from __future__ import annotations

import duckdb
import pytest

from marketpipe.storage.infrastructure.reading.minute_sources import NEW_YORK

YEARS = ["1885", "1918", "1944", "1969", "1974", "2007", "2024"]
"""With and without daylight saving time, with its former rules, and before 1970."""


@pytest.mark.parametrize("year", YEARS)
def test_the_trading_date_of_every_moment_is_the_date_in_new_york(year: str) -> None:
    moments = f"range(TIMESTAMPTZ '{year}-01-01 00:00:00Z', TIMESTAMPTZ '{year}-12-31 23:59:00Z', INTERVAL 10 MINUTE)"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        ((count, right),) = connection.execute(
            f"""SELECT count(*), count_if({NEW_YORK} = CAST(timestamp AT TIME ZONE 'America/New_York' AS DATE))
            FROM {moments} AS found(timestamp)"""
        ).fetchall()

    assert count == right > 52_000


@pytest.mark.parametrize("text", ["2024-07-01T03:59:59.999999Z", "2024-07-01T04:00:00Z", "2024-12-02T04:59:59.999999Z"])
def test_the_midnights_of_both_halves_of_the_year_are_the_bounds(text: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        ((found, usual),) = connection.execute(
            f"""SELECT {NEW_YORK}, CAST(timestamp AT TIME ZONE 'America/New_York' AS DATE)
            FROM (SELECT TIMESTAMPTZ '{text}' AS timestamp)"""
        ).fetchall()

    assert found == usual
