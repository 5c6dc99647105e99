from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow as pa
from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.day_digests import differing_days
from marketpipe.storage.domain.storage_metadata import sources_in
from marketpipe.storage.infrastructure.day_files import date_in, modified_ns
from marketpipe.storage.infrastructure.month_now import MonthNow, stamp_of
from marketpipe.storage.infrastructure.parquet_reader import checked_bars, file_in
from marketpipe.storage.infrastructure.store_layout import StoreLayout

Months = tuple[MonthPartition, ...]
Sources = dict[str, str]
"""For each month ("2024-01") the digests of its day files."""


@frozen
class AggregateFile:
    """One file and the months of minutes it is made from: one month for intraday bars, a year's for daily ones."""

    timeframe: Timeframe
    location: str
    period: str
    months: Months = field(repr=False)

    @property
    def path(self) -> Path:
        return Path(self.location)


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
    """The day files of one symbol's year as they are now.

    Those of a month are looked at once, and read once, for all its timeframes.
    """

    def __init__(self, layout: StoreLayout, year: Months, timeframes: Sequence[Timeframe]) -> None:
        """Any intraday one of ``timeframes`` can tell of a month what its files of a year ask for."""
        told = next((timeframe for timeframe in timeframes if timeframe.is_intraday), None)
        witnesses = {month: layout.aggregate_location(told, month) if told else None for month in year}
        self._months = {month: MonthNow(month, str(layout.month(month)), witnesses[month]) for month in year}

    def compare(self, file: AggregateFile) -> Comparison | None:
        """None for a file that bears the stamp that its minutes had when it was made. Raises ``StorageError``."""
        if self.are_stamped_on(file):
            return None
        recorded = _recorded_sources(file.path)
        now = {str(month): self._months[month].digests for month in file.months}
        return Comparison(file, recorded, {**recorded, **now}, self._stamp(file))

    def are_stamped_on(self, file: AggregateFile) -> bool:
        """Raises ``StorageError``."""
        modified = modified_ns(file.location)
        return modified is not None and modified == self._stamp(file)

    def _stamp(self, file: AggregateFile) -> int:
        months = [self._months[month] for month in file.months]
        return months[0].stamp if len(months) == 1 else stamp_of(months)

    def bars(self, month: MonthPartition) -> pa.Table:
        """Of the very bytes that were compared. Raises ``PartitionUnreadableError``."""
        return self._months[month].bars()


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
            yield AggregateFile(timeframe, layout.aggregate_location(timeframe, months[0]), period, months)


def _recorded_sources(aggregate: Path) -> Sources:
    """What the file was made from; nothing for a missing or damaged one, which is then made anew."""
    try:
        content = aggregate.read_bytes()
        rows, metadata = file_in(content, str(aggregate), columns=True)  # behind an intact footer it may be damaged
        checked_bars(rows, aggregate)
        return sources_in(metadata)
    except (OSError, PartitionUnreadableError):
        return {}


def _between(month: MonthPartition, first: TradingDate | None, last: TradingDate | None) -> bool:
    number = month.year, month.month
    after = first is None or (first.day.year, first.day.month) <= number
    return after and (last is None or number <= (last.day.year, last.day.month))
