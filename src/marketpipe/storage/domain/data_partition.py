"""The files of a store as the domain names them: minute bars by symbol and date, revisions, aggregates.

Paths are relative to a root and have forward slashes.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate

REVISION_NAME: Final = re.compile(r"day=(\d\d)\.(\d{8}T\d{6}\.\d{6}Z)\.parquet", re.ASCII)


@frozen
class DataPartition:
    """The file with the minute bars of a symbol on a trading date. Its path is computed, never searched for."""

    symbol_day: SymbolDay

    @property
    def path(self) -> str:
        """Relative to the root of minute bars."""
        return f"{MonthPartition.of(self.symbol_day).folder}/{self.name}"

    @property
    def name(self) -> str:
        return day_file(self.symbol_day.trading_date.day.day)


def day_file(day: int) -> str:
    """Return the name of the file of this day of a month."""
    return f"day={day:02d}.parquet"


@frozen(order=True)
class Revision:
    """A former version of a symbol-day: what the store had from ``known_since`` until the next version was stored."""

    symbol_day: SymbolDay
    known_since: Timestamp

    @property
    def path(self) -> str:
        """Relative to the root of revisions."""
        since = self.known_since.moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        moment = since.replace("-", "").replace(":", "")
        return DataPartition(self.symbol_day).path.removesuffix("parquet") + f"{moment}.parquet"


@frozen(order=True)
class MonthPartition:
    """The minute bars of one symbol in one month: an intraday aggregate file is made from one of these."""

    symbol: Symbol
    year: int
    month: int

    @classmethod
    def of(cls, symbol_day: SymbolDay) -> MonthPartition:
        day = symbol_day.trading_date.day
        return cls(symbol_day.symbol, day.year, day.month)

    @property
    def first(self) -> TradingDate:
        return TradingDate(date(self.year, self.month, 1))

    @property
    def last(self) -> TradingDate:
        after = self.first.plus_days(31).day
        return TradingDate(after.replace(day=1)).plus_days(-1)

    def revision(self, file_name: str) -> Revision | None:
        """Return the revision that a file of this name in this month is; None for any other name."""
        match = REVISION_NAME.fullmatch(file_name)
        if match is None:
            return None
        try:
            day = SymbolDay(self.symbol, TradingDate.parse(f"{self}-{match[1]}"))
            return Revision(day, Timestamp.parse(match[2]))
        except ValidationError:  # no date of the calendar
            return None

    def __hash__(self) -> int:
        return hash((self.symbol.value, self.year, self.month))  # a third of the time that attrs takes

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def year_folder(self) -> str:
        return f"symbol={self.symbol}/year={self.year:04d}"

    @property
    def folder(self) -> str:
        return f"{self.year_folder}/month={self.month:02d}"


def size_and_time_in(mark: VersionMark) -> tuple[int, int] | tuple[None, None]:
    """Return the size in bytes and the modification time in microseconds; None twice for the mark of no file."""
    size, _, modified_us = mark.partition("-")
    return (int(size), int(modified_us)) if size.isdecimal() and modified_us.isdecimal() else (None, None)


def has_rotted(size_bytes: int, digest: str, recorded: RecordedVersion | None) -> bool:
    """Return whether a file has as many bytes as were recorded, and others: one of other origin has another size.

    Its time is not compared: it is lost with the power.
    """
    if recorded is None or size_and_time_in(recorded.mark)[0] != size_bytes:
        return False
    return digest != recorded.sha256
