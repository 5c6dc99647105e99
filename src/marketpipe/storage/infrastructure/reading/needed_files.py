"""Which files and folders of a store have what a query needs: those of its symbols, and of the months of its dates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.reading.minute_sources import literal, quoted
from marketpipe.storage.infrastructure.reading.needed_bars import ALL, NeededBars
from marketpipe.storage.infrastructure.store_layout import StoreLayout, refuse_links

YEAR: Final = re.compile(r"/year=(\d{4})(?:/|\.|$)", re.ASCII)


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

    All of them are one pattern, for DuckDB refuses one that no file has.
    """
    at = literal(root.resolve())
    if needed.are_all:
        return [quoted(at / f"symbol=*/{pattern}")] if next(root.glob(f"symbol=*/{pattern}"), None) else []
    found = (path for name in _names(needed) for path in sorted(root.glob(f"{name}/{pattern}")))
    return [quoted(at / path.relative_to(root)) for path in found if _is_in_years(str(path), needed)]


def needed_years(roots: Iterable[Path], needed: NeededBars) -> set[int]:
    """Return the years of the files and folders that are needed."""
    paths = (str(path) for root in roots for name in _names(needed) for path in root.glob(f"{name}/year=*"))
    years = (int(match[1]) for path in paths if (match := _year_in(path)) and _is_in_years(path, needed))
    return {year for year in years if year}


def _names(needed: NeededBars) -> list[str]:
    return ["symbol=*"] if needed.symbols is None else [f"symbol={symbol}" for symbol in sorted(needed.symbols)]


def _is_in_years(path: str, needed: NeededBars) -> bool:
    match = _year_in(path)
    return match is None or needed.first.year <= int(match[1]) <= needed.last.year


def _is_symbol(text: str) -> bool:
    try:
        return str(Symbol(text)) == text
    except ValidationError:
        return False


def _year_in(path: str) -> re.Match[str] | None:
    """Find the year below the last folder of a symbol: the store itself may be below one that is named so."""
    return YEAR.search(path, path.rfind(f"{os.sep}symbol="))
