"""Which files and folders of a store have what a query needs: those of its symbols, and of the months of its dates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.reading.minute_sources import literal, quoted
from marketpipe.storage.infrastructure.reading.needed_bars import ALL, NeededBars
from marketpipe.storage.infrastructure.store_layout import StoreLayout, refuse_links, unreadable

DATES: Final = re.compile(r"/year=(\d{4})(?:/month=(\d\d)\.|/|\.|$)", re.ASCII)
"""The year and the month in the path of a file or folder below that of a symbol."""


def findable(needed: NeededBars) -> NeededBars:
    """Return what is needed with all symbols if one of them is a name that no folder of a symbol has.

    Where SQL reads all day files by one pattern, it reads those of a folder with a foreign name too.
    """
    return needed if needed.symbols is None or all(map(_is_symbol, needed.symbols)) else ALL


def needed_months(layout: StoreLayout, needed: NeededBars) -> Iterator[MonthPartition]:
    """Yield the months that have a folder, by symbol, then date. Raises ``StorageError``."""
    for symbol in layout.symbols() if needed.symbols is None else map(Symbol, sorted(needed.symbols)):
        if needed.symbols is not None:
            refuse_links(layout.data, f"symbol={symbol}")
        yield from (month for month in layout.months(symbol) if needed.has(month.year, month.month))


def needed_folders(root: Path, needed: NeededBars) -> list[Path]:
    """Return the folders below a root of the store that have all the files that are needed."""
    return [root] if needed.symbols is None else [root / name for name in _names(needed)]


def needed_patterns(root: Path, pattern: str, needed: NeededBars) -> list[str]:
    """Return for SQL the files below the folders of symbols that have such a name; none if no file has it.

    All of them are one pattern, for DuckDB refuses one that no file has. Raises ``StorageError``.
    """
    at = literal(root.resolve())
    if needed.are_all:
        return [quoted(at / f"symbol=*/{pattern}")] if next(root.glob(f"symbol=*/{pattern}"), None) else []
    return [quoted(at / path) for path in _paths(root, pattern, needed)]


def needed_years(roots: Iterable[Path], needed: NeededBars) -> set[int]:
    """Return the years of the files and folders that are needed. Raises ``StorageError``."""
    paths = (path for root in roots for path in _paths(root, "year=*", needed))
    years = (int(match[1]) for path in paths if (match := DATES.search(path)))
    return {year for year in years if year}


def _names(needed: NeededBars) -> list[str]:
    return ["symbol=*"] if needed.symbols is None else [f"symbol={symbol}" for symbol in sorted(needed.symbols)]


def _paths(root: Path, pattern: str, needed: NeededBars) -> Iterator[str]:
    """Yield what fits the pattern below the folders of symbols, by symbol, then date; paths begin in the root.

    Folders of symbols and years that are not needed are not listed: a store may have tens of thousands of files.
    """
    first, *others = pattern.split("/")
    named = _fitting(root, "", "symbol=*", ALL) if needed.symbols is None else _names(needed)
    for name in named:
        yield from _below(root, name, first, others, needed)


def _below(root: Path, folder: str, first: str, others: Sequence[str], needed: NeededBars) -> Iterator[str]:
    for path in _fitting(root, f"{folder}/", first, needed):
        if others:
            yield from _below(root, path, others[0], others[1:], needed)
        else:
            yield path


def _fitting(root: Path, start: str, pattern: str, needed: NeededBars) -> list[str]:
    """Return the paths of a folder whose names fit and which have needed dates; none if it is no folder."""
    try:
        names = sorted(os.listdir(f"{root}/{start}"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(f"{root}/{start}", error) from error
    return [start + name for name in names if fnmatchcase(name, pattern) and has_dates(start + name, needed)]


def has_dates(path: str, needed: NeededBars) -> bool:
    """Return whether a path, as far as it names a year and a month, has needed dates."""
    if (match := DATES.search(path)) is None:
        return True
    year, month = int(match[1]), match[2]
    return needed.first.year <= year <= needed.last.year if month is None else needed.has(year, int(month))


def _is_symbol(text: str) -> bool:
    try:
        return str(Symbol(text)) == text
    except ValidationError:
        return False
