"""What ``read.py`` compares: ways to keep the same bars, each with the three questions that it asks.

    python benchmarks/readers.py FOLDER NAME FIRST LAST SYMBOL...     prints the peaks of memory of one reader

Each answers in its own best form: MarketPipe, DuckDB and pyarrow with one table of Arrow, ArcticDB with a frame of
pandas for each symbol, which it makes faster than tables of Arrow. What a user opens once is open before the
measurement: MarketPipe's store, ArcticDB's library, DuckDB's connection. ``load_ohlcv``, which opens its store each
time, is a line of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple, Protocol

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from arcticdb import Arctic
from arcticdb.version_store.library import ReadRequest

from marketpipe import Pipeline, StoreConfig, TradingDate, load_ohlcv
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA

BARS = pa.schema([("symbol", pa.string()), *BAR_SCHEMA])
CLOSES = pa.schema([("symbol", pa.string()), ("close", pa.float64())])
LARGEST_MAP = "16GB"
SAMPLED_EVERY_SECONDS = 0.002
OURS, LOADS, OPENING_LOADS, QUERIES = "MarketPipe", "MarketPipe load", "MarketPipe load_ohlcv", "MarketPipe query"
DAY_FILES, ARCTIC, ONE_FILE, DUCKDB = (
    "day files",
    "ArcticDB, LMDB",
    "one Parquet file a symbol-year",
    "DuckDB, day files",
)
ARROW_COPIES = "Arrow copies"
FORMS = {DAY_FILES: "none", "Parquet copies": "parquet", ARROW_COPIES: "arrow"}
"""What MarketPipe reads, with the value of ``read_copies`` that makes it."""
NOT_ASKED = {f"{QUERIES}, {DAY_FILES}": ("bars", "last_closes")}
"""Methods that would only cost time: this one lists and opens every file of the store, and takes half a minute."""


class Span(NamedTuple):
    """Symbols and trading dates, both inclusive."""

    symbols: list[str]
    first: TradingDate
    last: TradingDate

    @property
    def moments(self) -> tuple[datetime, datetime]:
        """The midnights in New York of the first date and of the one after the last."""
        return self.first.midnight.moment, self.last.plus_days(1).midnight.moment

    def in_sql(self) -> str:
        names = ", ".join(f"'{symbol}'" for symbol in self.symbols)
        return f"symbol IN ({names}) AND trading_date BETWEEN DATE '{self.first}' AND DATE '{self.last}'"


class Reader(Protocol):
    """``bars`` are all columns of every bar, by symbol, then time; the other two have one row a symbol."""

    def bars(self, span: Span) -> Any: ...

    def last_closes(self, span: Span) -> Any: ...

    def mean_closes(self, span: Span) -> Any: ...

    def table_of(self, answer: Any, span: Span) -> pa.Table:
        """Return what a method returned as a table, to compare it: not measured."""


class MarketPipeLoads:
    """``Store.load`` or ``load_ohlcv``, and for means what a user of Arrow does with its table."""

    def __init__(self, load: Callable[..., pa.Table]) -> None:
        self._load = load

    def bars(self, span: Span) -> pa.Table:
        return self._load(*span)

    def last_closes(self, span: Span) -> pa.Table:
        return _last_rows(self._load(*span, columns=["symbol", "close"]))

    def mean_closes(self, span: Span) -> pa.Table:
        return _means(self._load(*span, columns=["symbol", "close"]))

    def table_of(self, answer: pa.Table, _: Span) -> pa.Table:
        return answer


class MarketPipeQueries:
    """``Store.query``. The store is open."""

    def __init__(self, root: Path) -> None:
        self._query = Pipeline(_store(root)).query

    def bars(self, span: Span) -> pa.Table:
        names = ", ".join(BARS.names)
        return self._query(f"SELECT {names} FROM bars WHERE {span.in_sql()} ORDER BY symbol, timestamp")

    def last_closes(self, span: Span) -> pa.Table:
        columns = "symbol, arg_max(close, timestamp) AS close"
        return self._query(f"SELECT {columns} FROM bars WHERE {span.in_sql()} GROUP BY symbol ORDER BY symbol")

    def mean_closes(self, span: Span) -> pa.Table:
        columns = "symbol, avg(close) AS close"
        return self._query(f"SELECT {columns} FROM bars WHERE {span.in_sql()} GROUP BY symbol ORDER BY symbol")

    def table_of(self, answer: pa.Table, _: Span) -> pa.Table:
        return answer


class DuckDBByHand:
    """DuckDB with the exact day files, as from a user who knows the layout and computes the paths."""

    def __init__(self, root: Path) -> None:
        self._data, self._connection = root / "data", duckdb.connect()

    def bars(self, span: Span) -> pa.Table:
        return self._answer(f"SELECT {', '.join(BARS.names)} FROM {{files}}", span)

    def last_closes(self, span: Span) -> pa.Table:
        return self._by_symbol("arg_max(close, timestamp)", span)

    def mean_closes(self, span: Span) -> pa.Table:
        return self._by_symbol("avg(close)", span)

    def table_of(self, answer: pa.Table, _: Span) -> pa.Table:
        return answer

    def _by_symbol(self, value: str, span: Span) -> pa.Table:
        return self._answer(f"SELECT symbol, {value} AS close FROM {{files}} GROUP BY symbol ORDER BY symbol", span)

    def _answer(self, sql: str, span: Span) -> pa.Table:
        files = [f"{self._data}/symbol={symbol}/{_pattern(span)}" for symbol in span.symbols]
        return self._connection.sql(
            sql.format(files=f"read_parquet({files}, hive_partitioning = true)")
        ).to_arrow_table()


class OneParquetFile:
    """One Parquet file a symbol-year, as pyarrow writes it unless told otherwise; read by pyarrow's datasets."""

    HIVE = ds.partitioning(pa.schema([("symbol", pa.string()), ("year", pa.int32())]), flavor="hive")

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, symbol: str, year: int, bars: pa.Table) -> None:
        path = self._path(symbol, year)
        path.parent.mkdir(parents=True)
        pq.write_table(bars, path)

    def bars(self, span: Span) -> pa.Table:
        if len(span.symbols) == 1:
            return pq.ParquetFile(self._path(span.symbols[0], span.first.day.year)).read()  # faster than a dataset
        return self._read(span, BARS.names)

    def last_closes(self, span: Span) -> pa.Table:
        return _last_rows(self._read(span, CLOSES.names))

    def mean_closes(self, span: Span) -> pa.Table:
        return _means(self._read(span, CLOSES.names, whole=True))

    def table_of(self, answer: pa.Table, span: Span) -> pa.Table:
        if "symbol" not in answer.column_names:
            answer = answer.add_column(0, "symbol", pa.repeat(span.symbols[0], len(answer)))
        return answer

    def _read(self, span: Span, columns: Sequence[str], *, whole: bool = False) -> pa.Table:
        files = [str(self._path(symbol, span.first.day.year)) for symbol in span.symbols]
        start, end = (pa.scalar(moment, BAR_SCHEMA.field("timestamp").type) for moment in span.moments)
        wanted = None if whole else (pc.field("timestamp") >= start) & (pc.field("timestamp") < end)
        return ds.dataset(files, format="parquet", partitioning=self.HIVE).to_table(list(columns), wanted)

    def _path(self, symbol: str, year: int) -> Path:
        return self._root / f"symbol={symbol}" / f"year={year}" / "bars.parquet"


