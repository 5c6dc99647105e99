from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import QueryError, StorageError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.infrastructure.interruptible_answer import answer_interruptibly, bounded_answer
from marketpipe.storage.infrastructure.read_only_sql import refuse_all_but_reading
from marketpipe.storage.infrastructure.steady_reading import looks_below, read_steadily
from marketpipe.storage.infrastructure.store_layout import DAY_FILE, MONTH_FOLDER, YEAR_FOLDER, StoreLayout

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
}
LIMITS: Mapping[str, str] = {"max_temp_directory_size": "16GiB"}
"""Where a query needs more than memory. DuckDB's own limits are four fifths of the memory, and nearly all of a disk."""
UNITS = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}
SHARE_OF_AN_ANSWER = 4
"""An answer lies outside of the memory that DuckDB counts; it may have a quarter as much again."""
OUT_OF_REACH = "Permission Error"
UNREADABLE = ("IO Error", "Out of Memory Error", "FATAL Error")
COLUMNS = "timestamp, open, high, low, close, volume, trade_count, vwap"
EMPTY = (
    "CREATE VIEW {name} AS SELECT ''::VARCHAR AS symbol, DATE '1970-01-01' AS trading_date, "
    "TIMESTAMPTZ '1970-01-01 00:00:00Z' AS timestamp, 0.0::DOUBLE AS open, 0.0::DOUBLE AS high, 0.0::DOUBLE AS low, "
    "0.0::DOUBLE AS close, 0.0::DOUBLE AS volume, 0::BIGINT AS trade_count, 0.0::DOUBLE AS vwap WHERE false"
)
VIEW = """
CREATE VIEW {name} AS
SELECT symbol, CAST(timestamp AT TIME ZONE 'America/New_York' AS DATE) AS trading_date, {columns}
FROM read_parquet('{glob}', hive_partitioning = true, hive_types = {types})
"""


class DuckDBQuery:
    """SQL over the store and nothing else: views ``bars`` (minutes), ``bars_5m``, ``bars_1d`` …

    Only SELECT and EXPLAIN run, and only of the views. Should anything else get through: DuckDB may open files below
    the store's roots and a scratch folder of its own, no others, and can neither write, load extensions, attach
    databases nor change its own settings back.
    """

    def __init__(self, layout: StoreLayout, limits: Mapping[str, str] = LIMITS) -> None:
        """``limits`` are settings of DuckDB, such as ``memory_limit``."""
        self._layout, self._limits = layout, limits

    def run(self, sql: str) -> pa.Table:
        """Raises ``QueryError`` for a wrong query, ``StorageError`` where files cannot be read; in DuckDB's words."""
        roots = [self._root_of(timeframe) for timeframe in Timeframe if _is_named(timeframe, sql)]
        return read_steadily(lambda: looks_below(roots), lambda: self._run(sql))

    def _run(self, sql: str) -> pa.Table:
        try:
            return answer_interruptibly(lambda: self.locked(sql), lambda connection: _ask(connection, sql))
        except (duckdb.Error, pa.ArrowInvalid, OSError) as error:
            raise self._translated(error) from error

    @contextmanager
    def locked(self, sql: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that reaches the files of the store and no others, with the views that ``sql`` may name."""
        with (
            TemporaryDirectory(prefix="marketpipe-query-") as scratch,
            duckdb.connect(config={**CONFIG, **self._limits, "temp_directory": scratch}) as connection,
        ):
            self._open_views(connection, sql)
            self._lock(connection)
            yield connection

    def _translated(self, error: Exception) -> StorageError:
        """By its first words, which it keeps when it comes to us through Arrow; its class it does not."""
        said = str(error).strip()
        if isinstance(error, OSError) and error.errno is not None:
            return StorageError(f"the query finds no scratch folder: {said}; free space, or set TMPDIR")
        if said.startswith(UNREADABLE):
            return StorageError(f"the query could not be run: {said}")
        if not said.startswith(OUT_OF_REACH) and self._names_a_file(said):
            return StorageError(f"a file of the store is damaged: {said}")
        return QueryError(f"the query means nothing here: {said}")

    def _names_a_file(self, words: str) -> bool:
        return any(f"{root.resolve()}/" in words for root in (self._layout.data, self._layout.aggregates))

    def _open_views(self, connection: duckdb.DuckDBPyConnection, sql: str) -> None:
        """DuckDB looks into a first file of each; where that is damaged, only a query that names the view fails."""
        connection.execute("SET TimeZone = 'UTC'")
        for timeframe in Timeframe:
            with nullcontext() if _is_named(timeframe, sql) else suppress(duckdb.Error):
                self._open_view(connection, _view_of(timeframe), timeframe)

    def _open_view(self, connection: duckdb.DuckDBPyConnection, name: str, timeframe: Timeframe) -> None:
        root = self._root_of(timeframe)
        if timeframe is Timeframe.MINUTE_1:
            minutes = root / f"symbol=*/{MONTH_FOLDER}/{DAY_FILE}"
            _open(connection, name, root, minutes, "{'symbol': VARCHAR, 'year': INT, 'month': INT}")
        elif timeframe.is_intraday:
            types = "{'symbol': VARCHAR, 'year': INT, 'timeframe': VARCHAR}"
            _open(connection, name, root, root / f"symbol=*/{MONTH_FOLDER}.parquet", types)
        else:
            types = "{'symbol': VARCHAR, 'timeframe': VARCHAR}"
            _open(connection, name, root, root / f"symbol=*/{YEAR_FOLDER}.parquet", types)

    def _root_of(self, timeframe: Timeframe) -> Path:
        minutes = timeframe is Timeframe.MINUTE_1
        return self._layout.data if minutes else self._layout.aggregates / f"timeframe={timeframe}"

    def _lock(self, connection: duckdb.DuckDBPyConnection) -> None:
        roots = [root.resolve() for root in (self._layout.data, self._layout.aggregates)]
        allowed = ", ".join(f"'{_quoted(form)}/'" for root in roots for form in (root, _literal(root)))
        connection.execute(f"SET allowed_directories = [{allowed}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    refuse_all_but_reading(connection, sql, [_view_of(timeframe) for timeframe in Timeframe])
    return bounded_answer(connection, sql, _largest_answer(connection))


def _largest_answer(connection: duckdb.DuckDBPyConnection) -> int:
    """In bytes."""
    ((limit,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = str(limit).split()
    return int(float(number) * 1024 ** UNITS[unit]) // SHARE_OF_AN_ANSWER


def _is_named(timeframe: Timeframe, sql: str) -> bool:
    return re.search(rf"\b{_view_of(timeframe)}\b", sql, re.IGNORECASE) is not None


def _view_of(timeframe: Timeframe) -> str:
    return "bars" if timeframe is Timeframe.MINUTE_1 else f"bars_{timeframe}"


def _open(connection: duckdb.DuckDBPyConnection, name: str, root: Path, files: Path, types: str) -> None:
    pattern = files.relative_to(root)
    if next(root.glob(str(pattern)), None) is None:
        connection.execute(EMPTY.format(name=name))
    else:
        glob = _quoted(_literal(root.resolve()) / pattern)
        connection.execute(VIEW.format(name=name, columns=COLUMNS, glob=glob, types=types))


def _literal(root: Path) -> Path:
    """The root may have characters that a glob would read as its own."""
    return Path("".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(root)))


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
