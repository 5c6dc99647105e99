"""Writing tables for other programs: a stream of batches becomes one file, which appears complete or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import date
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, Protocol

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from marketpipe.shared_kernel.domain.errors import ConfigurationError, QueryError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.written_files import NO_PLACES, OwnPlaces, checked_target
from marketpipe.storage.domain.exported_file import ExportReport, FileFormat, json_value
from marketpipe.storage.infrastructure.publishing.temporary_files import sweep, temporary_name
from marketpipe.storage.infrastructure.store_layout import StoreLayout

ROWS_OF_A_GROUP: Final = 250_000
LONGEST_PERIOD: Final = 31
"""Days of a month, the longest bar."""
Batches = Iterable[pa.Table]


class TableFile:
    """One file to write a table to. It is written under a temporary name, synced and renamed when it is complete.

    Raises ``ConfigurationError`` for a path that cannot be written, is among the store's ``own`` ones, or is taken and
    not to be overwritten.
    """

    def __init__(
        self, path: Path, file_format: FileFormat, own: OwnPlaces = NO_PLACES, *, overwrite: bool = False
    ) -> None:
        self._path = checked_target(path, own, overwrite=overwrite)
        self._format, self._overwrite = file_format, overwrite

    def write(self, schema: pa.Schema, batches: Batches) -> ExportReport:
        """Write all batches, which have the ``schema``. Raises ``QueryError`` for what the format cannot hold."""
        temporary = self._path.with_name(temporary_name(self._path.name))
        try:
            with self._translating():
                sweep(self._path.parent, None)
                stream = temporary.open("wb")
            with stream:
                rows = self._fill(stream, schema, batches)
                with self._translating():
                    stream.flush()
                    os.fsync(stream.fileno())
            with self._translating():
                size = temporary.stat().st_size
                self._publish(temporary)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return ExportReport(str(self._path), self._format, rows, tuple(schema.names), size)

    def _fill(self, stream: IO[bytes], schema: pa.Schema, batches: Batches) -> int:
        """Return the number of rows. What ``batches`` raises is not ours to translate."""
        rows = 0
        with ExitStack() as open_writer:
            with self._translating():
                writer = open_writer.enter_context(WRITERS[self._format](stream, schema))
            for batch in batches:
                with self._translating():
                    writer.write(batch)
                rows += batch.num_rows
                del batch  # or it would be kept until the next one is made
            with self._translating():
                open_writer.close()
        return rows

    def formed(self, bars: pa.Table) -> pa.Table:
        """Return bars as the format shows them: in CSV with times in whole seconds, which is all that they have."""
        place = bars.schema.get_field_index("timestamp")
        if self._format is not FileFormat.CSV or place < 0:
            return bars
        zone = bars.schema.field(place).type.tz
        return bars.set_column(place, "timestamp", bars["timestamp"].cast(pa.timestamp("s", zone)))

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise QueryError(f"{self._format} cannot hold the result: {error}; cast columns, or use parquet") from error
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error.strerror or error}") from error

    def _publish(self, temporary: Path) -> None:
        if self._overwrite:
            os.replace(temporary, self._path)
        else:
            _rename_to_new(temporary, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Rename unless another program took the name meanwhile. Without hard links that cannot be told in one step."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise ConfigurationError(f"{path} was written by another program meanwhile; give another name") from None
    except OSError:
        os.rename(temporary, path)


class _Writer(Protocol):
    def write(self, table: pa.Table) -> None: ...


@contextmanager
def _parquet(stream: IO[bytes], schema: pa.Schema) -> Iterator[_Writer]:
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        yield writer


@contextmanager
def _csv(stream: IO[bytes], schema: pa.Schema) -> Iterator[_Writer]:
    with pacsv.CSVWriter(stream, schema) as writer:
        yield writer


@contextmanager
def _arrow(stream: IO[bytes], schema: pa.Schema) -> Iterator[_Writer]:
    with pa.ipc.new_file(stream, schema) as writer:
        yield writer


class _JsonWriter:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._joint = stream, b"\n"

    def write(self, table: pa.Table) -> None:
        try:
            rows = table.to_pylist()
        except (OverflowError, ValueError) as error:  # DuckDB's range of dates is wider than Python's
            raise QueryError(f"json cannot hold a value of the result: {error}; cast it to VARCHAR") from error
        for row in rows:
            self._stream.write(self._joint + json.dumps(json_value(row), allow_nan=False).encode())
            self._joint = b",\n"


@contextmanager
def _json(stream: IO[bytes], schema: pa.Schema) -> Iterator[_Writer]:
    if repeated := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise QueryError(f"two columns are named {repeated[0]!r}; rename one of them with AS")
    stream.write(b"[")
    yield _JsonWriter(stream)
    stream.write(b"\n]\n")


WRITERS: Final[Mapping[FileFormat, Callable[[IO[bytes], pa.Schema], AbstractContextManager[Any]]]] = {
    FileFormat.PARQUET: _parquet,
    FileFormat.CSV: _csv,
    FileFormat.ARROW: _arrow,
    FileFormat.JSON: _json,
}


Load = Callable[[Symbol, TradingDate, TradingDate], pa.Table]
"""Returns the bars of a symbol between two trading dates, both inclusive. The columns are always the same."""


def loaded_in_parts(
    layout: StoreLayout,
    symbols: Sequence[Symbol],
    dates: tuple[TradingDate, TradingDate],
    length: Timeframe,
    load: Load,
) -> Iterator[pa.Table]:
    """Yield what ``load`` returns for a symbol and a year at a time, by symbol, then time; longer bars all at once.

    Years of which the store has nothing are not loaded, so the dates may be as far apart as they can be.
    """
    first, last = dates
    for symbol in symbols:
        years = [year for year in layout.known_years(symbol) if first.day.year <= year <= last.day.year]
        spans = [(year, year) for year in years] if length.is_intraday else [(min(years), max(years))] if years else []
        for start, end in spans:
            begin = TradingDate(date(start, 1, 1))
            if length.is_made_of_days:  # the first of them may begin in the year before
                begin = begin.plus_days(-LONGEST_PERIOD)
            bars = load(symbol, max(first, begin), min(last, TradingDate(date(end, 12, 31))))
            if bars.num_rows:
                yield bars


def write_bars(file: TableFile, tables: Iterator[pa.Table], stated: Mapping[str, str]) -> ExportReport:
    """Write tables of bars as one. ``stated`` goes into the metadata of formats that have any.

    Raises ``ConfigurationError`` if there are no bars.
    """
    if (first := next(tables, None)) is None:
        raise ConfigurationError(
            "nothing was exported: no bars of these symbols, dates and timeframe are stored. 'marketpipe status' shows "
            "what is, and 'marketpipe coverage' what is missing"
        )
    formed = (file.formed(table) for table in in_groups(chain([first], tables)))
    schema = file.formed(first.slice(0, 0)).schema.with_metadata(dict(stated))
    return file.write(schema, formed)


def in_groups(tables: Batches) -> Iterator[pa.Table]:
    """Join small tables to row groups of 250,000 rows and more: ten thousand symbols must not make as many groups."""
    waiting, rows = list[pa.Table](), 0
    for table in tables:
        waiting, rows = [*waiting, table], rows + table.num_rows
        if rows >= ROWS_OF_A_GROUP:
            group, waiting, rows = pa.concat_tables(waiting), [], 0
            del table
            yield group
            del group
    if rows:
        yield pa.concat_tables(waiting)
