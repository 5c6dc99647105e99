from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, QueryError, StorageError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.testing import bar
from tests.support.builders import day
from tests.support.store_on_disk import AGGREGATED, StoreOnDisk

VIEWS = ("bars", *(f"bars_{timeframe}" for timeframe in Timeframe if timeframe is not Timeframe.MINUTE_1))
COLUMNS = [
    ("symbol", "string"),
    ("trading_date", "date32[day]"),
    ("timestamp", "timestamp[us, tz=UTC]"),
    *((name, "double") for name in ("open", "high", "low", "close", "volume")),
    ("trade_count", "int64"),
    ("vwap", "double"),
]
SOURCE = ("source", "string")
"""The last column of days, weeks and months."""
SESSION = ("session", "string")
"""The last column of bars shorter than a day."""
SYMBOLS = ("AAPL", "TRUE", "NULL", "1")
"""Some of them words that a reader of Hive trees may take for a value of another type."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path_factory.mktemp("filled"))
    for number, symbol in enumerate(SYMBOLS):
        price = 10.0 * (number + 1)
        late = bar("2024-01-03T00:59:00Z", price + 2, trade_count=None, vwap=None)
        store.keep((day(symbol, "2024-01-02"), [bar("2024-01-02T14:30:00Z", price), late]))
        store.keep((day(symbol, "2024-02-01"), [bar("2024-02-01T14:30:00Z", price + 5)]))
        store.refresh(symbol)
    return store


def ask(store: StoreOnDisk, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.query.run(sql).to_pylist()
    return found


def test_bars_are_those_that_were_stored(filled: StoreOnDisk) -> None:
    found = filled.query.run("SELECT * FROM bars WHERE symbol = 'AAPL' ORDER BY timestamp")

    assert [(field.name, str(field.type)) for field in found.schema] == [*COLUMNS, SESSION]
    rows = [bar("2024-01-02T14:30:00Z", 10.0), bar("2024-01-03T00:59:00Z", 12.0, trade_count=None, vwap=None)]
    assert found.to_pylist() == [
        {"symbol": "AAPL", "trading_date": date(2024, 1, 2), **rows[0], "session": "regular"},
        {"symbol": "AAPL", "trading_date": date(2024, 1, 2), **rows[1], "session": "late"},
        {"symbol": "AAPL", "trading_date": date(2024, 2, 1), **bar("2024-02-01T14:30:00Z", 15.0), "session": "regular"},
    ]


def test_every_symbol_is_text(filled: StoreOnDisk) -> None:
    for view in VIEWS:
        found = ask(filled, f"SELECT DISTINCT symbol FROM {view} ORDER BY symbol")
        assert [row["symbol"] for row in found] == sorted(SYMBOLS)


@pytest.mark.parametrize("timeframe", AGGREGATED)
def test_every_timeframe_has_a_view(filled: StoreOnDisk, timeframe: Timeframe) -> None:
    path = filled.aggregate_path("AAPL", timeframe, "2024-01")
    january = [row for row in filled.rows(path) if row["timestamp"].month == 1]

    found = filled.query.run(
        f"FROM bars_{timeframe} WHERE symbol = 'AAPL' AND trading_date < '2024-02-01' ORDER BY timestamp"
    )

    is_day = timeframe is Timeframe.DAY_1
    last = SOURCE if is_day else SESSION
    assert [(field.name, str(field.type)) for field in found.schema] == [*COLUMNS, last]
    expected = [{"symbol": "AAPL", "trading_date": date(2024, 1, 2), **row} for row in january]
    assert found.drop_columns(last[0]).to_pylist() == expected
    assert found[last[0]].to_pylist() == (["minutes"] if is_day else ["regular", "late"])


def test_an_order_is_kept_and_a_limit_is_obeyed(filled: StoreOnDisk) -> None:
    found = ask(filled, "SELECT close FROM bars ORDER BY close DESC LIMIT 3")

    assert [row["close"] for row in found] == [45.5, 42.5, 40.5]


def test_views_may_be_joined_and_aggregated(filled: StoreOnDisk) -> None:
    sql = """
        WITH days AS (SELECT symbol, trading_date, max(high) AS high FROM bars GROUP BY ALL)
        SELECT count(*) AS days FROM days JOIN bars_1d AS d USING (symbol, trading_date) WHERE days.high >= d.high
    """

    assert ask(filled, sql) == [{"days": 2 * len(SYMBOLS)}]


@pytest.mark.parametrize("explain", ["EXPLAIN", "explain analyze", "EXPLAIN\n  ANALYZE"])
def test_a_query_may_be_explained(filled: StoreOnDisk, explain: str) -> None:
    (row,) = ask(filled, f"{explain} SELECT * FROM bars WHERE symbol = 'AAPL'")

    assert "PARQUET" in str(row).upper()


@pytest.mark.parametrize(
    "sql",
    [
        "PIVOT bars_1d ON symbol IN ('AAPL', 'NULL') USING first(close) GROUP BY trading_date ORDER BY trading_date",
        "FROM bars_1d PIVOT (first(close) FOR symbol IN ('AAPL', 'NULL') GROUP BY trading_date) ORDER BY ALL",
    ],
)
def test_closes_may_be_put_side_by_side(filled: StoreOnDisk, sql: str) -> None:
    assert ask(filled, sql) == [
        {"trading_date": date(2024, 1, 2), "AAPL": 10.5, "NULL": 30.5},
        {"trading_date": date(2024, 2, 1), "AAPL": 15.5, "NULL": 35.5},
    ]


@pytest.mark.parametrize("start", ["", "EXPLAIN ", "WITH wide AS ("])
def test_a_pivot_without_its_values_is_refused_with_what_to_write(filled: StoreOnDisk, start: str) -> None:
    end = ") FROM wide" if "(" in start else ""

    with pytest.raises(QueryError, match=r"PIVOT must name its values, as in PIVOT bars_1d ON symbol IN \("):
        ask(filled, f"{start}PIVOT bars_1d ON symbol USING first(close) GROUP BY trading_date{end}")


@pytest.mark.parametrize("sql", ["SHOW TABLES", "SELECT * FROM (SHOW TABLES)"])
def test_the_views_can_be_listed(filled: StoreOnDisk, sql: str) -> None:
    assert [row["name"] for row in ask(filled, sql)] == sorted(VIEWS)


def test_a_view_can_be_described(filled: StoreOnDisk) -> None:
    assert [row["column_name"] for row in ask(filled, "DESCRIBE bars_1d")] == [name for name, _ in (*COLUMNS, SOURCE)]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_without_bars_is_an_error_and_not_an_empty_answer(tmp_path: Path, view: str) -> None:
    with pytest.raises(ConfigurationError, match=f"view bars(_1d)? has no bars|view {view} has no bars") as missing:
        StoreOnDisk(tmp_path).query.run(f"SELECT count(*) FROM {view}")

    assert f"{tmp_path / 'data'}: there is no such folder; correct output_path, or ingest or import bars first" in str(
        missing.value
    )
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_names_no_view_needs_no_bars(tmp_path: Path) -> None:
    assert ask(StoreOnDisk(tmp_path), "SELECT 1 AS one") == [{"one": 1}]


def test_files_that_are_gone_are_an_error(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z")]))
    store.path(day("AAPL", "2024-01-02")).unlink()

    with pytest.raises(ConfigurationError, match="it holds no bars"):
        ask(store, "SELECT count(*) FROM bars_5m")


@pytest.mark.parametrize("name", ["a [store]", "star*", "what?", "it's", 'say "so"', "{a,b}", "a%20b", "[!x]", "ünï"])
def test_a_root_may_have_characters_that_mean_something_to_sql_or_a_glob(tmp_path: Path, name: str) -> None:
    store = StoreOnDisk(tmp_path / name)
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z")]))
    store.refresh("AAPL", [Timeframe.DAY_1])

    assert ask(store, "SELECT bars.close, d.open FROM bars JOIN bars_1d AS d USING (symbol)") == [
        {"close": 100.5, "open": 100.0}
    ]


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    StoreOnDisk(tmp_path / "far").keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z")]))
    (tmp_path / "near").symlink_to(tmp_path / "far")

    assert ask(StoreOnDisk(tmp_path / "near"), "SELECT close FROM bars") == [{"close": 100.5}]


def test_copies_and_temporary_files_in_the_tree_are_not_bars(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z")]))
    path = store.path(day("AAPL", "2024-01-02"))
    path.with_name("day=02 (conflicted copy).parquet").write_bytes(path.read_bytes())
    path.with_name(".day=02.parquet.1-1.tmp").write_bytes(b"half")

    assert ask(store, "SELECT count(*) AS n FROM bars") == [{"n": 1}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "SELEC"),
        ("SELECT nothing FROM bars", "nothing"),
        ("SELECT * FROM candles", "candles"),
        ("SELECT 'x'::INT", "x"),
        ("SELECT $1", "1"),
    ],
)
def test_a_wrong_query_is_an_error_with_the_message_of_duckdb(filled: StoreOnDisk, sql: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        ask(filled, sql)


def test_a_damaged_file_is_a_storage_error(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep(*((day("AAPL", date), [bar(f"{date}T15:00:00Z")]) for date in ("2024-01-02", "2024-01-03")))
    path = store.path(day("AAPL", "2024-01-03"))
    path.write_bytes(path.read_bytes()[:-50])

    with pytest.raises(StorageError, match=r"day=03\.parquet"):
        ask(store, "SELECT sum(close) FROM bars")


def test_a_query_without_a_scratch_folder_is_an_error(
    filled: StoreOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    with pytest.raises(StorageError, match="the query has no scratch folder: .*; free space, or set TMPDIR"):  # noqa: RUF043
        ask(filled, "SELECT 1")
