from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.day_digests import day_digests, differing_days
from marketpipe.storage.domain.storage_metadata import sources_in
from marketpipe.storage.infrastructure.day_files import FileLook, date_in, day_file_looks, number_in
from marketpipe.storage.infrastructure.parquet_reader import read_bars, read_metadata
from marketpipe.storage.infrastructure.parquet_writer import sha256
from marketpipe.storage.infrastructure.store_layout import StoreLayout

SECOND = 1_000_000_000
Months = tuple[MonthPartition, ...]
Sources = dict[str, str]
"""For each month ("2024-01") the digests of its day files."""


@frozen
class AggregateFile:
    """One file and the months of minutes it is made from: one month for intraday bars, a year's for daily ones."""

    timeframe: Timeframe
    path: Path
    period: str
    months: Months = field(repr=False)


@frozen
class Comparison:
    """What a file was made from (``recorded``), and what it would be made from now; ``stamp`` would be its time."""

    file: AggregateFile
    recorded: Sources
    sources: Sources
    stamp: int

    @property
    def changed(self) -> Months:
        """Those that have to be made anew. Of a month whose minutes are all gone nothing can be made: it stays."""
        months = self.file.months
        return tuple(month for month in months if self.recorded.get(str(month)) != self.sources[str(month)])

    def changed_dates(self) -> Iterator[TradingDate]:
        for month in self.changed:
            days = differing_days(self.recorded.get(str(month), ""), self.sources[str(month)])
            dates = (date_in(month, day) for day in sorted(days))
            yield from (TradingDate(day) for day in dates if day is not None)


class MinutesNow:
    """The day files as they are now: those of a month are looked at once, and read once, for all its timeframes."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout
        self._looks, self._digests = cache(self._look), cache(self._read_digests)
        self._stamp = cache(self._make_stamp)

    def compare(self, file: AggregateFile) -> Comparison | None:
        """None for a file that bears the stamp that its minutes had when it was made. Raises ``StorageError``."""
        stamp = self._stamp(file.months)
        if modified_ns(file.path) == stamp:
            return None
        recorded = _recorded_sources(file.path)
        now = {str(month): self._digests(month) for month in file.months}
        return Comparison(file, recorded, {**recorded, **now}, stamp)

    def _make_stamp(self, months: Months) -> int:
        return stamp_of((f"month={month.month:02d}", look) for month in months for look in self._looks(month))

    def _look(self, month: MonthPartition) -> list[FileLook]:
        return day_file_looks(self._layout.month(month))

    def _read_digests(self, month: MonthPartition) -> str:
        paths = self._layout.day_files(month)
        return day_digests({number_in(path.name): _sha256_of(path) for path in paths})


def years_between(
    layout: StoreLayout, symbol: Symbol, first: TradingDate | None, last: TradingDate | None
) -> Iterator[tuple[Months, Months]]:
    """The months of each year that have a folder, and those between the dates; no year that has none of these."""
    for _, group in groupby(layout.months(symbol), key=lambda month: month.year):
        year = tuple(group)
        wanted = tuple(month for month in year if _between(month, first, last))
        if wanted:
            yield year, wanted


def aggregate_files(
    layout: StoreLayout, year: Months, wanted: Months, timeframes: Sequence[Timeframe]
) -> Iterator[AggregateFile]:
    """Those that the wanted months go into, in the order of the timeframes."""
    for timeframe in timeframes:
        for months in [(month,) for month in wanted] if timeframe.is_intraday else [year]:
            period = f"{months[0]}" if timeframe.is_intraday else f"{months[0].year:04d}"
            yield AggregateFile(timeframe, layout.aggregate(timeframe, months[0]), period, months)


def stamp_of(looks: Iterable[tuple[str, FileLook]]) -> int:
    """A modification time, in nanoseconds, that no other state of these files has.

    Its seconds are those of the newest file; below the second it is a digest of their names, sizes and times. The
    files come with the names of their folders.
    """
    digest, newest = hashlib.sha256(), 0
    for folder, look in looks:
        newest = max(newest, look.modified_ns)
        digest.update(f"{folder}/{look.name} {look.size_bytes} {look.modified_ns}\n".encode())
    return newest // SECOND * SECOND + int.from_bytes(digest.digest()[:8], "big") % SECOND


def modified_ns(path: Path) -> int | None:
    """None where there is no such file. Raises ``StorageError``."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot look at {path}: {error.strerror}") from error


def _sha256_of(day_file: Path) -> str:
    try:
        return sha256(day_file.read_bytes())
    except OSError as error:
        raise PartitionUnreadableError(f"{day_file} cannot be read: {error.strerror}; move it away") from error


def _recorded_sources(aggregate: Path) -> Sources:
    """What the file was made from; nothing for a missing or damaged one, which is then made anew."""
    if not aggregate.exists():
        return {}
    try:
        read_bars(aggregate)  # a file may be damaged behind an intact footer
        return sources_in(read_metadata(aggregate))
    except PartitionUnreadableError:
        return {}


def _between(month: MonthPartition, first: TradingDate | None, last: TradingDate | None) -> bool:
    number = month.year, month.month
    after = first is None or (first.day.year, first.day.month) <= number
    return after and (last is None or number <= (last.day.year, last.day.month))
