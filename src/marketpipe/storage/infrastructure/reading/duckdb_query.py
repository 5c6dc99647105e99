"""SQL over the store: ``DuckDBQuery``, and the three things that make it safe.

Only reading is allowed (DuckDB's own syntax tree is searched), Ctrl-C ends a query, and a query that met a file while
it was replaced is run again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import QueryError, StorageError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.integrity import repaired_by
from marketpipe.storage.infrastructure.aggregates.read_copies import OpenedCopies
from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.parquet_files import advising
from marketpipe.storage.infrastructure.reading.bars_query import bars_query
from marketpipe.storage.infrastructure.reading.consistent_reading import read_consistently
from marketpipe.storage.infrastructure.reading.copies_answer_bars import answered_bars
from marketpipe.storage.infrastructure.reading.copies_answer_figures import figures_of, symbol_figures
from marketpipe.storage.infrastructure.reading.needed_bars import NeededBars, needed_bars
from marketpipe.storage.infrastructure.reading.query_views import QueryViews, allowed_folders, view_of
from marketpipe.storage.infrastructure.reading.sandboxed_connections import SandboxedConnections
from marketpipe.storage.infrastructure.reading.selected_bars import Sessions
from marketpipe.storage.infrastructure.reading.session_hours import SessionColumns, SessionNames
from marketpipe.storage.infrastructure.reading.source_files import FilesInPlace, SourceFiles
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree, parts_of, syntax_tree, without_explain
from marketpipe.storage.infrastructure.store_layout import StoreLayout

Connection = duckdb.DuckDBPyConnection
T = TypeVar("T")

LIMITS: Mapping[str, str] = {"max_temp_directory_size": "16GiB"}
"""For queries that need more than memory. DuckDB's defaults are four fifths of the memory, and nearly all of a disk."""
UNITS: Final = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}
SHARE_OF_AN_ANSWER: Final = 4
"""An answer is not part of the memory that DuckDB counts; it may take a quarter as much again."""
OUT_OF_REACH: Final = "Permission Error"
VIEWS: Final = tuple(map(view_of, Timeframe))
WRONG_SQL: Final = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
UNREADABLE: Final = ("IO Error", "Out of Memory Error", "FATAL Error")


