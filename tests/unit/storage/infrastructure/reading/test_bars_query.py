"""Which queries only select bars: those that copies answer without DuckDB."""

from __future__ import annotations

from datetime import date

import pytest

from marketpipe.storage.infrastructure.reading.bars_query import BarsQuery, Rows, bars_query
from marketpipe.storage.infrastructure.reading.needed_bars import ALL, NeededBars
from marketpipe.storage.infrastructure.reading.select_syntax import COLUMNS, ExactBars
from tests.support.parsed_queries import parsed

MAY = {"first": date(2024, 5, 2), "last": date(2024, 5, 3)}


def found(sql: str) -> BarsQuery | None:
    return bars_query(sql, parsed(sql))


@pytest.mark.parametrize(
    ("condition", "bars"),
    [
        ("", ALL),
        ("WHERE symbol = 'AAPL'", NeededBars(frozenset({"AAPL"}))),
        ("WHERE symbol IN ('AAPL', 'MSFT') AND 'AAPL' = symbol", NeededBars(frozenset({"AAPL"}))),
        ("WHERE trading_date BETWEEN DATE '2024-05-02' AND '2024-05-03'", NeededBars(**MAY)),
        ("WHERE trading_date > '2024-05-01' AND DATE '2024-05-04' > trading_date", NeededBars(**MAY)),
        (
            "WHERE trading_date = '2024-05-02' AND trading_date = '2024-05-03'",
            NeededBars(None, MAY["last"], MAY["first"]),
        ),
    ],
)
def test_conditions_on_symbols_and_dates_are_plain(condition: str, bars: NeededBars) -> None:
    expected = BarsQuery(("symbol", "close"), ExactBars(bars))
    assert found(f"SELECT symbol, close FROM bars {condition} ORDER BY symbol, timestamp") == expected


@pytest.mark.parametrize(
    "order", ["", "ORDER BY symbol", "ORDER BY symbol ASC, trading_date, timestamp", "ORDER BY symbol, trading_date"]
)
def test_bars_may_be_ordered_as_they_are_kept(order: str) -> None:
    assert found(f"SELECT close, trading_date FROM bars {order}") == BarsQuery(
        ("close", "trading_date"), ExactBars(ALL)
    )


def test_all_columns_may_be_selected_by_an_asterisk() -> None:
    assert found("SELECT * FROM bars") == BarsQuery(COLUMNS, ExactBars(ALL))


@pytest.mark.parametrize(
    ("limit", "rows"), [("LIMIT 3", Rows(0, 3)), ("LIMIT 3 OFFSET 4", Rows(4, 3)), ("OFFSET 4", Rows(4))]
)
def test_rows_of_one_order_may_be_limited(limit: str, rows: Rows) -> None:
    expected = BarsQuery(("close",), ExactBars(ALL), rows)
    assert found(f"SELECT close FROM bars ORDER BY symbol, timestamp {limit}") == expected


