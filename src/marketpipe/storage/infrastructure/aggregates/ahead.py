"""Aggregates and read copies ahead of the refresh: made of the bars that an ingestion has in memory. See ADR 0045.

What is made here is what a refresh would make, to the byte, and has the same fingerprint; so the refresh at the end of
the job finds it fresh. Whatever cannot be made here is left to that refresh: months whose other days were stored
before, or by another worker, and everything after an error.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import Final

import pyarrow as pa
from attrs import define, field

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import StateError, StorageError, StoreBusyError, StoreUnreachableError
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    AggregatesPrepared,
    AggregatesRefreshed,
    BarsExhausted,
    BarsStored,
    BarsValidated,
    JobFinished,
    StoredSymbolDay,
)
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS, Threads
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.aggregate_files import AggregateFiles, MadeFile
from marketpipe.storage.infrastructure.aggregates.month_files import MonthInMemory, Stored, StoredDay
from marketpipe.storage.infrastructure.day_versions import are_in_order
from marketpipe.storage.infrastructure.parquet_files import times_of
from marketpipe.storage.infrastructure.publishing.durable_files import SameThread

MOST_BYTES: Final = 4_000_000
"""At most so much is kept until the batch ends."""
BARS_BETWEEN_RELEASES: Final = 100_000
"""Then the allocator gives back what it keeps free: 25 MB where it was measured, with four threads and read copies."""
Year = tuple[Symbol, int]


@define(eq=False)
class _Batch:
    """What one batch has stored of which nothing was made yet, by symbol and year; and what was made of the rest."""

    request: BarsRequest
    stored: tuple[StoredSymbolDay, ...] = ()
    years: defaultdict[Year, dict[MonthPartition, dict[int, StoredDay]]] = field(factory=lambda: defaultdict(dict))
    made: list[MadeFile] = field(factory=list)

    @cached_property
    def last_dates(self) -> Mapping[int, TradingDate]:
        """The last date of each year that is requested; sessions ascend."""
        dates = (asked.trading_date for asked in self.request.sessions)
        return {date.day.year: date for date in dates}

    def note(self, day: SymbolDay, stored: StoredDay) -> None:
        months = self.years[day.symbol, day.trading_date.day.year]
        months.setdefault(MonthPartition.of(day), {})[day.trading_date.day.day] = stored


class AggregatesAhead:
    """Makes the aggregates of a symbol's year when a batch has stored all that it has of it.

    They are published when the batch has ended, together, as each group of files is waited for; or those of several
    batches together, where each group costs a request: then the last ones when the job has finished.

    Its handlers come after those of the ring: bars are durable and recorded before anything is made of them. A batch
    runs on the thread of one worker; of the symbols that it is done with nothing stays in memory.
    """

    def __init__(
        self,
        files: AggregateFiles,
        timeframes: Sequence[Timeframe],
        bus: EventBus,
        new_lock: Callable[[], AbstractContextManager[None]],
        maker: Executor | None = None,
        together_bytes: int = 0,
        threads: Threads = REAL_THREADS,
    ) -> None:
        """``new_lock`` makes the lock of all that refresh aggregates, which does not wait long for another process.

        ``together_bytes`` of several batches are published together; 0 is for those of one batch.
        ``maker`` has one thread, and makes one year at a time: what is computed takes several times the memory of its
        minutes, and the allocator keeps that for the thread.
        """
        self._files, self._timeframes, self._bus, self._new_lock = files, timeframes, bus, new_lock
        self._threads, self._maker = threading.local(), maker or SameThread()
        self._together, self._waiting, self._lock = together_bytes, list[MadeFile](), threads.lock()
        self._bars_made = 0
        """Since memory was given back; changed by the ``maker`` alone."""
        self._is_left_to_refresh = False
        """While another process aggregates: each batch would wait for it, and throw away what it has made."""

    def close(self) -> None:
        self._maker.shutdown()

    def on_aggregates_refreshed(self, _: AggregatesRefreshed) -> None:
        """Begin again with the next job."""
        self._is_left_to_refresh = False

    def on_bars_stored(self, event: BarsStored) -> None:
        self._batch(event.request).stored = event.days

    def on_bars_validated(self, event: BarsValidated) -> None:
        """Comes after ``BarsStored`` of the same bars: that is published while they are handled."""
        if self._is_left_to_refresh:
            return
        batch = self._batch(event.request)
        stored = {day.symbol_day: day for day in batch.stored if day.error is None}
        batch.stored = ()
        table, parts, ended = pa.table(event.accepted), event.accepted.slices, set[Year]()
        ascends = are_in_order(times_of(table), [part.length for part in parts])
        for part, is_ordered in zip(parts, ascends, strict=True):
            day, found = part.symbol_day, stored.get(part.symbol_day)
            # As many bars are stored as were accepted: so these are the stored ones, and nothing was merged with them.
            if found and found.rows == part.length and found.sha256 and found.mark and is_ordered:
                batch.note(day, StoredDay(found.mark, found.sha256, table, part.offset, part.length))
            year = day.trading_date.day.year
            if day.trading_date == batch.last_dates.get(year):
                ended.add((day.symbol, year))
        self._make(batch, ended)

    def on_bars_exhausted(self, event: BarsExhausted) -> None:
        batch = self._batch(event.request)
        if not self._is_left_to_refresh:
            self._make(batch, list(batch.years))
            self._publish_or_wait(batch)
        self._threads.batch = None

    def on_job_finished(self, _: JobFinished) -> None:
        """Publish what waits for more. A worker process is not told: what waits there is left to the refresh."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        self._publish(waiting)

    def _batch(self, request: BarsRequest) -> _Batch:
        """Return that of the request; what a batch has left that ended with an error is left to the refresh."""
        batch: _Batch | None = getattr(self._threads, "batch", None)
        if batch is None or batch.request is not request:
            batch = self._threads.batch = _Batch(request)
        return batch

    def _make(self, batch: _Batch, ended: Collection[Year]) -> None:
        for year in sorted(set(ended) & batch.years.keys()):
            stored = {month: MonthInMemory(days) for month, days in batch.years.pop(year).items()}
            with suppress(StorageError, StoreUnreachableError):  # the refresh meets an error again, and reports it
                batch.made += self._maker.submit(self._made_of, stored).result()
        if _size(batch.made) > MOST_BYTES:
            self._publish_or_wait(batch)

    def _made_of(self, stored: Stored) -> list[MadeFile]:
        try:
            return self._files.made_of(stored, self._timeframes)
        finally:
            self._bars_made += sum(day.rows for month in stored.values() for day in month.days.values())
            if self._bars_made >= BARS_BETWEEN_RELEASES:
                self._bars_made = 0
                pa.default_memory_pool().release_unused()

    def _publish_or_wait(self, batch: _Batch) -> None:
        files, batch.made = batch.made, []
        if self._together:
            with self._lock:
                self._waiting += files
                is_enough = _size(self._waiting) >= self._together
                files, self._waiting = (self._waiting, []) if is_enough else ([], self._waiting)
        self._publish(files)

    def _publish(self, files: Sequence[MadeFile]) -> None:
        if not files or self._is_left_to_refresh:
            return
        try:
            with suppress(StorageError, StoreUnreachableError, StateError), self._new_lock():
                if published := self._files.publish(files):
                    self._bus.publish(AggregatesPrepared(len(published), sum(file.is_copy for file in published)))
        except StoreBusyError:
            self._is_left_to_refresh = True


def _size(files: Iterable[MadeFile]) -> int:
    return sum(len(made.content) for made in files)