class DuckDBQuery:
    """SQL over the store and nothing else: views ``bars`` (minutes), ``bars_5m``, ``bars_1d``, ``bars_1w`` …

    Only SELECT and EXPLAIN run, and only on the views. Should anything else get through: DuckDB may open files below
    the store's roots and in its own scratch folder, no others, and can neither write, load extensions, attach
    databases nor change its own settings back.
    """

    def __init__(
        self,
        layout: StoreLayout,
        sessions: Sessions,
        closing_auction: Callable[[], int | None] = lambda: None,
        limits: Mapping[str, str] = LIMITS,
        opened: OpenedCopies | None = None,
        scans: DayFileScans | None = None,
        identity: StoredIdentity | None = None,
        source: SourceFiles | None = None,
    ) -> None:
        """``closing_auction`` returns that of days made of minutes, in minutes after the close; None for none.

        ``limits`` are settings of DuckDB, such as ``memory_limit``. ``opened`` keeps opened read copies, and ``scans``
        what was found in folders. ``identity`` finds the dataset of the store, and without it one is made.
        ``source`` has the files where DuckDB can read them; without it they are read where they are.
        """
        self._identity, self._source = identity or StoredIdentity(layout), source or FilesInPlace(layout)
        self._opened, self._scans = opened, DayFileScans() if scans is None else scans
        self._sessions, self._closing_auction = sessions, closing_auction
        self._session_columns, self._session_names = SessionColumns(), SessionNames(sessions)
        self._largest: int | None = None
        self._connections = SandboxedConnections(limits, lambda: allowed_folders(self._roots()))

    def close(self) -> None:
        """Close the connection that is kept for the next query, and what its files were laid out in."""
        self._connections.close()
        self._source.close()

    def run(self, sql: str) -> pa.Table:
        """Return the answer.

        Raises ``QueryError`` for a wrong query, ``ConfigurationError`` for a view without bars, and ``StorageError``
        for files that cannot be read. The message contains DuckDB's own.
        """
        return self._consistently(sql, _bounded, self._answered)

    def stream(self, sql: str, use: Callable[[pa.RecordBatchReader], T]) -> T:
        """Return what ``use`` makes of the answer, which may be larger than the memory. Raises as ``run``.

        ``use`` is called again from the first row if a file was replaced meanwhile, on another thread than this one.
        """
        return self._consistently(sql, lambda connection, sql: _streamed(connection, sql, use))

    def _consistently(
        self,
        sql: str,
        answer: Callable[[Connection, str], T],
        plainly: Callable[[str, Tree, QueryViews], T | None] = lambda *_: None,
    ) -> T:
        """``plainly`` returns the answer without DuckDB, or None."""
        with self._translating():
            tree = answer_interruptibly(self._connections.open, lambda connection: syntax_tree(connection, sql))
        needed = needed_bars(tree, VIEWS)  # of what is missing in it, all
        views = self._views(sql, needed)

        def read() -> T:
            found = plainly(sql, tree, views)
            return self._run(sql, tree, answer, views) if found is None else found

        with self._source.naming(), advising(self._identity.read):
            try:
                return read_consistently(views.fingerprints, read)
            except StorageError as error:
                if not views.reads_copies or not _may_be_of_a_file(error):
                    raise
            of_day_files = self._views(sql, needed, copies=False)  # a copy may be torn, and is then as good as none
            return read_consistently(of_day_files.fingerprints, lambda: self._run(sql, tree, answer, of_day_files))

    def _answered(self, sql: str, tree: Tree, views: QueryViews) -> pa.Table | None:
        """Return the answer if read copies have it without DuckDB; None if they do not."""
        if (figures := symbol_figures(sql, tree)) is not None:
            return views.answered(lambda files: figures_of(files, figures))
        if (selection := bars_query(sql, tree)) is None:
            return None
        if self._largest is None:  # it is a setting of every connection
            with self._translating():
                self._largest = answer_interruptibly(self._connections.open, _largest_answer)
        most = self._largest
        return views.answered(lambda files: answered_bars(files, selection, most, self._session_names))

    def _views(self, sql: str, needed: Mapping[str, NeededBars], *, copies: bool = True) -> QueryViews:
        calendar, kept = (self._sessions, self._closing_auction), (self._opened, self._scans)
        given = *calendar, self._identity, *kept
        return QueryViews(self._source, sql, needed, *given, self._session_columns, copies=copies)

    def _run(self, sql: str, tree: Tree, answer: Callable[[Connection, str], T], views: QueryViews) -> T:
        def checked(connection: Connection) -> T:
            refuse_all_but_reading(connection, sql, tree, VIEWS)
            return answer(connection, sql)

        with self._translating():
            return answer_interruptibly(lambda: self.connection(views), checked)

    @contextmanager
    def connection(self, views: QueryViews | None = None) -> Iterator[Connection]:
        """Open a connection that can read the files of the store and no others, with these views."""
        with self._connections.open() as connection:
            (views or self._views("", {})).create(connection)
            yield connection

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> StorageError:
        """Return our error for one of DuckDB. Its class is lost on the way through Arrow, its first words are not."""
        message = str(error).strip()
        if isinstance(error, OSError) and error.errno is not None:
            return StorageError(f"the query has no scratch folder: {message}; free space, or set TMPDIR")
        if message.startswith(UNREADABLE):
            return StorageError(f"the query could not be run: {message}")
        roots = [f"{root.resolve()}/" for root in self._roots()]
        if not message.startswith(OUT_OF_REACH) and any(root in message for root in roots):
            reason = message.partition("\n")[0]  # then comes the SQL of a view
            return StorageError(f"a file of the store is damaged: {reason}. {repaired_by(self._identity.read())}")
        return QueryError(f"the query is not valid: {message}")

    def _roots(self) -> tuple[Path, ...]:
        at = self._source.layout
        return at.data, at.aggregates, at.official, at.copies


def _may_be_of_a_file(error: StorageError) -> bool:
    """Return False if it is certain that the query itself is wrong, whatever the files have."""
    cause = error.__cause__
    return not isinstance(error, QueryError) or (cause is not None and not isinstance(cause, WRONG_SQL))


def _bounded(connection: Connection, sql: str) -> pa.Table:
    return bounded_answer(connection, sql, _largest_answer(connection))


def _streamed(connection: Connection, sql: str, use: Callable[[pa.RecordBatchReader], T]) -> T:
    with connection.sql(sql).to_arrow_reader(ROWS_AT_A_TIME) as reader:
        return use(reader)


