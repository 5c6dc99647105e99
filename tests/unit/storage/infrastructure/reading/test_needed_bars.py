"""A query reads the files of the symbols and months that it can need, and has the answer of all files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ConfigurationError, MarketPipeError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.infrastructure.reading.duckdb_query import VIEWS, DuckDBQuery
from marketpipe.storage.infrastructure.reading.needed_bars import ALL, NeededBars, needed_bars
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, day
from tests.support.examples import examples, some_params
from tests.support.parsed_queries import parsed
from tests.support.store_on_disk import StoreOnDisk

SYMBOLS = ("AAPL", "BRK.B", "MSFT")
DATES = ("2023-11-30", "2023-12-29", "2024-01-02", "2024-01-31", "2024-02-01", "2024-03-28")
MAY = {"first": date(2024, 5, 2), "last": date(2024, 5, 3)}


def some(*symbols: str, first: date = date.min, last: date = date.max) -> NeededBars:
    return NeededBars(frozenset(symbols) or None, first, last)


def found(sql: str) -> Mapping[str, NeededBars]:
    return needed_bars(parsed(sql), VIEWS)


UNDERSTOOD = {
    "symbol = 'AAPL'": some("AAPL"),
    "'AAPL' = bars.symbol": some("AAPL"),
    "symbol IN ('AAPL', 'MSFT') AND close > 1": some("AAPL", "MSFT"),
    "symbol IN ('AAPL', 'MSFT') AND symbol = 'MSFT'": some("MSFT"),
    "symbol = 'AAPL' OR symbol = 'MSFT'": some("AAPL", "MSFT"),
    "trading_date BETWEEN DATE '2024-05-02' AND '2024-05-03'": some(**MAY),
    "trading_date > '2024-05-01' AND '2024-05-04'::DATE > trading_date": some(**MAY),
    "trading_date IN ('2024-05-03', '2024-05-02')": some(**MAY),
    "timestamp >= TIMESTAMPTZ '2024-05-04 00:00+02'": some(first=date(2024, 5, 2)),
    "timestamp < '2024-05-01T13:30:00Z'": some(last=date(2024, 5, 3)),
    "trading_date <= TIMESTAMP '2024-05-01 10:00'": some(last=date(2024, 5, 3)),
}


@pytest.mark.parametrize(("condition", "needed"), UNDERSTOOD.items())
def test_conditions_with_constants_are_understood(condition: str, needed: NeededBars) -> None:
    assert found(f"SELECT avg(close) FROM bars WHERE {condition} GROUP BY symbol") == {"bars": needed}


@pytest.mark.parametrize(
    "condition",
    [
        "symbol <> 'AAPL'",
        "NOT symbol = 'AAPL'",
        "symbol = 'AAPL' OR close > 1",
        "symbol = upper('aapl')",
        "upper(symbol) = 'AAPL'",
        "symbol IN ('AAPL', session)",
        "symbol IN (SELECT 'AAPL')",
        "symbol = 'aapl' COLLATE NOCASE",
        "symbol IS NOT DISTINCT FROM NULL",
        "CASE WHEN symbol = 'AAPL' THEN true ELSE true END",
        "trading_date > make_date(2024, 5, 2)",
        "trading_date > '2024-13-02'",
        "trading_date > '0044-03-15 (BC)'",
        "trading_date > 'epoch'",
        "timestamp >= TIMESTAMPTZ '2024-05-02 00:00+99:00'",
        "timestamp >= '2024-05-02 00:00:00-16'",
        "trading_date + INTERVAL 1 DAY > DATE '2024-05-02'",
        "year(trading_date) = 2024",
        "true",
    ],
)
def test_other_conditions_mean_all_bars(condition: str) -> None:
    assert found(f"SELECT close FROM bars WHERE {condition}") == {"bars": ALL}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'AAPL' AS symbol FROM bars WHERE symbol = 'AAPL'",
        "SELECT * FROM (SELECT 'AAPL' AS symbol, close FROM bars) WHERE symbol = 'AAPL'",
        "WITH b AS (SELECT 'AAPL' AS symbol, close FROM bars) SELECT * FROM b WHERE symbol = 'AAPL'",
        "SELECT * FROM bars AS b(name, trading_date, symbol) WHERE symbol = 'AAPL'",
        "SELECT * FROM bars AS symbol WHERE symbol.symbol = 'AAPL'",
        "SELECT * FROM bars, (VALUES ('AAPL')) AS names(name) WHERE names.name = 'AAPL'",
        "SELECT * FROM bars b LEFT JOIN range(3) r ON b.symbol = 'AAPL'",
        "SELECT * FROM range(3) r SEMI JOIN bars b ON b.close > r.range",
        "SELECT * FROM bars b ANTI JOIN bars_1d d ON d.symbol = b.symbol WHERE b.symbol = 'AAPL'",
        "SELECT * FROM bars b POSITIONAL JOIN bars_1d d WHERE b.symbol = 'AAPL'",
        "SELECT * FROM bars_1d d ASOF JOIN bars b ON d.timestamp >= b.timestamp WHERE b.symbol = 'AAPL'",
        "SELECT * FROM bars TABLESAMPLE 10 ROWS WHERE symbol = 'AAPL'",
        "SELECT * FROM bars WHERE symbol = 'AAPL' USING SAMPLE 10 ROWS",
        "SELECT * FROM bars WHERE symbol = 'AAPL' UNION ALL SELECT * FROM bars",
        "SELECT symbol, (SELECT max(close) FROM bars) FROM bars WHERE symbol = 'AAPL'",
        "SELECT symbol FROM bars GROUP BY symbol HAVING symbol = 'AAPL'",
        "SELECT symbol FROM bars QUALIFY symbol = 'AAPL'",
        "SELECT * FROM (PIVOT bars ON symbol IN ('AAPL') USING max(close))",
        "SUMMARIZE bars",
    ],
)
def test_a_condition_of_something_else_restricts_no_view(sql: str) -> None:
    assert found(sql)["bars"] == ALL


@pytest.mark.parametrize(
    ("sql", "needed"),
    [
        ("FROM bars b JOIN bars_1d d USING (symbol) WHERE b.symbol = 'AAPL'", {"bars": some("AAPL"), "bars_1d": ALL}),
        ("FROM bars b LEFT JOIN bars_5m f ON true WHERE f.symbol = 'AAPL'", {"bars": ALL, "bars_5m": some("AAPL")}),
        ("FROM bars b, bars c WHERE b.symbol = 'AAPL' AND c.symbol = 'MSFT'", {"bars": some("AAPL", "MSFT")}),
        ("WITH b AS (FROM Bars WHERE symbol = 'AAPL') FROM b WHERE symbol = 'MSFT'", {"bars": some("AAPL")}),
        ("SELECT (SELECT max(close) FROM main.bars WHERE symbol = 'AAPL')", {"bars": some("AAPL")}),
        ("WITH RECURSIVE t AS (SELECT 1 UNION FROM bars WHERE symbol = 'AAPL') FROM t", {"bars": some("AAPL")}),
        ("EXPLAIN ANALYZE FROM bars WHERE symbol = 'AAPL'", {"bars": some("AAPL")}),
        ("FROM bars WHERE symbol = 'AAPL' -- EXPLAIN\nOR true", {"bars": ALL}),
        ("this is no SQL", {}),
    ],
)
def test_each_part_of_a_query_is_restricted_by_its_own_conditions(sql: str, needed: Mapping[str, NeededBars]) -> None:
    assert found(sql) == needed


class UnrestrictedQuery(DuckDBQuery):
    def _needed(self, tree: Tree) -> Mapping[str, NeededBars]:
        return {}


@pytest.fixture(scope="module", params=some_params(["arrow", "none"]))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path_factory.mktemp("store"))
    for number, symbol in enumerate(SYMBOLS):
        for price, text in enumerate(DATES[number:], 10 * (number + 1)):
            times = ("09:05", "14:30", "20:59", "23:30")
            store.keep((day(symbol, text), [bar(f"{text}T{time}:00Z", float(price)) for time in times]))
    store.refresh("MSFT", [Timeframe.MINUTE_5, Timeframe.DAY_1])
    if request.param != "none":
        store.copy_format = request.param
        for symbol in SYMBOLS[1:]:
            store.refresh(symbol, [Timeframe.MINUTE_1])
    return store


symbols = st.sampled_from([*SYMBOLS, "GONE", "aapl"])
dates = st.sampled_from([*DATES, "2024-01-01", "2030-01-01"])
comparisons = st.sampled_from(["=", "<", "<=", ">", ">="])
columns = st.sampled_from(["trading_date", "timestamp"])
zones = st.sampled_from(["00:30+00", "00:30+99:00", "23:30-15:59", "00:30+16"])
forms = st.sampled_from(["'{}'", "DATE '{}'", "TIMESTAMP '{} 12:00'", "'{}T23:59:00Z'"])
forms |= st.builds("TIMESTAMPTZ '{{}} {}'".format, zones)
simple = st.one_of(
    st.builds("{{b}}symbol = '{}'".format, symbols),
    st.builds("{{b}}symbol IN ('{}', '{}')".format, symbols, symbols),
    st.builds("{{b}}{} {} {}".format, columns, comparisons, st.builds(str.format, forms, dates)),
    st.builds("{{b}}{} BETWEEN '{}' AND '{}'".format, columns, dates, dates),
    st.builds("{{b}}close > {}".format, st.integers(9, 40)),
)
conditions = st.recursive(
    simple, lambda of: st.builds("({} {} {})".format, of, st.sampled_from(["AND", "OR"]), of), max_leaves=4
)
SHAPES = (
    ("", "SELECT symbol, trading_date, timestamp, close, session FROM bars WHERE {}"),
    ("", "SELECT symbol, timestamp, close, session FROM bars_5m WHERE {}"),
    ("", "SELECT symbol, trading_date, close, source FROM bars_1d WHERE {}"),
    ("", "SELECT symbol, trading_date, close, volume FROM bars_1w WHERE {}"),
    ("", "SELECT symbol, trading_date, close, volume FROM bars_1mo WHERE {}"),
    (
        "",
        "WITH x AS (FROM bars WHERE {}) SELECT d.symbol, d.close FROM x JOIN bars_1d d USING (symbol)",
    ),
    ("", "SELECT symbol, max(close) FROM bars WHERE {} GROUP BY symbol UNION ALL SELECT symbol, close FROM bars_1d"),
    ("b.", "SELECT b.symbol, d.close, count(*) FROM bars b LEFT JOIN bars_1d d USING (symbol) WHERE {} GROUP BY ALL"),
    ("d.", "SELECT b.symbol, d.close, count(*) FROM bars b LEFT JOIN bars_1d d USING (symbol) WHERE {} GROUP BY ALL"),
    ("d.", "SELECT b.symbol, d.symbol FROM bars b FULL JOIN bars_1d d ON b.close = d.close + 9 WHERE {}"),
    ("b.", "SELECT d.symbol, (SELECT sum(b.close) FROM bars b WHERE {}) FROM bars_1d d"),
)


@settings(examples(50), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(shape=st.sampled_from(SHAPES), condition=conditions)
def test_the_answer_is_that_of_all_files(store: StoreOnDisk, shape: tuple[str, str], condition: str) -> None:
    sql = f"SELECT * FROM ({shape[1].format(condition.format(b=shape[0]))}) ORDER BY ALL"

    answers = [_answer(query, sql) for query in (store.query, UnrestrictedQuery(store.layout, CALENDAR.reaching))]

    assert answers[0] == answers[1]


def _answer(query: DuckDBQuery, sql: str) -> list[dict[str, object]]:
    try:
        return [*query.run(sql).to_pylist()]
    finally:
        query.close()


def test_files_of_others_are_not_read(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    for symbol in ("AAPL", "MSFT"):
        for text in ("2024-01-02", "2024-02-01"):
            store.keep((day(symbol, text), [bar(f"{text}T14:30:00Z", 10.0)]))
    wanted = store.path(day("AAPL", "2024-02-01"))
    for path in store.layout.data.rglob("*.parquet"):
        if path != wanted:
            path.write_bytes(b"damaged")

    found = store.query.run("SELECT symbol, close FROM bars WHERE symbol = 'AAPL' AND trading_date > '2024-01-31'")

    assert found.to_pylist() == [{"symbol": "AAPL", "close": 10.5}]
    with pytest.raises(MarketPipeError, match="damaged"):
        store.query.run("SELECT close FROM bars WHERE symbol = 'AAPL'")


def test_a_symbol_without_bars_has_no_rows_but_a_store_without_bars_is_refused(tmp_path: Path) -> None:
    store, sql = StoreOnDisk(tmp_path), "SELECT close FROM {} WHERE symbol = 'GONE'"
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        store.query.run(sql.format("bars"))
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z", 10.0)]))

    assert [store.query.run(sql.format(view)).num_rows for view in VIEWS] == [0] * len(VIEWS)


def test_a_symbol_whose_folder_is_a_link_is_refused(tmp_path: Path) -> None:
    store, other = StoreOnDisk(tmp_path / "one"), StoreOnDisk(tmp_path / "other")
    for each in (store, other):
        each.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z", 10.0)]))
    os.symlink(other.layout.data / "symbol=AAPL", store.layout.data / "symbol=MSFT")

    with pytest.raises(MarketPipeError, match="is a link"):
        store.query.run("SELECT close FROM bars WHERE symbol = 'MSFT'")
