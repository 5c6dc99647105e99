"""The fingerprint of the day files that an aggregate was made from, which is its modification time. See ADR 0006."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256 as new_sha256
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import DayFile

SECOND: Final = 1_000_000_000
"""In nanoseconds."""
INVALID: Final = 0
"""The modification time of a file that is made again, whatever it contains."""
DOUBTED: Final = 1
"""The modification time of a file that is whole, and fresh only if its digests are those of the day files."""


Scanned = Callable[[MonthPartition], int | None]
"""Returns the fingerprint of a month's day files; None if one of them is no file."""
Months = tuple[MonthPartition, ...]
"""Months of one symbol in one year, ascending."""


@frozen
class AggregateFile:
    """An aggregate file, and the months it is made from: one for intraday bars, a year's for daily bars.

    That of a timeframe of one minute is a read copy.
    """

    timeframe: Timeframe
    path: str
    months: Months = field(repr=False)

    @property
    def is_copy(self) -> bool:
        return self.timeframe is Timeframe.MINUTE_1

    @property
    def period(self) -> str:
        """The month ("2024-01") or the year ("2024") that the file's metadata names."""
        return str(self.months[0]) if self.timeframe.is_intraday else f"{self.months[0].year:04d}"


def described(month: int, day_files: Iterable[DayFile]) -> str:
    """Return the names, sizes and times of a month's day files, with the name of their folder, as text."""
    folder = f"month={month:02d}"
    return "".join([f"{folder}/{name} {size} {modified}\n" for name, size, modified in day_files])


def newest(months: Iterable[Sequence[DayFile]]) -> int:
    """Return the latest modification time, in nanoseconds; 0 if there is no file."""
    return max([modified for day_files in months for _, _, modified in day_files], default=0)


def fingerprint_of(description: str, newest_ns: int) -> int:
    """Return a time with the seconds of the newest file; below the second it is a digest of the description.

    A reader of the folder sees when the minutes last changed, and no other state of the files has the same time.
    """
    digest = new_sha256(description.encode()).digest()
    return newest_ns // SECOND * SECOND + int.from_bytes(digest[:8], "big") % SECOND


@frozen
class YearFingerprints:
    """The fingerprints of a symbol's year at the moment of a scan: for each month, and for all of them together."""

    months: Mapping[int, int]
    year: int

    @classmethod
    def scanned(cls, day_files: Mapping[int, Sequence[DayFile]]) -> YearFingerprints | None:
        """Return those of the day files of each month, ascending; None if one of them is gone, or no file."""
        if any(size < 0 for found in day_files.values() for _, size, _ in found):
            return None
        descriptions = {month: described(month, found) for month, found in day_files.items()}
        months = {month: fingerprint_of(text, newest([day_files[month]])) for month, text in descriptions.items()}
        return cls(months, fingerprint_of("".join(descriptions.values()), newest(day_files.values())))

    def of(self, file: AggregateFile) -> int:
        return self.months[file.months[0].month] if file.timeframe.is_intraday else self.year


class ScannedYears:
    """Remembers what a plan's scan of the day files showed, so that the refresh after it need not scan them again.

    It holds a dozen numbers for each year of a symbol. Files may have changed since: it is for use at once.
    """

    def __init__(self) -> None:
        self._years: dict[tuple[Symbol, int], YearFingerprints | None] = {}

    def note(self, symbol: Symbol, year: int, day_files: Mapping[int, Sequence[DayFile]]) -> None:
        """Remember the scan of some months of a year, ascending, in the place of an earlier one."""
        self._years[symbol, year] = YearFingerprints.scanned(day_files)

    def get(self, year: Months) -> YearFingerprints | None:
        """Return the fingerprints of these months; None unless every one of them was scanned.

        A month outside of the plan's range would be missing in the fingerprint of the year, and daily bars that were
        made before that month existed would seem to be fresh.
        """
        found = self._years.get((year[0].symbol, year[0].year))
        return found if found is not None and all(month.month in found.months for month in year) else None

    def forget(self) -> None:
        self._years.clear()
