"""``StoreWalk`` finds every file of a store, foreign files and folders included. No file is opened here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, is_link, lexists, walk
from marketpipe.shared_kernel.infrastructure.machine.disk import is_folder as leads_to_a_folder
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.storage.domain.data_partition import DataPartition, MonthPartition
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.compacted.day_access import listed
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.publishing.temporary_files import is_left_behind, is_temporary
from marketpipe.storage.infrastructure.store_layout import (
    COPY_FORMATS,
    HISTORY_PATH,
    VERSION_INDEX,
    YEAR_PATH,
    StoreLayout,
    is_folder,
    link_below,
    names_in,
    scan_day_files,
    symbol_of,
    translating,
    unreadable,
)

FILES: Final = (".parquet", VERSION_INDEX)
"""What the names of files end with. What has such a name and is a folder is in the place of a file."""


@frozen
class FoundFile:
    """A file of the store that is named as it should be.

    ``path`` begins with the store's area, ``on_disk`` is where the file is on this machine. Its bars are of dates
    between ``first`` and ``last``, both inclusive; ``period`` is what its metadata must contain.
    """

    area: StoreArea
    path: str
    on_disk: str
    symbol: Symbol
    timeframe: Timeframe
    period: str
    first: TradingDate
    last: TradingDate

    @property
    def is_history(self) -> bool:
        """Whether it has the versions of official days, and not bars."""
        return self.path.endswith(VERSION_INDEX)


@frozen
class MonthFile:
    """A file with all days of a month. ``path`` begins with the store's area."""

    month: MonthPartition
    path: str


