from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from itertools import islice

import pyarrow as pa

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.store_inventory import RecordedFile
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay
from marketpipe.storage.domain.integrity import CheckedFile, StoreArea, problem_of
from marketpipe.storage.infrastructure.file_reading import FileReading, read_whole
from marketpipe.storage.infrastructure.minute_bits import traded_minutes
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.storage.infrastructure.store_walk import FoundFile, StoreWalk, StrayFile

AT_A_TIME = 512


class ParquetStoredFiles:
    """Reads the files of a store to the last byte, a few hundred at a time, on the threads of an executor."""

    def __init__(self, layout: StoreLayout, new_executor: Callable[[], Executor]) -> None:
        self._walk, self._new_executor = StoreWalk(layout), new_executor
        self._walked: tuple[Symbol, list[FoundFile | StrayFile]] | None = None

    def symbols(self) -> frozenset[Symbol]:
        return self._walk.symbols()

    def strays(self) -> Sequence[str]:
        return [stray.path for stray in self._walk.strays()]

    def strays_of(self, symbol: Symbol) -> Sequence[str]:
        return [found.path for found in self._of(symbol) if isinstance(found, StrayFile)]

    def paths(self, symbol: Symbol) -> Sequence[str]:
        return [found.path for found in self._of(symbol) if isinstance(found, FoundFile)]

    def check(
        self,
        symbol: Symbol,
        first: TradingDate,
        last: TradingDate,
        *areas: StoreArea,
        proven: Collection[str] = (),
    ) -> Iterator[CheckedFile]:
        of_areas = (found for area in areas or StoreArea for found in self._in(area, symbol))
        wanted = (found for found in of_areas if found.first <= last and first <= found.last)
        return (reading.file for reading in self._readings(wanted, proven))

    def distrust(self, aggregate: CheckedFile) -> None:
        for found in self._in(StoreArea.AGGREGATES, aggregate.symbol):
            if found.path == aggregate.path:
                with suppress(OSError):  # a store that may only be read
                    os.utime(found.on_disk, ns=(0, 0))

    def stored_days(
        self, symbol: Symbol, identity: DatasetIdentity, dates: Collection[TradingDate] | None = None
    ) -> Iterator[StoredSymbolDay]:
        wanted = partial(_of_one_of, dates)
        kept_out = {
            reading.file.trading_date: len(reading.rows)
            for reading in self._readings(filter(wanted, self._in(StoreArea.QUARANTINE, symbol)))
            if reading.rows is not None and reading.file.problem is None
        }
        for reading in self._readings(filter(wanted, self._in(StoreArea.DATA, symbol))):
            if day := reading.file.symbol_day:
                yield _told(day, reading, identity, kept_out.pop(day.trading_date, 0))
        for date, rejected in kept_out.items():
            if date is not None:
                yield StoredSymbolDay(SymbolDay(symbol, date), 0, rejected, whole=True)

    def _in(self, area: StoreArea, symbol: Symbol) -> Iterator[FoundFile]:
        return (found for found in self._of(symbol) if isinstance(found, FoundFile) and found.area is area)

    def _of(self, symbol: Symbol) -> list[FoundFile | StrayFile]:
        """The folders of one symbol are walked once, whatever is asked of them."""
        if self._walked is None or self._walked[0] != symbol:
            self._walked = symbol, list(self._walk.of_symbol(symbol))
        return self._walked[1]

    def _readings(self, found: Iterator[FoundFile], proven: Collection[str] = ()) -> Iterator[FileReading]:
        """In the order in which they were found."""
        with self._new_executor() as executor:
            while some := list(islice(found, AT_A_TIME)):
                yield from (
                    reading for reading in executor.map(partial(read_whole, proven=proven), some) if reading is not None
                )


def _of_one_of(dates: Collection[TradingDate] | None, found: FoundFile) -> bool:
    return dates is None or found.first in dates


def _told(day: SymbolDay, reading: FileReading, identity: DatasetIdentity, rejected: int) -> StoredSymbolDay:
    """What storage told of the file when it wrote it."""
    file, rows = reading.file, reading.rows
    problem = problem_of(file, RecordedFile(file.size_bytes, file.known_since, file.sha256), identity)
    if problem is not None or rows is None or not len(rows):
        return StoredSymbolDay(day, 0, rejected, False, error=problem.reason if problem else "has no bars")
    times = rows["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    first, last = (Timestamp.from_epoch_micros(int(times[row])) for row in (0, -1))
    told = first, last, file.size_bytes, file.sha256, None, traded_minutes(day.trading_date, times), file.known_since
    return StoredSymbolDay(day, len(rows), rejected, True, *told)