def test_bars_of_one_symbol_may_be_ordered_by_time_alone() -> None:
    sql = "SELECT close FROM bars WHERE symbol {} ORDER BY timestamp"
    assert found(sql.format("= 'AAPL'"))
    assert not found(sql.format("IN ('AAPL', 'MSFT')"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT *, close FROM bars",
        "SELECT bars.* FROM bars",
        "SELECT * EXCLUDE (close) FROM bars",
        "SELECT * REPLACE (1 AS close) FROM bars",
        "SELECT * RENAME (close AS c) FROM bars",
        "SELECT COLUMNS(*) FROM bars",
        "SELECT * LIKE 'c%' FROM bars",
        "SELECT close AS c FROM bars",
        "SELECT CLOSE FROM bars",
        "SELECT bars.close FROM bars",
        "SELECT close, close FROM bars",
        "SELECT close + 1 FROM bars",
        "SELECT avg(close) FROM bars",
        "SELECT DISTINCT close FROM bars",
        "SELECT close FROM bars b",
        "SELECT close FROM main.bars",
        "SELECT close FROM bars_1d",
        "SELECT close FROM bars, bars_1d",
        "SELECT close FROM bars AS bars(symbol)",
        "SELECT close FROM bars TABLESAMPLE 10%",
        "SELECT close FROM bars USING SAMPLE 10",
        "SELECT close FROM bars LIMIT 3",
        "SELECT close FROM bars ORDER BY symbol LIMIT 3",
        "SELECT close FROM bars ORDER BY symbol, trading_date OFFSET 3",
        "SELECT close FROM bars ORDER BY symbol, timestamp LIMIT 10%",
        "SELECT close FROM bars ORDER BY symbol, timestamp LIMIT -1",
        "SELECT close FROM bars ORDER BY symbol, timestamp LIMIT 1.5",
        "SELECT close FROM bars ORDER BY symbol, timestamp LIMIT 1 + 1",
        "SELECT close FROM bars ORDER BY symbol, timestamp LIMIT ALL",
        "SELECT close FROM bars ORDER BY symbol, timestamp LIMIT 3 OFFSET '1'",
        "SELECT close FROM bars ORDER BY symbol, timestamp LIMIT 99999999999999999999",
        "SELECT symbol FROM bars GROUP BY symbol",
        "SELECT symbol FROM bars GROUP BY ALL",
        "SELECT symbol FROM bars QUALIFY row_number() OVER () = 1",
        "SELECT symbol FROM bars ORDER BY symbol DESC",
        "SELECT symbol FROM bars ORDER BY symbol NULLS FIRST",
        "SELECT symbol FROM bars ORDER BY timestamp",
        "SELECT symbol FROM bars ORDER BY symbol, close",
        "SELECT symbol FROM bars ORDER BY 1",
        "SELECT symbol FROM bars ORDER BY ALL",
        "WITH bars AS (SELECT 'x' AS symbol) SELECT symbol FROM bars",
        "SELECT symbol FROM bars UNION ALL SELECT symbol FROM bars",
        "SELECT symbol FROM bars; SELECT symbol FROM bars",
        "EXPLAIN SELECT symbol FROM bars",
        "-- all\nEXPLAIN SELECT symbol FROM bars",
        "SELECT symbol FROM bars; DROP VIEW bars",
        "this is no SQL",
    ],
)
def test_any_other_query_is_not(sql: str) -> None:
    assert found(sql) is None


@pytest.mark.parametrize(
    "condition",
    [
        "close > 1",
        "symbol = 'AAPL' AND close > 1",
        "symbol = 'AAPL' OR symbol = 'MSFT'",
        "NOT symbol = 'AAPL'",
        "symbol >= 'AAPL'",
        "symbol IN ('AAPL', session)",
        "symbol NOT IN ('AAPL', 'MSFT')",
        "symbol = 'aapl'",
        "symbol = 'AAPL' COLLATE NOCASE",
        "symbol BETWEEN 'AAPL' AND 'AAPL'",
        "trading_date IN ('2024-05-02', '2024-05-04')",
        "trading_date <> '2024-05-02'",
        "trading_date > '2024-13-02'",
        "trading_date > TRY_CAST('2024-05-02' AS DATE)",
        "trading_date > TIMESTAMP '2024-05-02 10:00'",
        "trading_date > CAST('2024-05-02' AS DATE(3))",
        "trading_date > CAST('2024-05-02' AS other.DATE)",
        "trading_date > '2024-05-02 10:00'",
        "trading_date NOT BETWEEN '2024-05-02' AND '2024-05-03'",
        "timestamp > '2024-05-02 10:00' OR timestamp < '2024-05-01 10:00'",
        "timestamp <> '2024-05-02 10:00'",
        "timestamp IN ('2024-05-02 10:00')",
        "timestamp > TIMESTAMP '2024-05-02 10:00+01'",
        "timestamp > DATE '2024-05-02 10:00'",
        "timestamp > TIMESTAMPTZ(3) '2024-05-02 10:00'",
        "timestamp > CAST('2024-05-02' AS pg_catalog.timestamp)",
        "timestamp > TIMESTAMP_S '2024-05-02 10:00'",
        "timestamp > '2024-05-02 10:00 America/New_York'",
        "timestamp > '2024-05-02 10:00:00.1234567'",
        "timestamp > '2024-05-32'",
        "timestamp > TRY_CAST('2024-05-02' AS TIMESTAMP)",
        "timestamp NOT BETWEEN '2024-05-02' AND '2024-05-03'",
        "timestamp > timestamp",
        "trading_date = trading_date",
        "true",
    ],
)
def test_any_other_condition_is_not(condition: str) -> None:
    assert found(f"SELECT symbol FROM bars WHERE {condition}") is None