class ArcticLibrary:
    """ArcticDB with LMDB, a frame of pandas for each symbol. The library is open."""

    def __init__(self, root: Path) -> None:
        arctic = Arctic(f"lmdb://{root}?map_size={LARGEST_MAP}")
        self._library = arctic.get_library("bars", create_if_missing=True)

    def write(self, symbol: str, bars: pa.Table) -> None:
        self._library.write(symbol, bars.to_pandas().set_index("timestamp"))

    def bars(self, span: Span) -> list[Any]:
        start, end = span.moments
        until = end - timedelta(microseconds=1)  # both are inclusive
        requests = [ReadRequest(symbol, date_range=(start, until)) for symbol in span.symbols]
        if len(requests) == 1:
            return [self._library.read(span.symbols[0], date_range=(start, until)).data]
        return self._read(requests)

    def last_closes(self, span: Span) -> list[Any]:
        return self._read([ReadRequest(symbol, row_range=(-1, None), columns=["close"]) for symbol in span.symbols])

    def mean_closes(self, span: Span) -> list[Any]:
        requests = [ReadRequest(symbol, columns=["close"]) for symbol in span.symbols]
        return [float(frame["close"].mean()) for frame in self._read(requests)]

    def table_of(self, answer: list[Any], span: Span) -> pa.Table:
        if isinstance(answer[0], float):
            return pa.table([span.symbols, answer], CLOSES)
        return pa.concat_tables(map(_as_table, span.symbols, answer))

    def _read(self, requests: list[ReadRequest | str]) -> list[Any]:
        return [item.data for item in self._library.read_batch(requests)]