class StoreWalk:
    """Finds every file below the six roots, foreign files and folders included.

    A stray file, which is not named as those of a store are, is its path, beginning with the area.
    """

    def __init__(self, layout: StoreLayout) -> None:
        self._roots = {
            StoreArea.DATA: layout.data,
            StoreArea.AGGREGATES: layout.aggregates,
            StoreArea.QUARANTINE: layout.quarantine,
            StoreArea.REVISIONS: layout.revisions,
            StoreArea.OFFICIAL: layout.official,
            StoreArea.COPIES: layout.copies,
        }
        self._machine, self._disk = layout.machine, layout.disk

    def symbols(self) -> frozenset[Symbol]:
        """Return the symbols that have a folder in any area. Raises ``StorageError``."""
        names = {name for area in StoreArea for top in _tops(area) for name in self._names_in(area, top)}
        return frozenset(symbol for name in names if (symbol := symbol_of(name)))

    def _names_in(self, area: StoreArea, top: str) -> list[str]:
        """What is in the place of a folder, and is none, has no names: it is a stray."""
        root = self._roots[area]
        is_there = is_folder(root / top, self._disk) if top else not self._is_in_the_place_of(root)
        return names_in(root / top, self._disk) if is_there else []

    def _is_in_the_place_of(self, root: Path) -> bool:
        """Return whether a root, which may be a link, leads to no folder though its name is there."""
        with translating(root):
            return lexists(self._disk, root) and not leads_to_a_folder(self._disk, root)

    def strays(self) -> list[str]:
        """Return the files outside of the folders of symbols, by area, then path. Raises ``StorageError``."""
        return [path for area in StoreArea for path in sorted(self._strays(area))]

    def of_symbol(self, symbol: Symbol) -> Iterator[FoundFile | str]:
        """Yield the files in the folders of a symbol, by area, then path. Raises ``StorageError``."""
        for area in StoreArea:
            for top in _tops(area):
                prefix = f"{top}symbol={symbol}/"
                if link_below(self._roots[area], top.rstrip("/"), self._disk) is not None:
                    continue  # a stray of its own
                if self._is_no_folder(self._roots[area] / prefix.rstrip("/")):
                    yield f"{area}/{prefix.rstrip('/')}"
                names = _files_below(self._roots[area] / prefix, self._roots[area], self._machine)
                for below in names:
                    if area is StoreArea.DATA and _MONTH_FILE_PATH.fullmatch(below):
                        yield from self._days_in(symbol, below, frozenset(names))
                    elif not (pattern := _OTHERS.get(area)) or not pattern.match(below):
                        yield self._found(area, symbol, top, below) or f"{area}/{prefix}{below}"

    def _is_no_folder(self, path: Path) -> bool:
        with translating(path):
            return lexists(self._disk, path) and not is_folder(path, self._disk)

    def month_files(self, symbol: Symbol) -> list[MonthFile]:
        """Return the month files of a symbol, ascending. Raises ``StorageError``."""
        prefix = f"symbol={symbol}/"
        found = _files_below(self._roots[StoreArea.DATA] / prefix, self._roots[StoreArea.DATA], self._machine)
        of_months = ((_MONTH_FILE_PATH.fullmatch(below), f"{prefix}{below}") for below in found)
        return [
            MonthFile(MonthPartition(symbol, int(match[1]), int(match[2])), f"{StoreArea.DATA}/{name}")
            for match, name in of_months
            if match
        ]

    def _days_in(self, symbol: Symbol, month_file: str, names: frozenset[str]) -> Iterator[FoundFile]:
        """Yield the days of a month file as if they were files, but those that are ``names`` of files.

        They may be files by now. A month file that is damaged has none.
        """
        folder = month_file.rpartition("/")[0]
        with suppress(PartitionUnreadableError):
            place = self._roots[StoreArea.DATA] / f"symbol={symbol}" / folder
            for name, _, _ in scan_day_files(place, self._disk):
                found = self._found(StoreArea.DATA, symbol, "", f"{folder}/{name}")
                if found is not None and f"{folder}/{name}" not in names:
                    yield found

    def folders_of(self, symbol: Symbol, areas: Iterable[StoreArea]) -> list[str]:
        """Return the folders of a symbol, each with its area and a slash at the end."""
        return [f"{area}/{top}symbol={symbol}/" for area in areas for top in _tops(area)]

    def on_disk(self, path: str) -> str:
        """Return where a file is whose path begins with its area."""
        area, _, below = path.partition("/")
        return f"{self._roots[StoreArea(area)]}/{below}"

    def root_of(self, path: str) -> Path:
        """Return the root of the area that a path begins with."""
        return self._roots[StoreArea(path.partition("/")[0])]

    def named(self, path: str) -> FoundFile | None:
        """Return the file of a path that begins with its area, whether it exists or not; None for a foreign path."""
        area, _, rest = path.partition("/")
        top, _, name = rest.rpartition("symbol=")
        symbol = symbol_of(f"symbol={name.partition('/')[0]}")
        return self._found(StoreArea(area), symbol, top, name.partition("/")[2]) if symbol else None

    def day_file(self, day: SymbolDay) -> FoundFile:
        """Return where the minute bars of a symbol-day are, whether they exist or not."""
        date = day.trading_date
        return self._file(
            StoreArea.DATA, DataPartition(day).path, day.symbol, Timeframe.MINUTE_1, str(date), date, date
        )

    def _found(self, area: StoreArea, symbol: Symbol, top: str, below: str) -> FoundFile | None:
        timeframe = Timeframe.parse(top[:-1].partition("=")[2]) if top else Timeframe.MINUTE_1
        of_years = _OF_YEARS.get(area)
        if area is StoreArea.OFFICIAL or (of_years is not None and of_years.fullmatch(below)):
            timeframe = Timeframe.DAY_1
        try:
            span = _span(area, timeframe, symbol, below)
        except (ValidationError, ValueError):  # no date of the calendar
            return None
        return self._file(area, f"{top}symbol={symbol}/{below}", symbol, timeframe, *span) if span else None

    def _file(self, area: StoreArea, name: str, symbol: Symbol, timeframe: Timeframe, *span: *Span) -> FoundFile:
        return FoundFile(area, f"{area}/{name}", str(self._roots[area] / name), symbol, timeframe, *span)

    def _strays(self, area: StoreArea) -> Iterator[str]:
        tops = _tops(area)
        if self._is_in_the_place_of(self._roots[area]):
            yield str(area)
        owned = {top.rstrip("/") for top in tops}
        for top in {"", *tops}:
            for name in self._names_in(area, top):
                if symbol_of(name) is None or top not in tops:
                    is_own = name in owned and is_folder(self._roots[area] / name, self._disk)
                    yield from () if is_own else _all_of(area, self._roots[area], f"{top}{name}", self._machine)


def _tops(area: StoreArea) -> list[str]:
    """Return the folders between an area's root and the folders of the symbols."""
    if area is not StoreArea.AGGREGATES:
        return [""]
    return [f"timeframe={timeframe}/" for timeframe in Timeframe if timeframe.is_aggregated]


def _all_of(area: StoreArea, root: Path, name: str, machine: Machine) -> Iterator[str]:
    """Yield the file of that name, or every file in the folder of that name.

    A temporary folder is one thing, and left out while its process may live.
    """
    if is_folder(root / name, machine.disk) and not is_temporary(name):
        yield from (f"{area}/{name}/{below}" for below in _files_below(root / name, root, machine))
    elif _is_shown(name, root, machine):
        yield f"{area}/{name}"


