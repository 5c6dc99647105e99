from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import pyarrow as pa
from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, ValidationError
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.day_digests import days_in
from marketpipe.storage.domain.integrity import CheckedFile, Damage, StoreArea
from marketpipe.storage.domain.storage_metadata import identity_in, label_in, sources_in
from marketpipe.storage.infrastructure.parquet_reader import checked_bars, file_in
from marketpipe.storage.infrastructure.parquet_writer import sha256
from marketpipe.storage.infrastructure.store_walk import FoundFile
from marketpipe.storage.infrastructure.stored_version import BEGINNING, moment_of

Dates = tuple[TradingDate, TradingDate]


@frozen
class FileReading:
    """``rows`` is None where the file cannot be read, and where its bytes were proven."""

    file: CheckedFile
    rows: pa.Table | None = field(default=None, repr=False)


def read_whole(found: FoundFile, proven: Collection[str] = ()) -> FileReading | None:
    """Every byte, and every column; None for a file that has gone since it was found.

    Bytes with a ``proven`` hash were written or read as a whole before: of these the columns are not decoded again.
    """
    trading_date = None if found.area is StoreArea.AGGREGATES else found.first
    dates = None if trading_date is None else (trading_date, trading_date)
    file = CheckedFile(found.area, found.path, found.symbol, trading_date, dates, 0, BEGINNING, "")
    try:
        with open(found.on_disk, "rb") as opened:  # once, or time and bytes could be those of two versions
            look, content = os.fstat(opened.fileno()), opened.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        return FileReading(_with_problem(file, Damage.UNREADABLE, f"cannot be read: {error.strerror}"))
    file = evolve(file, size_bytes=len(content), known_since=moment_of(look), sha256=sha256(content))
    return _decoded(file, found, content, columns=file.sha256 not in proven)


def _decoded(file: CheckedFile, found: FoundFile, content: bytes, *, columns: bool) -> FileReading:
    try:
        rows, metadata = file_in(content, found.path, columns=columns)
        if rows is not None and found.area is not StoreArea.QUARANTINE:
            checked_bars(rows, found.path)
    except PartitionUnreadableError as error:
        return FileReading(_with_problem(file, Damage.UNREADABLE, str(error).partition(" ")[2]))
    file = evolve(file, identity=identity_in(metadata), dates=file.dates or _dates_of(metadata))
    return FileReading(_labelled(file, found, metadata), rows)


def _labelled(file: CheckedFile, found: FoundFile, metadata: Mapping[str, str]) -> CheckedFile:
    said, expected = label_in(metadata), f"{found.symbol} {found.timeframe} {found.period}"
    if file.identity is None:
        return _with_problem(file, Damage.MISLABELLED, "does not say of which dataset it is")
    if said != expected:
        return _with_problem(file, Damage.MISLABELLED, f"says that it is {said}, and lies where {expected} belongs")
    return file


def _dates_of(metadata: Mapping[str, str]) -> Dates | None:
    """Of an aggregate: those of the day files that it was made from."""
    sources = sources_in(metadata)
    try:
        dates = [
            TradingDate.parse(f"{month}-{day:02d}") for month in sorted(sources) for day in days_in(sources[month])
        ]
    except ValidationError:
        return None
    return (dates[0], dates[-1]) if dates else None


def _with_problem(file: CheckedFile, damage: Damage, reason: str) -> CheckedFile:
    return evolve(file, problem=file.found_wrong(damage, reason))
