"""With read copies, whatever their state, the same bars are loaded as from day files alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.bar_selection import VALUES, BarSelection
from marketpipe.storage.infrastructure.reading.bar_loader import BarLoader
from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, day
from tests.support.examples import examples
from tests.support.store_on_disk import StoreOnDisk

SYMBOLS = [Symbol("AAPL"), Symbol("MSFT")]
DATES = ("2023-12-28", "2023-12-29", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-31", "2024-02-01")
TIMES = ("09:05", "14:30", "15:00", "20:59", "21:30")
"""UTC: before the open, in the session, and after the close."""
MUCH_LATER = Timestamp.parse("2100-01-01T00:00:00Z")

QUERIES = (
    "SELECT * FROM bars ORDER BY symbol, timestamp",
    "SELECT symbol, avg(close) FROM bars WHERE trading_date >= DATE '2024-01-03' GROUP BY symbol ORDER BY symbol",
    "SELECT timestamp, close FROM bars WHERE symbol = 'AAPL' AND timestamp < TIMESTAMPTZ '2024-01-31 00:00Z' "
    "ORDER BY timestamp",
    "SELECT * FROM bars_5m JOIN bars USING (symbol, timestamp) ORDER BY symbol, timestamp",
    "SELECT * FROM bars_1w ORDER BY symbol, timestamp",
)
Step = tuple[str, Any]
STORED = st.tuples(
    st.just("store"),
    st.tuples(
        st.sampled_from(SYMBOLS),
        st.sampled_from(DATES),
        st.lists(st.sampled_from(TIMES), min_size=1, unique=True).map(sorted),
        st.floats(1, 500).map(lambda price: round(price, 2)),
    ),
)
COPIED = st.tuples(st.just("copy"), st.sampled_from(["parquet", "arrow"]))
HARMED = st.tuples(
    st.just("harm"), st.tuples(st.sampled_from(["cut", "emptied", "zeroed", "removed"]), st.integers(0, 9))
)
AGED = st.tuples(st.just("age"), st.integers(0, 9))
STEPS = st.lists(STORED | COPIED | HARMED | AGED, min_size=4, max_size=14)


@frozen
class Question:
    first: TradingDate
    last: TradingDate
    selection: BarSelection
    as_of: Timestamp | None


@st.composite
def questions(draw: st.DrawFn) -> Question:
    first, last = sorted(TradingDate.parse(text) for text in draw(st.tuples(*[st.sampled_from(DATES)] * 2)))
    columns = draw(st.none() | st.lists(st.sampled_from(("symbol", "timestamp", *VALUES)), min_size=1, unique=True))
    session = draw(st.sampled_from([None, "regular"]))
    as_of = draw(st.sampled_from([None, MUCH_LATER]))
    return Question(first, last, BarSelection.of(Timeframe.MINUTE_1, session, columns), as_of)


@examples(150)
@given(steps=STEPS, question=questions())
def test_every_question_has_the_answer_of_the_day_files(steps: list[Step], question: Question) -> None:
    with some_store() as store:
        for name, argument in steps:
            ACTIONS[name](store, argument)

        assert answer(store.layout, store, question).equals(answer(without_copies(store.layout), store, question))


@settings(examples(40), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps=STEPS, sql=st.sampled_from(QUERIES))
def test_sql_has_the_answer_of_the_day_files(steps: list[Step], sql: str) -> None:
    with some_store() as store:
        _store(store, (SYMBOLS[0], DATES[2], ["15:00"], 100.0))  # a store without bars has no views
        for name, argument in steps:
            ACTIONS[name](store, argument)

        found, expected = (
            DuckDBQuery(layout, CALENDAR.reaching).run(sql) for layout in (store.layout, without_copies(store.layout))
        )
        assert found.equals(expected)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("as_of", [None, MUCH_LATER])
def test_fresh_copies_are_what_is_read(form: str, as_of: Timestamp | None) -> None:
    """Otherwise the test above would hold of a loader that knows no copies."""
    with some_store() as store:
        for date in DATES:
            _store(store, (SYMBOLS[0], date, ["15:00"], 100.0))
        _copy(store, form)
        question = Question(TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-31"), ALL, as_of)
        expected = answer(without_copies(store.layout), store, question)
        for path in store.layout.data.rglob("*.parquet"):  # damaged, with the times and sizes that they had
            found = path.stat()
            path.write_bytes(bytes(found.st_size))
            os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))

        assert answer(store.layout, store, question).equals(expected)


ALL = BarSelection.of(Timeframe.MINUTE_1)


def answer(layout: StoreLayout, store: StoreOnDisk, question: Question) -> Any:
    loader = BarLoader(layout, store.aggregator, CALENDAR.reaching)
    dates = question.first, question.last, Timeframe.MINUTE_1
    return loader.load(SYMBOLS, *dates, question.as_of, selection=question.selection)


def without_copies(layout: StoreLayout) -> StoreLayout:
    return evolve(layout, copies=layout.data.with_name("no_copies"))


@contextmanager
def some_store() -> Iterator[StoreOnDisk]:
    with tempfile.TemporaryDirectory() as folder:
        yield StoreOnDisk(Path(folder))


def _store(store: StoreOnDisk, argument: tuple[Symbol, str, list[str], float]) -> None:
    symbol, date, times, price = argument
    store.keep((day(str(symbol), date), [bar(f"{date}T{time}:00Z", price) for time in times]))


def _copy(store: StoreOnDisk, form: str) -> None:
    store.copy_format = form
    for symbol in SYMBOLS:
        store.refresh(str(symbol), [Timeframe.MINUTE_1])


def _harm(store: StoreOnDisk, argument: tuple[str, int]) -> None:
    """Change a copy, and give it the time that it had."""
    kind, number = argument
    copies = sorted(path for path in store.layout.copies.rglob("month=*") if path.is_file())
    if not copies:
        return
    path = copies[number % len(copies)]
    found, content = path.stat(), path.read_bytes()
    if kind == "removed":
        path.unlink()
        return
    changed = {
        "cut": content[: len(content) // 2],
        "emptied": b"",
        "zeroed": content[:8] + bytes(max(len(content) - 16, 0)) + content[-8:],
    }
    path.unlink()
    path.write_bytes(changed[kind])
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _age(store: StoreOnDisk, number: int) -> None:
    """Give a day file another time, as a tree that was copied has."""
    files = sorted(store.layout.data.rglob("day=*.parquet"))
    if files:
        os.utime(files[number % len(files)], ns=(number, number))


ACTIONS = {"store": _store, "copy": _copy, "harm": _harm, "age": _age}
