"""Reading a user's files: CSV, plain, compressed or in a zip, and Parquet."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
from attrs import frozen

from marketpipe.integration.domain.table_columns import HEADERLESS, QUANTCONNECT, recognised
from marketpipe.integration.domain.table_import import PRICES
from marketpipe.integration.infrastructure.imported.table_reader import FILE_SYMBOL, SourceTable, refuse_repeated
from marketpipe.shared_kernel.domain.errors import ConfigurationError

PARQUET: Final = (".parquet", ".pq")
TEXT_ENDS: Final = (".csv", ".txt", ".tsv")
COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"(\xb5\x2f\xfd": "zstd", b"BZ": "bz2"}
UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
ZIP, PARQUET_MAGIC = b"PK\x03\x04", b"PAR1"
DELIMITERS: Final = ",;\t|"
DAILY: Final = ("date", *PRICES, "volume")
FIRST_BYTES: Final = 65_536
"""Enough for the first two lines of any table of bars."""
_LEAN_MINUTES: Final = re.compile(r"(?P<date>\d{8})_(?P<symbol>[a-z0-9.\-]+)_minute_trade\.csv", re.IGNORECASE)
_LEAN: Final = re.compile(r"\d{8}_[a-z0-9.\-]+_(?P<kind>\w+)\.csv", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
_TIME_LIKE: Final = re.compile(r"\s*\d[\d\-/.: TZ+]*(?:[AP]M)?\s*", re.IGNORECASE)
_ENDS: Final = re.compile(r"(?:\.(?:csv|txt|tsv|parquet|pq|gz|gzip|zst|bz2|zip))+$", re.IGNORECASE)
NO_HEADER: Final = "the file has no header: its columns are taken in the usual order, "


@frozen
class _Opened:
    """One table of a file: ``name`` is that of the file, or of the member of a zip."""

    name: str
    path: Path
    stream: IO[bytes] | pa.NativeFile
    first: bytes


def read_source(given: object) -> SourceTable:
    """Read a path, several paths, or a table: anything with the Arrow C stream interface, or a mapping of columns.

    Raises ``ConfigurationError``.
    """
    if isinstance(given, str | Path):
        return read_files([given])
    if isinstance(given, list | tuple) and all(isinstance(each, str | Path) for each in given):
        return read_files(given)
    if getattr(getattr(given, "columns", None), "nlevels", 1) > 1:
        raise ConfigurationError(
            "the columns of the DataFrame have two levels, as those of yfinance have. For one symbol give "
            'frame.droplevel(1, axis=1) and symbol="…", for several frame.stack(level=1).reset_index()'
        )
    try:
        return SourceTable(pa.table(given))
    except (TypeError, ValueError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConfigurationError(
            f"{type(given).__name__} is no table that can be imported ({error}): give an Arrow table, a DataFrame of "
            "pandas or Polars, or paths of CSV or Parquet files"
        ) from error


def read_files(paths: Sequence[str | Path]) -> SourceTable:
    """Return the rows of all files as one table. Raises ``ConfigurationError`` for a file that cannot be read."""
    if not paths:
        raise ConfigurationError("there is no file to import")
    read = [part for path in paths for part in _read(Path(path))]
    first = read[0]
    for path, part in zip(paths, read, strict=False) if len(paths) == len(read) else ():
        _check_same(str(paths[0]), first, str(path), part)
    _check_units(read)
    try:
        table = pa.concat_tables([part.table for part in read], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ConfigurationError(
            f"the files have columns of different types ({error}): import them one by one"
        ) from error
    if any(part.table.column_names != first.table.column_names or part.layout != first.layout for part in read):
        raise ConfigurationError("the files have different columns: import those that are alike together")
    notes = tuple(dict.fromkeys(note for part in read for note in part.notes))
    return SourceTable(table.unify_dictionaries(), first.layout, notes)


def _check_units(parts: Sequence[SourceTable]) -> None:
    """Raise ``ConfigurationError`` if some files have prices in one unit of their format, and some in another."""
    layout = recognised(parts[0].table.column_names)
    if layout is None or layout.integers == layout.decimals:
        return
    prices = [part.table[name].type for part in parts for name in PRICES if name in part.table.column_names]
    if len({pa.types.is_integer(kind) for kind in prices}) > 1:
        raise ConfigurationError(
            f"some files have prices in {layout.integers}, and some in {layout.decimals}: import those that are alike "
            "together"
        )


def _check_same(one: str, first: SourceTable, other: str, part: SourceTable) -> None:
    if part.table.column_names != first.table.column_names or part.layout != first.layout:
        raise ConfigurationError(f"{other} has other columns than {one}: import files that are alike together")


def _read(path: Path) -> Iterator[SourceTable]:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == PARQUET_MAGIC or path.suffix.lower() in PARQUET:
            table = pq.ParquetFile(path).read()
            yield SourceTable(_with_symbol(table, symbol_in(path.name)))
        elif magic == ZIP:
            yield from _read_zip(path)
        else:
            compression = next((name for begin, name in COMPRESSED.items() if magic.startswith(begin)), None)
            yield _read_text(_opened(path.name, path, lambda: pa.input_stream(str(path), compression=compression)))
    except (OSError, ValueError, zipfile.BadZipFile) as error:  # also a path with a null character
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, FileNotFoundError) and not path.is_absolute():
            reason = f"{reason}; relative paths begin in the current folder, or in --root"
        raise ConfigurationError(f"{path.absolute()} cannot be read: {reason}") from error


def _read_zip(path: Path) -> Iterator[SourceTable]:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.lower().endswith(TEXT_ENDS)]
        if not members:
            raise ConfigurationError(f"{path} has no CSV file in it")
        for member in members:
            yield _read_text(_opened(Path(member).name, path, lambda name=member: archive.open(name)))


def _opened(name: str, path: Path, open_again: Any) -> _Opened:
    """Read the first bytes to see what the file is, and open it once more for its rows."""
    with open_again() as stream:
        first = stream.read(FIRST_BYTES)
    return _Opened(name, path, open_again(), bytes(first))


def _read_text(file: _Opened) -> SourceTable:
    if file.first.startswith(UTF_16):
        raise ConfigurationError(f"{file.path} is UTF-16: save it as UTF-8, as programs do that write CSV")
    lines = [line for line in file.first.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    if not lines:
        raise ConfigurationError(f"{file.path} is empty")
    delimiter = max(DELIMITERS, key=lines[0].count)
    cells = [cell.strip().strip('"') for cell in lines[0].split(delimiter)]
    has_header = not all(_NUMBER.fullmatch(cell) or _TIME_LIKE.fullmatch(cell) or not cell for cell in cells)
    lean = _LEAN_MINUTES.fullmatch(file.name)
    if lean is None and (other := _LEAN.fullmatch(file.name)) and not has_header:
        raise ConfigurationError(
            f"{file.path} has QuantConnect's {other.group('kind')}: only its minute trades can be imported"
        )
    names, notes = (None, ()) if has_header else _names_without_header(file, len(cells), lean is not None)
    table = _parsed(file, delimiter, names)
    if lean is not None and not has_header:
        return SourceTable(_with_date_and_symbol(table, file, lean), QUANTCONNECT)
    return SourceTable(_with_symbol(table, symbol_in(file.name)), None, notes)


def _names_without_header(file: _Opened, count: int, is_lean: bool) -> tuple[list[str], tuple[str, ...]]:
    if is_lean:
        return ["time", *PRICES, "volume"], ()
    if count == 6 and not re.search(r"[:T]|\d{10}|\d{8} \d", file.first.decode("utf-8", "replace").split("\n")[0]):
        return list(DAILY), (NO_HEADER + ", ".join(DAILY),)
    names = HEADERLESS.get(count)
    if names is None:
        raise ConfigurationError(
            f"{file.path} has no header and {count} columns: only date, time, open, high, low, close, volume in this "
            "order can be told without names. Add a first line with the names of the columns"
        )
    return list(names), (NO_HEADER + ", ".join(names),)


def _parsed(file: _Opened, delimiter: str, names: list[str] | None) -> pa.Table:
    reading = pc_csv.ReadOptions(column_names=names, block_size=1 << 24)
    parsing = pc_csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=True)
    converting = pc_csv.ConvertOptions(
        strings_can_be_null=True, auto_dict_encode=True, auto_dict_max_cardinality=100_000
    )
    with file.stream as stream:
        table = pc_csv.read_csv(stream, reading, parsing, converting)
    refuse_repeated(table.column_names)  # reads the names, so that those that are not UTF-8 are refused here
    return table


def symbol_in(name: str) -> str:
    """Return the part of a file's name before its ends, and before the first underscore or space: AAPL_1min.csv."""
    return re.split(r"[_ ]", _ENDS.sub("", name), maxsplit=1)[0]


def _with_symbol(table: pa.Table, symbol: str) -> pa.Table:
    indices = pa.nulls(len(table), pa.int32()).fill_null(0)
    return table.append_column(FILE_SYMBOL, pa.DictionaryArray.from_arrays(indices, pa.array([symbol])))


def _with_date_and_symbol(table: pa.Table, file: _Opened, lean: re.Match[str]) -> pa.Table:
    try:
        day = date.fromisoformat(lean.group("date"))
    except ValueError as error:
        raise ConfigurationError(f"{file.name} does not begin with a date of the calendar") from error
    dated = table.append_column("date", pa.nulls(len(table), pa.date32()).fill_null(day))
    return _with_symbol(dated, lean.group("symbol"))
