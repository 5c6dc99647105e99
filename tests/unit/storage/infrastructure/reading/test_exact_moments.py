"""A condition on ``timestamp`` that is understood is true of exactly the moments of which DuckDB says so."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from marketpipe.storage.infrastructure.reading.exact_moments import Moments, moments_of
from marketpipe.storage.infrastructure.reading.select_syntax import CONDITIONS
from marketpipe.storage.infrastructure.reading.syntax_tree import syntax_tree

CONSTANTS = (
    "'2024-01-02'",
    "DATE '2024-01-02'",
    "'2024-01-02 15:00'",
    "'2024-01-02T15:00:00.5Z'",
    "TIMESTAMP '2024-01-02 15:00'",
    "datetime '2024-01-02 15:00:01'",
    "TIMESTAMPTZ '2024-01-02 15:00:00.123456+00'",
    "TIMESTAMP WITH TIME ZONE '2024-01-02 10:00-05:30'",
    "'2024-01-02 15:00'::TIMESTAMPTZ",
    "'0001-01-01 00:00+05'",
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as found:
        found.execute("SET TimeZone = 'UTC'")
        yield found


def moments(connection: duckdb.DuckDBPyConnection, condition: str) -> Moments | None:
    tree = syntax_tree(connection, f"SELECT 1 FROM bars WHERE {condition}")
    return moments_of(tree["statements"][0]["node"]["where_clause"], CONDITIONS)


@pytest.mark.parametrize("constant", CONSTANTS)
def test_moments_are_those_of_duckdb(connection: duckdb.DuckDBPyConnection, constant: str) -> None:
    ((at,),) = connection.execute(f"SELECT epoch_us(CAST({constant} AS TIMESTAMPTZ))").fetchall()
    around = ", ".join(f"({at + step})" for step in (-1, 0, 1))
    bars = f"(SELECT make_timestamptz(micros) AS timestamp FROM (VALUES {around}) AS moments(micros))"
    compared = [f"timestamp {sign} {constant}" for sign in ("=", "<", "<=", ">", ">=")]
    mirrored = [f"{constant} {sign} timestamp" for sign in ("=", "<", "<=", ">", ">=")]

    for condition in (*compared, *mirrored, f"bars.timestamp BETWEEN {constant} AND {constant}"):
        rows = connection.execute(f"SELECT epoch_us(timestamp) FROM {bars} AS bars WHERE {condition}").fetchall()
        found = moments(connection, condition)
        assert found is not None
        assert [each for each in (at - 1, at, at + 1) if found.first <= each < found.end] == sorted(
            each for (each,) in rows
        )


def test_moments_of_two_conditions_are_those_of_both() -> None:
    assert Moments(5) & Moments(end=9) == Moments(5, 9)