def _largest_answer(connection: Connection) -> int:
    """Return how many bytes an answer may have."""
    ((limit,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = str(limit).split()
    return int(float(number) * 1024 ** UNITS[unit]) // SHARE_OF_AN_ANSWER


READING_NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
SOURCES: Final = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF"}
)
"""What may follow FROM."""
TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"})
REVEALING_FUNCTIONS: Final = frozenset(
    {
        *("current_setting", "getenv", "getvariable", "get_block_size", "format_type", "write_log"),
        *("json_serialize_plan", "json_execute_serialized_sql", "query", "query_table"),
        *("pg_get_viewdef", "pg_get_constraintdef", "sleep_ms", "pg_sleep"),
    }
)
"""Scalar functions that reveal more than their arguments: settings, the machine, the catalog, SQL in a string."""
OPEN_PIVOT: Final = (
    "PIVOT must name its values, as in PIVOT bars_1d ON symbol IN ('AAPL', 'MSFT') USING first(close) GROUP BY "
    "trading_date; without IN (…) DuckDB would first create a type, and a query creates nothing"
)
VIEW_NAMES: Final = '"tables"'
"""The name that SHOW TABLES has in the tree."""
CATALOG: Final = "SELECT view_name FROM duckdb_views() WHERE internal UNION SELECT table_name FROM duckdb_tables()"


def refuse_all_but_reading(connection: Connection, sql: str, tree: Tree, views: Collection[str]) -> None:
    """Raises ``QueryError`` unless ``sql`` is one SELECT, or one EXPLAIN [ANALYZE] of a SELECT, of ``views`` alone.

    The type of a statement is not enough: ``EXPLAIN ANALYZE COPY …`` and ``WITH x AS (COPY …) SELECT …`` write files,
    and some functions run SQL from a string. So its syntax ``tree`` is searched.
    """
    statements = connection.extract_statements(without_explain(sql))
    if [statement.type for statement in statements] == [duckdb.StatementType.MULTI]:
        raise QueryError(OPEN_PIVOT)
    parts = list(parts_of(tree))
    nodes = {part["type"] for part in parts if str(part.get("type")).endswith("_NODE")}
    if len(statements) != 1 or not nodes or not nodes <= READING_NODES:
        raise QueryError("one SELECT statement at a time; nothing in the store can be changed by a query")
    _refuse_functions(parts)
    _refuse_sources(parts, frozenset(views) | _named_within(parts, connection))


def _refuse_functions(parts: Collection[Tree]) -> None:
    for part in parts:
        if "function_name" in part and str(part["function_name"]).lower() in REVEALING_FUNCTIONS:
            raise QueryError(f"{part['function_name']}() is not allowed: a query reads the views and nothing else")


def _refuse_sources(parts: Collection[Tree], names: Collection[str]) -> None:
    for part in parts:
        if "sample" not in part or "select_list" in part:  # every source has a sample, and so has a SELECT
            continue
        if part["type"] not in SOURCES:
            raise QueryError(f"{part['type']} is not allowed: a query reads the views and nothing else")
        if part["type"] == "TABLE_FUNCTION":
            name = str(part["function"].get("function_name"))
            if name.lower() not in TABLE_FUNCTIONS:
                raise QueryError(f"{name}() is not allowed: a query reads the views and nothing else")
        elif part["type"] in ("BASE_TABLE", "SHOW_REF"):
            _refuse_table(part, names)


def _refuse_table(part: Tree, names: Collection[str]) -> None:
    name = part["table_name"].lower()
    described = part["type"] == "SHOW_REF" and (name == VIEW_NAMES or (not name and part["query"]))
    foreign = part["schema_name"].lower() not in ("", "main") or part["catalog_name"].lower() not in ("", "memory")
    if foreign or not (described or name in names):
        raise QueryError(
            f"{part['table_name']!r} is not one of the views, and a query reads nothing else: "
            f"{', '.join(sorted(names))}"
        )


def _named_within(parts: Collection[Tree], connection: Connection) -> frozenset[str]:
    """Return the names that WITH defines. Outside of its scope DuckDB looks a name up in its catalog, so no name of the
    catalog may be defined."""
    maps = (part["cte_map"]["map"] for part in parts if "cte_map" in part)
    names = {str(entry["key"]) for entries in maps for entry in entries}
    taken = {name for (name,) in connection.execute(CATALOG).fetchall()} if names else set()
    for name in names:
        if not re.fullmatch(r"\w+", name) or name.lower() in taken:
            raise QueryError(f"WITH cannot define {name!r}: choose another name")
    return frozenset(name.lower() for name in names)


ROWS_AT_A_TIME: Final = 100_000
INTERRUPT_EVERY_SECONDS: Final = 0.05
CHECK_SIGNALS_EVERY_SECONDS: Final = 0.25


def answer_interruptibly(
    connect: Callable[[], AbstractContextManager[Connection]], answer: Callable[[Connection], T]
) -> T:
    """Run a query on a thread of its own, so that Ctrl-C interrupts the caller, who then ends the query.

    On the main thread DuckDB would handle the signal itself, and raise an error of its own.
    """
    running, ended, opened = threading.Lock(), threading.Event(), list[Connection]()
    using = threading.Lock()

    def work() -> T:
        with running:
            if ended.is_set():
                raise QueryError("the query was ended before it began")
            with connect() as connection:
                opened.append(connection)
                try:
                    return answer(connection)
                finally:
                    with using:  # it may be kept for the query of another thread, which must not be interrupted
                        opened.clear()

    with ThreadPoolExecutor(1, "marketpipe-query") as runner:
        try:
            answering = runner.submit(work)
            while not wait([answering], CHECK_SIGNALS_EVERY_SECONDS).done:
                pass  # a signal that arrives just before a wait without a limit begins would be noticed after its end
            return answering.result()
        finally:  # Ctrl-C may come at any moment, and an interrupt before a query has begun is lost: so, again
            ended.set()
            while not running.acquire(timeout=INTERRUPT_EVERY_SECONDS):
                with using:
                    for connection in opened:
                        connection.interrupt()
            running.release()


def bounded_answer(connection: Connection, sql: str, largest: int) -> pa.Table:
    """Return the answer. Raises ``QueryError`` if it has more than ``largest`` bytes, before it fills the memory."""
    batches, size = list[pa.RecordBatch](), 0
    with connection.sql(sql).to_arrow_reader(ROWS_AT_A_TIME) as reader:
        for batch in reader:
            size += batch.nbytes
            if size > largest:
                raise QueryError(f"the result is larger than {largest:,} bytes: select fewer rows or columns")
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)
