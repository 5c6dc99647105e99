"""What lies below the roots of a store, told apart by path alone: files of the store, and those of somebody else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.durable_files import OWN_TEMPORARY
from marketpipe.storage.infrastructure.store_layout import StoreLayout

DAY = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)(\.[^/]+)?\.parquet", re.ASCII)
MONTH = re.compile(r"year=(\d{4})/month=(\d\d)\.parquet", re.ASCII)
YEAR = re.compile(r"year=(\d{4})\.parquet", re.ASCII)


@frozen
class FoundFile:
    """``first`` and ``last`` bound what may be in it, both inclusive; ``period`` is what its metadata has to say."""

    area: StoreArea
    path: str
    on_disk: str
    symbol: Symbol
    timeframe: Timeframe
    period: str
    first: TradingDate
    last: TradingDate


@frozen
class StrayFile:
    path: str


class StoreWalk:
    def __init__(self, layout: StoreLayout) -> None:
        self._roots = {
            StoreArea.DATA: layout.data,
            StoreArea.AGGREGATES: layout.aggregates,
            StoreArea.QUARANTINE: layout.quarantine,
            StoreArea.REVISIONS: layout.revisions,
        }

    def symbols(self) -> frozenset[Symbol]:
        """Those with a folder in any area."""
        names = {name for area in StoreArea for top in self._tops(area) for name in _names_in(self._roots[area] / top)}
        return frozenset(symbol for name in names if (symbol := _symbol_in(name)))

    def strays(self) -> list[StrayFile]:
        """Files beside the folders of the symbols, and those in folders that are nobody's."""
        return [StrayFile(path) for area in StoreArea for path in sorted(self._strays(area))]

    def of_symbol(self, symbol: Symbol) -> Iterator[FoundFile | StrayFile]:
        """Area by area, ascending by path."""
        for area in StoreArea:
            for top in self._tops(area):
                prefix = f"{top}symbol={symbol}/"
                for below in _files_below(self._roots[area] / prefix):
                    found = _found(area, self._roots[area], symbol, top, below)
                    yield found or StrayFile(f"{area}/{prefix}{below}")

    def _tops(self, area: StoreArea) -> list[str]:
        """What lies between the root and the folders of the symbols."""
        if area is not StoreArea.AGGREGATES:
            return [""]
        return [f"timeframe={timeframe}/" for timeframe in Timeframe if timeframe is not Timeframe.MINUTE_1]

    def _strays(self, area: StoreArea) -> Iterator[str]:
        tops = self._tops(area)
        owned = {top.rstrip("/") for top in tops}
        for top in {"", *tops}:
            for name in _names_in(self._roots[area] / top):
                if _symbol_in(name) is None or top not in tops:
                    yield from _all_of(area, self._roots[area], f"{top}{name}") if name not in owned else ()


def _all_of(area: StoreArea, root: Path, name: str) -> Iterator[str]:
    """The file of that name, or all that lie in the folder."""
    if (root / name).is_dir():
        yield from (f"{area}/{name}/{below}" for below in _files_below(root / name))
    elif not OWN_TEMPORARY.fullmatch(name):
        yield f"{area}/{name}"


def _found(area: StoreArea, root: Path, symbol: Symbol, top: str, below: str) -> FoundFile | None:
    timeframe = Timeframe.parse(top[:-1].partition("=")[2]) if top else Timeframe.MINUTE_1
    try:
        span = _span(area, timeframe, symbol, below)
    except (ValidationError, ValueError):  # no date of the calendar
        return None
    if span is None:
        return None
    name = f"{top}symbol={symbol}/{below}"
    return FoundFile(area, f"{area}/{name}", str(root / name), symbol, timeframe, *span)


def _span(
    area: StoreArea, timeframe: Timeframe, symbol: Symbol, below: str
) -> tuple[str, TradingDate, TradingDate] | None:
    if area is not StoreArea.AGGREGATES:
        return _day(area, symbol, below)
    said = (MONTH if timeframe.is_intraday else YEAR).fullmatch(below)
    if said is None:
        return None
    year = int(said[1])
    months = [int(said[2])] * 2 if timeframe.is_intraday else [1, 12]
    first, last = (MonthPartition(symbol, year, month) for month in months)
    return str(first) if timeframe.is_intraday else f"{year:04d}", first.first, last.last


def _day(area: StoreArea, symbol: Symbol, below: str) -> tuple[str, TradingDate, TradingDate] | None:
    said = DAY.fullmatch(below)
    if said is None or (said[4] is None) is (area is StoreArea.REVISIONS):
        return None
    name, month = below.rpartition("/")[2], MonthPartition(symbol, int(said[1]), int(said[2]))
    if said[4] is not None and month.revision(name) is None:
        return None
    day = TradingDate.parse(f"{month}-{said[3]}")
    return str(day), day, day


def _files_below(folder: Path) -> list[str]:
    """Relative to it, with forward slashes, ascending; none where there is no folder. Raises ``StorageError``.

    What another thread is writing at this moment is nobody's file yet.
    """
    found, root = list[str](), str(folder)
    if folder.is_dir():
        for inner, _, names in os.walk(root, onerror=_refuse, followlinks=True):
            place = inner[len(root) :].replace(os.sep, "/").strip("/")
            prefix = f"{place}/" if place else ""
            found += [prefix + name for name in names if not OWN_TEMPORARY.fullmatch(name)]
    return sorted(found)


def _refuse(error: OSError) -> NoReturn:
    raise StorageError(f"cannot look into {error.filename}: {error.strerror}") from error


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot look into {folder}: {error.strerror}") from error


def _symbol_in(name: str) -> Symbol | None:
    key, _, value = name.partition("=")
    try:
        return Symbol(value) if key == "symbol" else None
    except ValidationError:
        return None
