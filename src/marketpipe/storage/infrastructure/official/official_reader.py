"""Official days read back: as values that coverage compares with minutes, and as tables that are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import OfficialYearRegister, RecordedOfficialYear, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, VALUES
from marketpipe.storage.infrastructure.day_versions import file_mark, moment_of
from marketpipe.storage.infrastructure.official.official_history import OfficialHistories
from marketpipe.storage.infrastructure.parquet_files import Int64s, bars_at, content_of, sha256
from marketpipe.storage.infrastructure.store_layout import StoreLayout, unreadable

READINGS: Final = 3
"""So often a year is read if another process stores it meanwhile: the file is published before it is recorded."""


class OfficialReader:
    """``OfficialDays`` over the files of a store. A file is believed if it is the recorded one."""

    def __init__(self, layout: StoreLayout, register: OfficialYearRegister) -> None:
        self._layout, self._register = layout, register

    def between(
        self, symbol: Symbol, first: TradingDate, last: TradingDate
    ) -> Mapping[TradingDate, OfficialDay | None]:
        found = dict[TradingDate, OfficialDay | None]()
        for year, recorded in self._years(symbol, first.day.year, last.day.year).items():
            with suppress(PartitionUnreadableError):  # its bytes have rotted: nothing is known of these days
                bars = BAR_SCHEMA.empty_table() if recorded.version is None else self._bars(symbol, year)
                found.update(_values(recorded.answered, bars))
        if not found or (first <= next(iter(found)) and next(reversed(found)) <= last):
            return found  # they ascend
        start, end = first.day, last.day
        return {date: value for date, value in found.items() if start <= date.day <= end}

    def answered(self, symbol: Symbol, first: int, last: int) -> Mapping[int, DaysOfYear]:
        return {year: recorded.answered for year, recorded in self._years(symbol, first, last).items()}

    def _years(self, symbol: Symbol, first: int, last: int) -> dict[int, RecordedOfficialYear]:
        """Return the recorded years whose file is the recorded one."""
        for _ in range(READINGS):
            recorded = self._register.years(symbol, first, last)
            believed = {year: known for year, known in recorded.items() if self._is_stored(symbol, year, known.version)}
            if len(believed) == len(recorded):
                break
        return believed

    def _is_stored(self, symbol: Symbol, year: int, version: RecordedVersion | None) -> bool:
        if version is None:
            return True
        path = self._layout.official_days(symbol, year)
        try:
            found = self._layout.disk.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise unreadable(path, error) from error
        return file_mark(found.st_size, found.st_mtime_ns) == version.mark or self._has_bytes(str(path), version.sha256)

    def _has_bytes(self, path: str, digest: str) -> bool:
        """Whether the file has the recorded bytes: its time may be another, as in a copy."""
        try:
            content = content_of(path, self._layout.disk)
        except PartitionUnreadableError:
            return False
        return content is not None and sha256(content) == digest

    def _bars(self, symbol: Symbol, year: int) -> pa.Table:
        path = str(self._layout.official_days(symbol, year))
        if (bars := bars_at(path, disk=self._layout.disk)) is None:
            raise PartitionUnreadableError(f"{path} was removed while it was read")
        return bars


def _values(answered: DaysOfYear, bars: pa.Table) -> Iterable[tuple[TradingDate, OfficialDay | None]]:
    """Return the answered days, ascending, each with its bar or None.

    A report has hundreds of thousands of them: columns are converted, not rows, and nearly always all days have a bar.
    """
    dates, midnights = _midnights(answered.year, answered.bits)
    values = map(OfficialDay, *(bars[name].to_pylist() for name in VALUES))
    times = bars["timestamp"].cast(pa.int64()).to_pylist()  # to_numpy() would import pandas, which takes half a second
    if times == midnights.tolist():
        return zip(dates, values, strict=True)
    by_time = dict(zip(times, values, strict=True))
    return ((date, by_time.get(stamp)) for date, stamp in zip(dates, midnights.tolist(), strict=True))


@lru_cache(maxsize=1024)  # nearly all symbols of a store have the same days
def _midnights(year: int, bits: int) -> tuple[list[TradingDate], Int64s]:
    dates = DaysOfYear(year, bits).dates
    return dates, np.array([date.midnight.epoch_micros for date in dates], np.int64)


class OfficialRows:
    """Official days as tables in the columns of bars, stamped New York midnight. Needs no state."""

    def __init__(self, layout: StoreLayout, histories: OfficialHistories | None = None) -> None:
        """``histories`` are those of the store; without them nothing is compared with records."""
        self._layout, self._histories = layout, histories or OfficialHistories(layout)

    def of(self, symbol: Symbol, first: int, last: int, as_of: Timestamp | None = None) -> pa.Table:
        """Return the days of the years ``first`` to ``last``, both inclusive, ascending; now, or as of a moment.

        Raises ``PartitionUnreadableError`` for a damaged file, as of a moment also for a history that is not what was
        recorded, or that was.
        """
        rows = [self._year(symbol, year, as_of) for year in range(first, last + 1)]
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *rows])

    def _year(self, symbol: Symbol, year: int, as_of: Timestamp | None) -> pa.Table:
        path = self._layout.official_days(symbol, year)
        disk = self._layout.disk
        if as_of is not None and (known := self._histories.known_at(symbol, year, as_of)) is not None:
            return known
        found = bars_at(str(path), disk=disk)
        if found is None or (as_of is not None and moment_of(disk.stat(path).st_mtime_ns) > as_of):
            return BAR_SCHEMA.empty_table()
        return found
