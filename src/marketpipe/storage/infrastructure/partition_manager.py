"""What is kept out of the store, symbol-day by symbol-day."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, FileRegister, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradedMinutes
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import SCHEMA_VERSION
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.day_versions import (
    Int64s,
    NewVersion,
    NewVersions,
    StoredVersion,
    VersionKeeper,
    are_in_order,
    found_at,
    in_order,
    joined_rejections,
    merge_bars,
    size_and_time_in,
    times_of,
)
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.file_inventory import StoredIdentity
from marketpipe.storage.infrastructure.parquet_files import (
    ParquetWriter,
    read_rejected,
    sha256,
    traded_minutes,
    traded_minutes_of,
    versioned,
)
from marketpipe.storage.infrastructure.store_layout import StoreLayout


class SymbolDaysInHand:
    """Lets nobody read, merge and write a symbol-day while another thread does."""

    def __init__(self) -> None:
        self._taken, self._changed = set[SymbolDay](), threading.Condition()

    @contextmanager
    def only(self, days: Iterable[SymbolDay]) -> Iterator[None]:
        """Waits until all of them are free, and takes them together: whoever waits holds none that others wait for."""
        wanted = frozenset(days)
        with self._changed:
            self._changed.wait_for(lambda: self._taken.isdisjoint(wanted))
            self._taken |= wanted
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._changed.notify_all()


NOON = time(12)
"""Lies in every regular session, on half days too."""


def rejected_after(part: SymbolDaySlice, rejected: pa.Table | None, stored: Path | None) -> pa.Table | None:
    """What has to lie there once the provider has spoken again; None for nothing. ``stored`` lies there now.

    A whole new word replaces what was said of its window; a part of one only adds.
    """
    found = None if stored is None else _found_at(stored)
    kept = None if found is None else _outside(found, part)
    if kept is None or not len(kept):
        return rejected
    return kept if rejected is None else joined_rejections(kept, rejected)


def _found_at(path: Path) -> pa.Table | None:
    try:
        return read_rejected(path)
    except PartitionUnreadableError:  # what cannot be read any more keeps nothing out
        return None


def _outside(rejected: pa.Table, part: SymbolDaySlice) -> pa.Table:
    """Bars without a readable time go with the regular session."""
    window = part.final_window
    if window is None:
        return rejected
    start, end = (pa.scalar(edge.moment, rejected["timestamp"].type) for edge in (window.start, window.end))
    elsewhere = pc.or_(pc.less(rejected["timestamp"], start), pc.greater_equal(rejected["timestamp"], end))
    return rejected.filter(pc.fill_null(elsewhere, not is_word_on_regular_hours(part)))


def is_word_on_regular_hours(part: SymbolDaySlice) -> bool:
    """Whether it is whole for them, and not only for the hours around."""
    return part.final_window is not None and part.final_window.contains(part.symbol_day.trading_date.at(NOON))


@frozen
class _DayBars:
    """Bars of one symbol-day as they lie in a file, ascending; ``times`` in microseconds since 1970."""

    table: pa.Table = field(repr=False)
    times: Int64s = field(repr=False)
    minutes: TradedMinutes

    @classmethod
    def of(cls, day: SymbolDay, table: pa.Table) -> _DayBars:
        times = times_of(table)
        return cls(table, times, traded_minutes(day.trading_date, times))

    def __len__(self) -> int:
        return len(self.times)


@frozen
class _Arrived:
    """What the provider said of one symbol-day, accepted and rejected; ``path`` is where its bars belong."""

    part: SymbolDaySlice
    path: Path
    accepted: _DayBars
    rejected: pa.Table | None = field(repr=False)

    @property
    def day(self) -> SymbolDay:
        return self.part.symbol_day


class PartitionManager:
    """Keeps a file per symbol and trading date, beside it what it said before, and the quarantine of the rejected."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: DatasetIdentity,
        writer: ParquetWriter,
        files: DurableFiles,
        clock: Clock,
        register: FileRegister,
    ) -> None:
        """``register`` tells what was recorded of files."""
        self._register = register
        self._layout, self._identity, self._writer, self._files = layout, identity, writer, files
        self._versions = VersionKeeper(layout, files, clock)
        self._in_hand = SymbolDaysInHand()
        self._identity_checked = False

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        with self._in_hand.only(part.symbol_day for part in accepted.slices):
            self._check_identity()
            arrived = self._arrived(accepted, rejected)
            try:
                return self._store(arrived)
            except StorageError:
                if len(arrived) == 1:
                    raise
                return self._store_what_can_be(arrived)

    def _store_what_can_be(self, arrived: Sequence[_Arrived]) -> tuple[StoredSymbolDay, ...]:
        """Whatever refuses one symbol-day holds up no other. Raises ``StorageError`` where none can be stored."""
        stored, refused = dict[SymbolDay, StoredSymbolDay](), dict[SymbolDay, StorageError]()
        for item in arrived:
            try:
                (stored[item.day],) = self._store([item])
            except StorageError as error:
                refused[item.day] = error
        if not stored:
            raise next(iter(refused.values()))
        failed = {day: StoredSymbolDay(day, 0, 0, final=False, error=str(error)) for day, error in refused.items()}
        return tuple({**stored, **failed}[item.day] for item in arrived)

    def _store(self, arrived: Sequence[_Arrived]) -> tuple[StoredSymbolDay, ...]:
        """All together, which takes the fewest syncs. Raises ``StorageError``."""
        recorded = self._recorded(item.day for item in arrived)
        quarantined = self._layout.rejected_files([item.day for item in arrived])
        with self._versions.publishing() as versions:
            told = [self._put(item, recorded.get(item.day), versions) for item in arrived]
            lifted = [path for item in arrived if (path := self._keep_out(item, quarantined.get(item.day), versions))]
        for path in lifted:
            self._files.remove(path)
        found = versions.published()
        nothing = None, None
        return tuple(
            evolve(day, known_since=since, mark=mark)
            for day in told
            for since, mark in [found.get(day.symbol_day, nothing)]
        )

    def _arrived(self, accepted: ColumnarBars, rejected: ColumnarBars) -> list[_Arrived]:
        """What can be said of many days at once is: numpy and Arrow cost as much for one."""
        bad, parts, path_of = pa.table(rejected), accepted.slices, self._layout.bars
        bad_of = {part.symbol_day: bad.slice(part.offset, part.length) for part in rejected.slices}
        return [
            _Arrived(part, path_of(part.symbol_day), bars, bad_of.get(part.symbol_day))
            for part, bars in zip(parts, _bars_of(versioned(pa.table(accepted)), parts), strict=True)
        ]

    def _check_identity(self) -> None:
        """Once: from then on every file of the store is this manager's own or was found to agree."""
        if not self._identity_checked:
            StoredIdentity(self._layout).check(self._identity)
            self._identity_checked = True

    def _put(self, item: _Arrived, recorded: RecordedVersion | None, versions: NewVersions) -> StoredSymbolDay:
        """What will be told of a symbol-day once it is written."""
        part, stored = item.part, self._found(item, recorded)
        rejected, whole = 0 if item.rejected is None else len(item.rejected), part.final_window is not None
        if stored and stored.damage and not (len(item.accepted) and is_word_on_regular_hours(part)):
            return StoredSymbolDay(item.day, 0, rejected, whole, error=f"{stored.damage}; move it away")
        bars = _merged(stored, item)
        if not len(bars):
            return StoredSymbolDay(item.day, 0, rejected, whole)
        content = self._writer.encode(bars.table, self._metadata(item.day).as_mapping())
        versions.put(NewVersion(item.day, item.path, content, stored, recorded))
        first, last = (Timestamp.from_epoch_micros(int(bars.times[row])) for row in (0, -1))
        written = first, last, len(content), sha256(content), None, bars.minutes
        return StoredSymbolDay(item.day, len(bars), rejected, whole, *written)

    def _keep_out(self, item: _Arrived, quarantined: Path | None, versions: NewVersions) -> Path | None:
        """The quarantine file that is to go: of a day that has nothing in it any more."""
        rows = rejected_after(item.part, item.rejected, quarantined)
        if rows is None:
            return quarantined
        content = self._writer.encode(rows, self._metadata(item.day).as_mapping())
        versions.put_beside(self._layout.rejected(item.day), content)
        return None

    def _recorded(self, days: Iterable[SymbolDay]) -> dict[SymbolDay, RecordedVersion]:
        """Symbol by symbol, which costs a look each, and not one for each day."""
        found: dict[SymbolDay, RecordedVersion] = {}
        for symbol, some in dates_by_symbol(days).items():
            files = self._register.files(symbol, min(some), max(some))
            found |= {SymbolDay(symbol, date): file for date, file in files.items()}
        return found

    def _found(self, item: _Arrived, recorded: RecordedVersion | None) -> StoredVersion | None:
        """A file that rotted where it lies is no version of the day, and nothing is merged with it.

        One that bears another time than was recorded may be newer than the record: that is no sign of rot.
        """
        stored = found_at(item.path, lambda: self._metadata(item.day))
        if stored is None or stored.damage:
            return stored
        if (
            recorded is None
            or not _have_one_time(stored.mark, recorded.mark)
            or sha256(stored.content) == recorded.sha256
        ):
            return stored
        return StoredVersion(stored.known_since, stored.mark, stored.content, damage=f"{item.path} has rotted")

    def _metadata(self, day: SymbolDay) -> StorageMetadata:
        return StorageMetadata(self._identity, day.symbol, str(day.trading_date), Timeframe.MINUTE_1, SCHEMA_VERSION)


def _have_one_time(mark: VersionMark, other: VersionMark) -> bool:
    return size_and_time_in(mark)[1] == size_and_time_in(other)[1]


def _merged(stored: StoredVersion | None, item: _Arrived) -> _DayBars:
    """The bars of the day from now on. A whole word replaces what can no longer be read."""
    newer = item.accepted
    if stored is None or stored.damage:
        return newer
    rejected = np.empty(0, np.int64) if item.rejected is None else times_of(item.rejected)
    return _DayBars.of(item.day, merge_bars(stored.bars, newer.table, rejected, item.part.final_window))


def _bars_of(table: pa.Table, parts: Sequence[SymbolDaySlice]) -> Iterator[_DayBars]:
    """Day by day. ``parts`` lie end to end."""
    times, lengths = times_of(table), [part.length for part in parts]
    minutes = traded_minutes_of([part.symbol_day.trading_date for part in parts], lengths, times)
    for part, traded, rises in zip(parts, minutes, are_in_order(times, lengths), strict=True):
        rows = slice(part.offset, part.offset + part.length)
        bars = _DayBars(table.slice(part.offset, part.length), times[rows], traded)
        yield bars if rises else _DayBars.of(part.symbol_day, in_order(bars.table))