_DAY_PATH: Final = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)(\.[^/]+)?\.parquet", re.ASCII)
_MONTH_FOLDER: Final = re.compile(r"year=\d{4}/month=\d\d", re.ASCII)
_MONTH_FILE_PATH: Final = re.compile(rf"year=(?!0000)(\d{{4}})/month=(0[1-9]|1[0-2])/{re.escape(MONTH_FILE)}", re.ASCII)
_MONTH_PATH: Final = re.compile(r"year=(\d{4})/month=(\d\d)\.parquet", re.ASCII)
_COPY_PATH: Final = re.compile(rf"year=(\d{{4}})/month=(\d\d)\.({'|'.join(COPY_FORMATS)})", re.ASCII)
_OF_YEARS: Final = {StoreArea.QUARANTINE: YEAR_PATH, StoreArea.REVISIONS: HISTORY_PATH}
"""What is of official days beside minutes: rejected ones, and every version of a year."""
_OTHERS: Final = {
    StoreArea.REVISIONS: re.compile(f"{re.escape(VERSION_INDEX)}$", re.ASCII),
    StoreArea.QUARANTINE: re.compile(r"year=\d{4}/month=\d\d/da(y=\d\d|ys)\.parquet\.\d+\.bak(/|$)", re.ASCII),
}
"""What belongs into an area and is no file of bars: the version index of day files; in the quarantine what gave way in
the folder of a month."""
Span = tuple[str, TradingDate, TradingDate]
"""A period as metadata names it, its first and its last date."""


def _span(area: StoreArea, timeframe: Timeframe, symbol: Symbol, below: str) -> Span | None:
    if area in (StoreArea.DATA, StoreArea.REVISIONS, StoreArea.QUARANTINE) and timeframe.is_intraday:
        return _day_span(area, symbol, below)
    if area is StoreArea.COPIES:
        match = _COPY_PATH.fullmatch(below)
    elif area is StoreArea.REVISIONS:
        match = HISTORY_PATH.fullmatch(below)
    else:
        match = (_MONTH_PATH if timeframe.is_intraday else YEAR_PATH).fullmatch(below)
    if match is None:
        return None
    year = int(match[1])
    months = [int(match[2])] * 2 if timeframe.is_intraday else [1, 12]
    first, last = (MonthPartition(symbol, year, month) for month in months)
    return str(first) if timeframe.is_intraday else f"{year:04d}", first.first, last.last


def _day_span(area: StoreArea, symbol: Symbol, below: str) -> Span | None:
    match = _DAY_PATH.fullmatch(below)
    if match is None or (match[4] is None) is (area is StoreArea.REVISIONS):
        return None
    name, month = below.rpartition("/")[2], MonthPartition(symbol, int(match[1]), int(match[2]))
    if match[4] is not None and month.revision(name) is None:
        return None
    day = TradingDate.parse(f"{month}-{match[3]}")
    return str(day), day, day


def _files_below(folder: Path, area_root: Path, machine: Machine) -> list[str]:
    """Return the files below a folder, ascending, relative to it, with forward slashes; none if it does not exist.

    Temporary files that a process may still publish are left out. Raises ``StorageError``.
    """
    found, root, disk = list[str](), str(folder), machine.disk
    if is_folder(folder, disk):
        for inner, folders, names in walk(disk, root, _refuse):
            place = inner[len(root) :].replace(os.sep, "/").strip("/")
            prefix = f"{place}/" if place else ""
            # A link is not followed, and a folder in the place of a file is as foreign as what is in it.
            no_folders = [name for name in folders if name.endswith(FILES) or _is_link(f"{inner}/{name}", disk)]
            folders[:] = [name for name in folders if name not in no_folders]
            if _MONTH_FOLDER.fullmatch(place):  # it may be exchanged while it is listed
                with translating(inner):
                    names = [name for name in listed(inner, disk) if name not in {*folders, *no_folders}]
            found += [prefix + name for name in [*names, *no_folders] if _is_shown(name, area_root, machine)]
    return sorted(found)


def _is_link(path: str, disk: Disk) -> bool:
    with translating(path):
        return is_link(disk, path)


def _is_shown(name: str, root: Path, machine: Machine) -> bool:
    return not is_temporary(name.rpartition("/")[2]) or is_left_behind(name.rpartition("/")[2], root, machine)


def _refuse(error: OSError) -> NoReturn:
    raise unreadable(error.filename, error) from error
