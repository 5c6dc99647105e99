"""A query of figures of each symbol that copies answer without DuckDB has DuckDB's answer, but for last digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.infrastructure.reading.copies_answer_figures import Figure, symbol_figures
from marketpipe.testing import bar
from tests.support.answered_queries import SYMBOLS, AnsweredQuery, QueryOfDuckDBAlone, queries_of
from tests.support.builders import day
from tests.support.examples import examples
from tests.support.parsed_queries import parsed
from tests.support.store_on_disk import StoreOnDisk


def is_understood(sql: str) -> bool:
    return symbol_figures(sql, parsed(sql)) is not None


def test_figures_are_understood() -> None:
    sql = (
        "SELECT avg(close) AS mean, symbol, count(*) AS n FROM bars WHERE symbol = 'A' GROUP BY symbol ORDER BY symbol"
    )
    found = symbol_figures(sql, parsed(sql))

    assert found is not None
    assert found.figures == (
        Figure("mean", "avg", "close"),
        Figure("symbol", None, None),
        Figure("n", "count_star", None),
    )
    assert found.bars.needed.symbols == frozenset({"A"})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT avg(close) AS mean FROM bars",
        "SELECT symbol, avg(close) AS symbol FROM bars GROUP BY symbol",
        "SELECT avg(close) AS symbol FROM bars GROUP BY symbol ORDER BY symbol",
        "SELECT avg(close) AS Symbol FROM bars GROUP BY symbol ORDER BY symbol",
        "SELECT symbol, avg(close) AS f, avg(open) AS F FROM bars GROUP BY symbol",
        "SELECT avg(close) AS trading_date FROM bars WHERE trading_date > '2024-01-02' GROUP BY symbol",
        "SELECT symbol, avg(DISTINCT close) AS mean FROM bars GROUP BY symbol",
        "SELECT symbol, avg(close) FILTER (close > 1) AS mean FROM bars GROUP BY symbol",
        "SELECT symbol, avg(close ORDER BY volume) AS mean FROM bars GROUP BY symbol",
        "SELECT symbol, avg(close) OVER () AS mean FROM bars GROUP BY symbol, close",
        "SELECT symbol, main.avg(close) AS mean FROM bars GROUP BY symbol",
        "SELECT symbol, avg(close + 1) AS mean FROM bars GROUP BY symbol",
        "SELECT symbol, avg(trade_count) AS mean FROM bars GROUP BY symbol",
        "SELECT symbol, sum(trade_count) FROM bars GROUP BY symbol",
        "SELECT symbol, avg(close), avg(close) FROM bars GROUP BY symbol",
        "SELECT symbol, max(trading_date) AS last FROM bars GROUP BY symbol",
        "SELECT symbol, min(close, 2) AS least FROM bars GROUP BY symbol",
        "SELECT symbol, median(close) AS middle FROM bars GROUP BY symbol",
        "SELECT symbol, close AS mean FROM bars GROUP BY symbol, close",
        "SELECT symbol, avg(close) AS mean FROM bars GROUP BY symbol HAVING mean > 1",
        "SELECT avg(close) AS mean FROM bars GROUP BY ALL",
        "SELECT symbol, close, avg(open) AS mean FROM bars GROUP BY ALL",
        "SELECT symbol, avg(open) AS mean FROM bars GROUP BY ALL ORDER BY ALL",
        "SELECT symbol, avg(close) AS mean FROM bars GROUP BY ROLLUP (symbol)",
        "SELECT symbol, avg(close) AS mean FROM bars GROUP BY trading_date, symbol",
        "SELECT symbol, avg(close) AS mean FROM bars GROUP BY symbol ORDER BY mean",
        "SELECT symbol, avg(close) AS mean FROM bars GROUP BY symbol LIMIT 1",
        "SELECT DISTINCT symbol, avg(close) AS mean FROM bars GROUP BY symbol",
        "SELECT symbol, avg(close) AS mean FROM bars WHERE close > 1 GROUP BY symbol",
        "EXPLAIN SELECT symbol, avg(close) AS mean FROM bars GROUP BY symbol",
    ],
)
def test_any_other_query_is_not(sql: str) -> None:
    assert not is_understood(sql)


DOUBLES = ["open", "high", "low", "close", "volume", "vwap"]
FIGURES = [
    "count(*)",
    *(f"{function}({column})" for function in ("avg", "SUM", "min", "max", "count") for column in DOUBLES),
    *(f"{function}({column})" for function in ("MIN", "max", "count") for column in ("timestamp", "trade_count")),
]
conditions = st.sampled_from(
    ["", "WHERE symbol IN ('AAPL', 'GONE')", "WHERE trading_date BETWEEN '2024-01-03' AND '2024-02-01'"]
)


@settings(examples(50), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    figures=st.lists(st.sampled_from(FIGURES), min_size=1, max_size=4),
    condition=conditions,
    groups=st.sampled_from(["symbol", "ALL"]),
)
def test_the_answer_is_that_of_duckdb(
    queries: tuple[AnsweredQuery, QueryOfDuckDBAlone], figures: list[str], condition: str, groups: str
) -> None:
    query, with_duckdb = queries
    query.answered = 0
    named = (f"{figure} AS f{number}" for number, figure in enumerate(figures))
    sql = f"SELECT symbol, {', '.join(named)} FROM bars {condition} GROUP BY {groups} ORDER BY symbol"

    expected, found = with_duckdb.run(sql), query.run(sql)

    assert found.schema.equals(expected.schema, check_metadata=True)
    assert [*map(_rounded, found.to_pylist())] == [*map(_rounded, expected.to_pylist())]
    assert query.answered == query.has_mapped_copies  # of Parquet copies DuckDB makes them as quickly


def test_every_figure_without_a_name_has_that_of_duckdb(
    queries: tuple[AnsweredQuery, QueryOfDuckDBAlone],
) -> None:
    query, with_duckdb = queries
    query.answered = 0
    sql = f"SELECT symbol, {', '.join(FIGURES)} FROM bars GROUP BY symbol ORDER BY symbol"

    expected, found = with_duckdb.run(sql), query.run(sql)

    assert found.schema.equals(expected.schema, check_metadata=True)
    assert [*map(_rounded, found.to_pylist())] == [*map(_rounded, expected.to_pylist())]
    assert query.answered == query.has_mapped_copies


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.12g}") if isinstance(value, float) else value for name, value in row.items()}


@pytest.mark.parametrize("function", ["avg", "min", "max"])
def test_values_that_are_no_numbers_are_left_to_duckdb(tmp_path: Path, function: str) -> None:
    store = StoreOnDisk(tmp_path, copy_format="arrow")
    bars = [bar("2024-01-02T15:00:00Z", vwap=math.nan), bar("2024-01-02T16:00:00Z", vwap=7.0)]
    store.keep((day("A", "2024-01-02"), bars))
    store.refresh("A", [Timeframe.MINUTE_1])
    sql = f"SELECT {function}(vwap) AS figure FROM bars GROUP BY symbol"

    with queries_of(store) as (query, with_duckdb):
        assert str(query.run(sql).to_pylist()) == str(with_duckdb.run(sql).to_pylist())
        assert query.answered == 0


def test_a_symbol_without_bars_has_no_row(queries: tuple[AnsweredQuery, QueryOfDuckDBAlone]) -> None:
    found = queries[0].run("SELECT symbol, avg(close) AS mean FROM bars GROUP BY symbol")

    assert sorted(found["symbol"].to_pylist()) == list(SYMBOLS)
