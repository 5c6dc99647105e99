"""A query that copies answer without DuckDB has DuckDB's answer, to the names and types of its columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.read_copies import ReadCopy, encode_copy
from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.reading.bars_query import BarsQuery
from marketpipe.storage.infrastructure.reading.copies_answer_bars import answered_bars
from marketpipe.storage.infrastructure.reading.minute_files import MinuteFiles
from marketpipe.storage.infrastructure.reading.month_parts import parts_of_months
from marketpipe.storage.infrastructure.reading.needed_bars import ALL, NeededBars
from marketpipe.storage.infrastructure.reading.select_syntax import ExactBars
from marketpipe.storage.infrastructure.reading.session_hours import SessionNames
from marketpipe.testing import bar
from tests.support.answered_queries import (
    DATES,
    SYMBOLS,
    AnsweredQuery,
    QueryOfDuckDBAlone,
    answering,
    made,
    queries_of,
)
from tests.support.builders import CALENDAR, day
from tests.support.examples import examples, some
from tests.support.store_on_disk import StoreOnDisk

COLUMNS = (
    "symbol",
    "trading_date",
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "trade_count",
    "vwap",
    "session",
)
FORMS = pytest.mark.parametrize("form", some(["arrow", "parquet"]))


symbols = st.lists(st.sampled_from([*SYMBOLS, "GONE"]), min_size=1, max_size=3)
dates = st.sampled_from([*DATES, "2024-01-15", "2030-01-01"])
moments = st.sampled_from(
    [
        "'2024-01-02'",
        "DATE '2024-01-31'",
        "'2024-01-02 14:30'",
        "TIMESTAMP '2024-01-02 14:30:00.000001'",
        "TIMESTAMPTZ '2024-01-03T18:29:59.9+03:59'",
        "TIMESTAMP WITH TIME ZONE '2024-01-31 15:59-05'",
        "'2024-02-01T23:30Z'",
    ]
)
conditions = st.one_of(
    st.builds(lambda names: f"symbol IN ({', '.join(map(repr, names))})", symbols),
    st.builds("trading_date {} '{}'".format, st.sampled_from(["=", "<", "<=", ">", ">="]), dates),
    st.builds("trading_date BETWEEN DATE '{}' AND '{}'".format, dates, dates),
    st.builds("timestamp {} {}".format, st.sampled_from(["=", "<", "<=", ">", ">="]), moments),
    st.builds("timestamp BETWEEN {} AND {}".format, moments, moments),
    st.builds("{} <= timestamp".format, moments),
)


@settings(examples(60), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    columns=st.just([*COLUMNS]) | st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True),
    where=st.lists(conditions, max_size=3),
    order=st.sampled_from(["", "ORDER BY symbol, timestamp", "ORDER BY symbol, trading_date, timestamp"]),
    limit=st.sampled_from(["", "LIMIT {}", "LIMIT {} OFFSET {}", "OFFSET {1}"]),
    rows=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_the_answer_is_that_of_duckdb(
    queries: tuple[AnsweredQuery, QueryOfDuckDBAlone],
    columns: list[str],
    where: list[str],
    order: str,
    limit: str,
    rows: tuple[int, int],
) -> None:
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    names = "*" if columns == [*COLUMNS] else ", ".join(columns)
    limit = limit.format(*rows) if order else ""
    sql, (query, with_duckdb) = f"SELECT {names} FROM bars {condition} {order} {limit}", queries
    query.answered = 0

    expected, found = with_duckdb.run(sql), query.run(sql)

    assert found.schema.equals(expected.schema, check_metadata=True)
    keys = [(name, "ascending") for name in columns] if not order else []
    assert (found.sort_by(keys) if keys else found).equals(expected.sort_by(keys) if keys else expected)
    assert query.answered == (1 if len(expected) and (query.has_mapped_copies or not limit) else 0)


@pytest.mark.parametrize("limit", ["LIMIT 0", "LIMIT 3", "LIMIT 5 OFFSET 4", "LIMIT 20 OFFSET 14", "OFFSET 9"])
def test_some_rows_of_mapped_copies_are_those_of_duckdb(
    queries: tuple[AnsweredQuery, QueryOfDuckDBAlone], limit: str
) -> None:
    query, with_duckdb = queries
    query.answered = 0
    sql = f"SELECT * FROM bars WHERE timestamp > '2024-01-01' ORDER BY symbol, timestamp {limit}"

    expected, found = with_duckdb.run(sql), query.run(sql)

    assert found.equals(expected, check_metadata=True)
    assert query.answered == query.has_mapped_copies


def test_rows_after_the_last_are_left_to_duckdb(queries: tuple[AnsweredQuery, QueryOfDuckDBAlone]) -> None:
    assert not len(queries[0].run("SELECT close FROM bars ORDER BY symbol, timestamp LIMIT 3 OFFSET 1000"))


def test_arrow_copies_are_the_answer_and_not_copied(tmp_path: Path) -> None:
    query = answering(made(tmp_path, "arrow"))

    answers = [query.run("SELECT timestamp, close FROM bars ORDER BY symbol, timestamp") for _ in range(2)]

    first, again = ([chunk.buffers()[1].address for chunk in answer["close"].chunks] for answer in answers)
    assert (first == again, query.answered) == (True, 2)


@FORMS
def test_a_month_without_a_fresh_copy_leaves_the_query_to_duckdb(tmp_path: Path, form: str) -> None:
    store = made(tmp_path, form)
    sql, query = "SELECT symbol, close FROM bars ORDER BY symbol, timestamp", answering(store)
    expected = query.run(sql)
    os.utime(store.layout.copy(MonthPartition(Symbol("AAPL"), 2024, 1), form), ns=(1, 1))

    assert query.run(sql).equals(expected)
    assert query.answered == 1
    query.run(f"{sql.partition(' ORDER')[0]} WHERE symbol = 'MSFT'")
    assert query.answered == 2


@FORMS
def test_a_torn_copy_is_not_the_answer(tmp_path: Path, form: str) -> None:
    store = made(tmp_path, form)
    sql, query = "SELECT symbol, close FROM bars ORDER BY symbol, timestamp", answering(store)
    expected, path = query.run(sql), Path(store.layout.copy(MonthPartition(Symbol("AAPL"), 2024, 1), form))
    modified = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[:-200])
    os.utime(path, ns=(modified, modified))

    assert query.run(sql).equals(expected)
    assert query.answered == 1


@FORMS
def test_bars_that_a_copy_has_in_another_order_are_sorted(tmp_path: Path, form: str) -> None:
    store = made(tmp_path, form)
    path = Path(store.layout.copy(MonthPartition(Symbol("AAPL"), 2024, 1), form))
    copy, modified = ReadCopy.open(str(path), mapped=False), path.stat().st_mtime_ns
    assert copy is not None
    reverse = copy.bars().sort_by([("timestamp", "descending")])
    path.write_bytes(encode_copy(reverse, copy.rows, copy.metadata, form))
    os.utime(path, ns=(modified, modified))
    query = answering(store)

    found = query.run("SELECT timestamp FROM bars WHERE symbol = 'AAPL' ORDER BY timestamp")["timestamp"].to_pylist()

    assert (found, query.answered) == (sorted(found), 0)


@FORMS
@pytest.mark.parametrize(("month", "years"), [(1, -60), (2, 120)])  # the order of the months stays
def test_bars_of_unusual_years_are_left_to_duckdb(tmp_path: Path, form: str, month: int, years: int) -> None:
    store = made(tmp_path, form)
    path = Path(store.layout.copy(MonthPartition(Symbol("AAPL"), 2024, month), form))
    copy, modified = ReadCopy.open(str(path), mapped=False), path.stat().st_mtime_ns
    assert copy is not None
    bars = copy.bars()
    moved = pc.add(bars["timestamp"], timedelta(days=365 * years))
    path.write_bytes(encode_copy(bars.set_column(0, "timestamp", moved), copy.rows, copy.metadata, form))
    os.utime(path, ns=(modified, modified))

    with queries_of(store) as (query, with_duckdb):
        sql = "SELECT trading_date, timestamp FROM bars WHERE symbol = 'AAPL' ORDER BY timestamp"
        assert query.run(sql).equals(with_duckdb.run(sql))
        assert query.answered == 0


def test_bars_of_a_parquet_copy_that_are_not_wanted_leave_memory(tmp_path: Path) -> None:
    found = answering(made(tmp_path, "parquet")).run("SELECT close FROM bars WHERE trading_date = '2024-01-02'")

    buffers = [chunk.buffers()[1] for chunk in found["close"].chunks]
    assert [buffer.size for buffer in buffers] == [8 * len(chunk) for chunk in found["close"].chunks]


def no_sessions(first: TradingDate, last: TradingDate) -> Sequence[TradingSession]:
    raise AssertionError("the column must not be made")


@FORMS
@pytest.mark.parametrize("column", COLUMNS)
def test_an_answer_that_is_too_large_is_left_to_duckdb_before_it_is_made(
    tmp_path: Path, form: str, column: str
) -> None:
    files = files_of(made(tmp_path, form))
    wanted, sessions = BarsQuery((column,), ExactBars(ALL)), SessionNames(CALENDAR.reaching)
    found = answered_bars(files, wanted, 1_000_000, sessions)

    assert found is not None
    assert answered_bars(files, wanted, found.nbytes - 1, SessionNames(no_sessions)) is None


@FORMS
def test_an_answer_that_fits_is_made_however_large_its_copies_are(tmp_path: Path, form: str) -> None:
    files, sessions = files_of(made(tmp_path, form)), SessionNames(CALENDAR.reaching)

    wanted = BarsQuery(("timestamp", "close", "symbol", "trading_date", "session"), ExactBars(ALL))
    found = answered_bars(files, wanted, 1_000_000, sessions)

    assert found is not None
    assert answered_bars(files, wanted, int(found.nbytes * 1.2), sessions) is not None


def test_bars_are_decoded_up_to_their_size_in_memory_and_not_that_of_their_file(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path, copy_format="parquet")
    minutes = [f"2024-01-02T{hour:02d}:{minute:02d}:00Z" for hour in range(10, 24) for minute in range(60)]
    store.keep((day("AAPL", "2024-01-02"), [bar(time, 10.0) for time in minutes]))
    store.refresh("AAPL", [Timeframe.MINUTE_1])
    files = files_of(store)
    size = 65 * len(minutes) * 2 // 8

    assert parts_of_months(files, ExactBars(ALL), ["close"], size) is not None
    assert parts_of_months(files, ExactBars(ALL), ["close"], size - 1) is None
    assert parts_of_months(files, ExactBars(ALL), COLUMNS, 4 * size - 1) is None
    assert size * 4 > 8 * Path(store.layout.copy(MonthPartition(Symbol("AAPL"), 2024, 1), "parquet")).stat().st_size


def test_decoded_bars_that_are_not_wanted_make_room_for_others(tmp_path: Path) -> None:
    files = files_of(made(tmp_path, "parquet"))
    one_day = ExactBars(NeededBars(None, date(2024, 1, 31), date(2024, 2, 1)))

    assert parts_of_months(files, one_day, ["close"], 65 * 2 * 9 // 8) is not None
    assert parts_of_months(files, ExactBars(ALL), ["close"], 65 * 2 * 9 // 8) is None


def files_of(store: StoreOnDisk) -> MinuteFiles:
    layout = store.layout
    return MinuteFiles.found(layout, layout.months(Symbol("AAPL")), StoredIdentity(layout), None, DayFileScans())


def test_too_many_copies_are_not_mapped_for_an_answer_that_may_be_kept(tmp_path: Path) -> None:
    files = files_of(made(tmp_path, "arrow"))

    assert parts_of_months(files, ExactBars(ALL), ["close"], 1_000_000, most_mapped=len(files.copies)) is not None
    assert parts_of_months(files, ExactBars(ALL), ["close"], 1_000_000, most_mapped=len(files.copies) - 1) is None