def _pattern(span: Span) -> str:
    """Return which day files of a symbol have the dates: a year, a month or a day of them."""
    first, last = span.first.day, span.last.day
    month = f"month={first:%m}" if first.month == last.month else "*"
    return f"year={first:%Y}/{month}/{f'day={first:%d}' if first == last else '*'}.parquet"


def _last_rows(bars: pa.Table) -> pa.Table:
    """Return the last row of each symbol. Bars come by symbol, then time."""
    ends = pc.run_end_encode(bars["symbol"].combine_chunks()).run_ends
    return bars.select(CLOSES.names).take(pc.subtract(ends, 1))


def _means(bars: pa.Table) -> pa.Table:
    return bars.group_by("symbol").aggregate([("close", "mean")]).rename_columns(CLOSES.names)


def _as_table(symbol: str, frame: Any) -> pa.Table:
    table = pa.Table.from_pandas(frame, preserve_index=True).replace_schema_metadata()
    return table.add_column(0, "symbol", pa.repeat(symbol, len(table)))


def _store(root: Path, **changes: Any) -> StoreConfig:
    paths = {f"{name}_path": root / name for name in ("quarantine", "aggregates", "revisions")}
    state = root / "state" / "marketpipe.sqlite"
    return StoreConfig(output_path=root / "data", state_path=state, timeframes=[], **paths, **changes)


def make_copies(root: Path) -> None:
    """Make a store for each form of read copies, with links to the day files of "days"."""
    for form in FORMS.values():
        copytree(root / "days" / "data", root / form / "data", copy_function=os.link)
        copytree(root / "days" / "state", root / form / "state")
        if form != "none":
            with Pipeline(_store(root / form, read_copies=form)) as pipeline:
                pipeline.aggregate()


def write_peers(root: Path, year: int, bars: Iterable[tuple[str, pa.Table]]) -> None:
    arctic, one_file = ArcticLibrary(root / "arctic"), OneParquetFile(root / "one")
    for symbol, table in bars:
        arctic.write(symbol, table)
        one_file.write(symbol, year, table)


def day_files_of(root: Path, symbol: str) -> pa.Table:
    """Return all bars of a symbol, in the columns of a day file."""
    files = sorted((root / "data" / f"symbol={symbol}").glob("*/*/*.parquet"))
    return ds.dataset([str(path) for path in files], schema=BAR_SCHEMA).to_table()


def open_all(root: Path) -> dict[str, Reader]:
    """Return every reader by its name: MarketPipe's first."""
    loads: dict[str, Reader] = {
        f"{LOADS}, {name}": MarketPipeLoads(Pipeline(_store(root / form)).load) for name, form in FORMS.items()
    }
    opening = {f"{OPENING_LOADS}, {ARROW_COPIES}": MarketPipeLoads(partial(load_ohlcv, root=root / "arrow"))}
    queries = {f"{QUERIES}, {name}": MarketPipeQueries(root / form) for name, form in FORMS.items()}
    peers = {
        DUCKDB: DuckDBByHand(root / "days"),
        ONE_FILE: OneParquetFile(root / "one"),
        ARCTIC: ArcticLibrary(root / "arctic"),
    }
    return {**loads, **opening, **queries, **peers}


def peaks_of(reader: Reader, span: Span) -> tuple[float, float]:
    """Return how much memory a read takes at its peak, above what the process had, relative to the answer's bytes.

    The first is all that is resident; the second is what the process has for itself. Pages of files that are mapped are
    resident too, but they are the system's cache, which would have them anyway and takes them back when it needs to.
    """
    reader.bars(span._replace(symbols=span.symbols[:1]))  # what is imported and opened for the first bar
    resident, own, found, ended = _status("VmRSS"), _status("RssAnon"), [0], threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLED_EVERY_SECONDS):  # the system keeps no peak of it
            found.append(_status("RssAnon"))

    sampling = threading.Thread(target=sample)
    sampling.start()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    answer = reader.bars(span)
    ended.set()
    sampling.join()
    size = _bytes_of(answer) / 1024
    return (_status("VmHWM") - resident) / size, (max(*found, _status("RssAnon")) - own) / size


def _status(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def _bytes_of(answer: Any) -> int:
    if isinstance(answer, pa.Table):
        return int(answer.nbytes)
    return sum(int(frame.memory_usage(index=True).sum()) for frame in answer)


if __name__ == "__main__":
    _folder, _name, _first, _last, *_symbols = sys.argv[1:]
    _span = Span(_symbols, TradingDate.parse(_first), TradingDate.parse(_last))
    print("".join(f"{peak:12.2f}" for peak in peaks_of(open_all(Path(_folder))[_name], _span)))
