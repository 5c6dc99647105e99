from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import FileRegister, RecordedFile
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import SCHEMA_VERSION
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.bar_merge import in_order, merge_bars
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.minute_bits import traded_minutes
from marketpipe.storage.infrastructure.parquet_writer import ParquetWriter, sha256
from marketpipe.storage.infrastructure.quarantine import Quarantine, is_word_on_regular_hours
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.storage.infrastructure.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.stored_version import StoredVersion, found_at
from marketpipe.storage.infrastructure.symbol_days_in_hand import SymbolDaysInHand
from marketpipe.storage.infrastructure.version_keeper import NewVersion, VersionKeeper

Int64s = npt.NDArray[np.int64]


@frozen
class _Arrived:
    """What the provider said of one symbol-day: ``bars`` that were accepted, and those that were ``rejected``."""

    part: SymbolDaySlice
    bars: pa.Table = field(repr=False)
    rejected: pa.Table | None = field(repr=False)

    @property
    def day(self) -> SymbolDay:
        return self.part.symbol_day


@frozen
class _Prepared:
    """What will be told of a symbol-day once it is written; ``version`` is None where no file comes of it."""

    result: StoredSymbolDay
    version: NewVersion | None = field(default=None, repr=False)


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
        self._versions, self._quarantine = VersionKeeper(layout, files, clock), Quarantine(layout)
        self._in_hand = SymbolDaysInHand()
        self._identity_checked = False

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        with self._in_hand.only(part.symbol_day for part in accepted.slices):
            self._check_identity()
            arrived = _arrived(accepted, rejected)
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
        failed = {day: StoredSymbolDay(day, 0, 0, whole=False, error=str(error)) for day, error in refused.items()}
        return tuple({**stored, **failed}[item.day] for item in arrived)

    def _store(self, arrived: Sequence[_Arrived]) -> tuple[StoredSymbolDay, ...]:
        """All together, which takes the fewest syncs. Raises ``StorageError``."""
        recorded = self._recorded(item.day for item in arrived)
        prepared = [self._prepare(item, recorded.get(item.day)) for item in arrived]
        kept_out = {item.day: self._quarantine.after(item.part, item.rejected) for item in arrived}
        beside = {
            self._layout.rejected(day): self._encoded(day, rows) for day, rows in kept_out.items() if rows is not None
        }
        known = self._versions.publish([item.version for item in prepared if item.version], beside)
        self._lift_quarantine(day for day, rows in kept_out.items() if rows is None)
        return tuple(evolve(item.result, known_since=known.get(item.result.symbol_day)) for item in prepared)

    def _check_identity(self) -> None:
        """Once: from then on every file of the store is this manager's own or was found to agree."""
        if not self._identity_checked:
            StoredIdentity(self._layout).check(self._identity)
            self._identity_checked = True

    def _prepare(self, item: _Arrived, recorded: RecordedFile | None) -> _Prepared:
        part, newer, rejected = item.part, item.bars, item.rejected
        day, stored = item.day, self._found(item.day, recorded)
        result = StoredSymbolDay(day, 0, 0 if rejected is None else len(rejected), part.whole is not None)
        if stored and stored.damage and not (len(newer) and is_word_on_regular_hours(part)):
            return _Prepared(evolve(result, error=f"{stored.damage}; move it away"))
        merged = _merged(stored, newer, _times(rejected), part)
        if not len(merged):
            return _Prepared(result)
        content = self._writer.encode_bars(merged, self._metadata(day).as_mapping())
        return _Prepared(_described(result, merged, content), NewVersion(day, content, stored, recorded))

    def _recorded(self, days: Iterable[SymbolDay]) -> dict[SymbolDay, RecordedFile]:
        """Symbol by symbol, which costs a look each, and not one for each day."""
        found: dict[SymbolDay, RecordedFile] = {}
        for symbol, some in dates_by_symbol(days).items():
            files = self._register.files(symbol, min(some), max(some))
            found |= {SymbolDay(symbol, date): file for date, file in files.items()}
        return found

    def _found(self, day: SymbolDay, recorded: RecordedFile | None) -> StoredVersion | None:
        """A file that rotted where it lies is no version of the day, and nothing is merged with it.

        One that bears another time than was recorded may be newer than the record: that is no sign of rot.
        """
        stored = found_at(self._layout.bars(day), self._metadata(day))
        if stored is None or stored.damage:
            return stored
        if recorded is None or stored.known_since != recorded.known_since or sha256(stored.content) == recorded.sha256:
            return stored
        return StoredVersion(stored.known_since, stored.content, damage=f"{self._layout.bars(day)} has rotted")

    def _metadata(self, day: SymbolDay) -> StorageMetadata:
        return StorageMetadata(self._identity, day.symbol, str(day.trading_date), Timeframe.MINUTE_1, SCHEMA_VERSION)

    def _encoded(self, day: SymbolDay, rejected: pa.Table) -> bytes:
        return self._writer.encode(rejected, self._metadata(day).as_mapping())

    def _lift_quarantine(self, days: Iterable[SymbolDay]) -> None:
        for day in days:
            path = self._layout.rejected(day)
            if path.exists():
                self._files.remove(path)


def _arrived(accepted: ColumnarBars, rejected: ColumnarBars) -> list[_Arrived]:
    good, bad = pa.table(accepted), pa.table(rejected)
    bad_of = {part.symbol_day: bad.slice(part.offset, part.length) for part in rejected.slices}
    return [
        _Arrived(part, good.slice(part.offset, part.length), bad_of.get(part.symbol_day)) for part in accepted.slices
    ]


def _merged(stored: StoredVersion | None, newer: pa.Table, rejected: Int64s, part: SymbolDaySlice) -> pa.Table:
    """The provider's whole word replaces what can no longer be read."""
    if stored is None or stored.damage:
        return in_order(newer)
    return merge_bars(stored.bars, newer, rejected, part.whole)


def _described(result: StoredSymbolDay, bars: pa.Table, content: bytes) -> StoredSymbolDay:
    times = _times(bars)
    first, last = (Timestamp.from_epoch_micros(int(times[row])) for row in (0, -1))
    return evolve(
        result,
        rows=len(bars),
        first=first,
        last=last,
        size_bytes=len(content),
        sha256=sha256(content),
        minutes=traded_minutes(result.symbol_day.trading_date, times),
    )


def _times(bars: pa.Table | None) -> Int64s:
    if bars is None:
        return np.empty(0, np.int64)
    times: Int64s = bars["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    return times
