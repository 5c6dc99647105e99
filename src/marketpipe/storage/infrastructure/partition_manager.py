from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import field, frozen

from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.bar_merge import in_order, joined_rejections, merge_bars
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.parquet_reader import read_bars, read_rejected
from marketpipe.storage.infrastructure.parquet_writer import ParquetWriter, sha256
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.storage.infrastructure.stored_identity import StoredIdentity

Int64s = npt.NDArray[np.int64]


@frozen
class _Prepared:
    """A symbol-day ready to be written; ``content`` is None where no file comes of it."""

    result: StoredSymbolDay
    path: Path
    content: bytes | None = field(default=None, repr=False)


class PartitionManager:
    """Keeps a file per symbol and trading date, and beside it the quarantine of what was rejected."""

    def __init__(
        self, layout: StoreLayout, identity: DatasetIdentity, writer: ParquetWriter, files: DurableFiles
    ) -> None:
        self._layout, self._identity, self._writer, self._files = layout, identity, writer, files
        self._identity_checked = False

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        self._check_identity()
        good, bad = pa.table(accepted), pa.table(rejected)
        bad_of = {part.symbol_day: bad.slice(part.offset, part.length) for part in rejected.slices}
        prepared = [
            self._prepare(part, good.slice(part.offset, part.length), bad_of.get(part.symbol_day))
            for part in accepted.slices
        ]
        whole = {part.symbol_day for part in accepted.slices if part.whole is not None}
        quarantine = dict(self._quarantined(day, rows, day in whole) for day, rows in bad_of.items())
        contents = {item.path: item.content for item in prepared if item.content is not None}
        self._files.publish({**quarantine, **contents})
        self._lift_quarantine(accepted.slices, bad_of)
        return tuple(item.result for item in prepared)

    def _check_identity(self) -> None:
        """Once: from then on every file of the store is this manager's own or was found to agree."""
        if not self._identity_checked:
            StoredIdentity(self._layout).check(self._identity)
            self._identity_checked = True

    def _prepare(self, part: SymbolDaySlice, newer: pa.Table, rejected: pa.Table | None) -> _Prepared:
        day, path = part.symbol_day, self._layout.bars(part.symbol_day)
        turned_down = 0 if rejected is None else len(rejected)
        try:
            merged = self._merged(path, newer, _times(rejected), part)
        except PartitionUnreadableError as error:
            failed = StoredSymbolDay(day, 0, turned_down, part.whole is not None, error=f"{error}; move it away")
            return _Prepared(failed, path)
        if not len(merged):
            return _Prepared(StoredSymbolDay(day, 0, turned_down, part.whole is not None), path)
        content = self._writer.encode_bars(merged, self._metadata(day).as_mapping())
        return _Prepared(_result(part, merged, turned_down, content), path, content)

    def _merged(self, path: Path, newer: pa.Table, rejected: Int64s, part: SymbolDaySlice) -> pa.Table:
        if not path.exists():
            return in_order(newer)
        try:
            stored = read_bars(path)
        except PartitionUnreadableError:
            if part.whole is None or not len(newer):
                raise
            return in_order(newer)  # the provider's whole word replaces what can no longer be read
        return merge_bars(stored.select(BAR_SCHEMA.names), newer, rejected, part.whole)

    def _metadata(self, day: SymbolDay) -> StorageMetadata:
        return StorageMetadata(self._identity, day.symbol, str(day.trading_date), Timeframe.MINUTE_1, SCHEMA_VERSION)

    def _quarantined(self, day: SymbolDay, rows: pa.Table, whole: bool) -> tuple[Path, bytes]:
        """A whole new word replaces what was in quarantine; a part of one only adds to it."""
        path = self._layout.rejected(day)
        if not whole and path.exists():
            with suppress(PartitionUnreadableError):  # what cannot be read any more keeps nothing out
                rows = joined_rejections(read_rejected(path), rows)
        return path, self._writer.encode(rows, self._metadata(day).as_mapping())

    def _lift_quarantine(self, slices: tuple[SymbolDaySlice, ...], rejected: dict[SymbolDay, pa.Table]) -> None:
        """A whole new word with nothing to reject leaves nothing in quarantine."""
        for part in slices:
            if part.whole is not None and part.symbol_day not in rejected:
                path = self._layout.rejected(part.symbol_day)
                if path.exists():
                    self._files.remove(path)


def _result(part: SymbolDaySlice, bars: pa.Table, rejected: int, content: bytes) -> StoredSymbolDay:
    times, whole = _times(bars), part.whole is not None
    first, last = (Timestamp.from_epoch_micros(int(times[row])) for row in (0, -1))
    return StoredSymbolDay(part.symbol_day, len(bars), rejected, whole, first, last, len(content), sha256(content))


def _times(bars: pa.Table | None) -> Int64s:
    if bars is None:
        return np.empty(0, np.int64)
    times: Int64s = bars["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    return times
