"""A store with read copies, and its queries with and without the answers that need no DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.infrastructure.aggregates.read_copies import OpenedCopies
from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery
from marketpipe.storage.infrastructure.reading.query_views import QueryViews
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, day
from tests.support.store_on_disk import StoreOnDisk

SYMBOLS = ("A", "AAPL", "BRK.B", "MSFT")
DATES = ("2023-12-29", "2024-01-02", "2024-01-03", "2024-01-31", "2024-02-01")
TIMES = ("09:05", "14:30", "20:59", "23:30")


class QueryOfDuckDBAlone(DuckDBQuery):
    def _answered(self, sql: str, tree: Tree, views: QueryViews) -> pa.Table | None:
        return None


class AnsweredQuery(DuckDBQuery):
    """Counts what was answered without DuckDB."""

    answered = 0
    has_mapped_copies = False

    def _answered(self, sql: str, tree: Tree, views: QueryViews) -> pa.Table | None:
        found = super()._answered(sql, tree, views)
        self.answered += found is not None
        return found


def made(root: Path, form: str) -> StoreOnDisk:
    """Make a store with read copies of a form; every other symbol has no vwap."""
    store = StoreOnDisk(root, copy_format=form)
    for number, symbol in enumerate(SYMBOLS):
        for price, text in enumerate(DATES[number % 2 :], 10 * (number + 1)):
            changes = {} if number % 2 else {"vwap": None}
            bars = [bar(f"{text}T{time}:00Z", price + 0.1, **changes) for time in TIMES[number % 3 :]]
            store.keep((day(symbol, text), bars))
        store.refresh(symbol, [Timeframe.MINUTE_1])
    return store


def answering(store: StoreOnDisk) -> AnsweredQuery:
    query = AnsweredQuery(store.layout, CALENDAR.reaching, opened=OpenedCopies())
    query.has_mapped_copies = store.copy_format == "arrow"
    return query


@contextmanager
def queries_of(store: StoreOnDisk) -> Iterator[tuple[AnsweredQuery, QueryOfDuckDBAlone]]:
    with_duckdb = QueryOfDuckDBAlone(store.layout, CALENDAR.reaching, opened=OpenedCopies())
    with closing(answering(store)) as query, closing(with_duckdb):
        yield query, with_duckdb
