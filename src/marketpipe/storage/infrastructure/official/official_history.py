"""Every version of the official days of a symbol and year, each with the moment since which the store has it.

It is a text file, ``known_since.csv`` beside the former day files of that year, always written as a whole. Its first
line has the SHA-256 of the others, the second one names its owner, as the metadata of a Parquet file does. The file of
an earlier version of MarketPipe has no second line. Its digest is on record: see docs/adr/0026.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from attrs import field, frozen
from pyarrow import csv

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StateError, ValidationError
from marketpipe.shared_kernel.domain.store_inventory import ABSENT, DatasetIdentity, FileDigests
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import (
    BAR_SCHEMA,
    SCHEMA_VERSION,
    TIMESTAMP,
    VALUES,
    differing_rows,
)
from marketpipe.shared_kernel.infrastructure.machine.disk import read_bytes
from marketpipe.storage.domain.integrity import FROM_A_BACKUP, StoreArea
from marketpipe.storage.domain.storage_metadata import PREFIX, StorageMetadata, identity_in, label_in
from marketpipe.storage.infrastructure.parquet_files import FOREIGN, sha256, times_of
from marketpipe.storage.infrastructure.store_layout import StoreLayout

HISTORY_SCHEMA: Final = BAR_SCHEMA.append(pa.field("known_since", TIMESTAMP))
"""Of a day that the provider has withdrawn, the last row has no prices."""
FIRST_LINE: Final = b"# sha256 of the lines below: %s\n"
OWNER: Final = b"# "
"""What the second line begins with; an object in JSON follows."""
LOST_BEFORE: Final = f"{PREFIX}lost_before"
"""In the second line of a history that had to begin anew: of earlier moments it tells nothing."""
READINGS: Final = 5
"""So often a history is read again if it is replaced each time."""


@frozen
class OfficialHistory:
    """``versions`` are by day, then moment. ``metadata`` names symbol, year and dataset; that of an earlier version of
    MarketPipe is empty. ``lost_before``: the moment before which nothing is known because an earlier history was lost;
    None if none was. ``is_lost``: what was written cannot be read or believed, and ``versions`` are none.
    """

    versions: pa.Table = field(factory=HISTORY_SCHEMA.empty_table, repr=False)
    metadata: Mapping[str, str] = field(factory=dict)
    lost_before: Timestamp | None = None
    is_lost: bool = False


def encode_history(
    versions: pa.Table, identity: DatasetIdentity, symbol: Symbol, year: int, lost_before: Timestamp | None = None
) -> bytes:
    """Return the bytes of a file with these versions. Numbers are written so that they read back exactly."""
    sink = pa.BufferOutputStream()
    csv.write_csv(versions, sink)
    owner = StorageMetadata(identity, symbol, f"{year:04d}", Timeframe.DAY_1, SCHEMA_VERSION).as_mapping()
    if lost_before is not None:
        owner[LOST_BEFORE] = str(lost_before)
    lines: bytes = OWNER + json.dumps(owner).encode() + b"\n" + sink.getvalue().to_pybytes()
    return FIRST_LINE % sha256(lines).encode() + lines


def history_in(content: bytes, path: Path | str) -> OfficialHistory:
    """Return what the bytes of a history have, whoever it is of. Raises ``PartitionUnreadableError``."""
    first, _, lines = content.partition(b"\n")
    if first + b"\n" != FIRST_LINE % sha256(lines).encode():
        raise PartitionUnreadableError(f"{path} is damaged: its lines are not those that were written")
    try:
        metadata = dict[str, str]()
        if lines.startswith(OWNER):
            owner, _, lines = lines.partition(b"\n")
            metadata = {str(key): str(value) for key, value in json.loads(owner.removeprefix(OWNER)).items()}
        types = csv.ConvertOptions(column_types=HISTORY_SCHEMA)
        rows = csv.read_csv(pa.BufferReader(lines), convert_options=types).cast(HISTORY_SCHEMA)
        lost_before = Timestamp.parse(metadata[LOST_BEFORE]) if LOST_BEFORE in metadata else None
    except (*FOREIGN, AttributeError, ValidationError) as error:
        raise PartitionUnreadableError(f"{path} is damaged: its lines are not those of a history") from error
    in_order = rows.sort_by([("timestamp", "ascending"), ("known_since", "ascending")])
    return OfficialHistory(in_order, metadata, lost_before)


class OfficialHistories:
    """The histories of a store, each compared with its recorded digest and with what its path names."""

    def __init__(
        self,
        layout: StoreLayout,
        digests: Callable[[], FileDigests] | None = None,
        identity: Callable[[], DatasetIdentity | None] = lambda: None,
    ) -> None:
        """``digests`` opens the register; without it, or if it cannot be opened, nothing is on record.

        ``identity`` returns the dataset of the store, None if it is not known.
        """
        self._layout, self._digests, self._identity = layout, digests, identity

    def read(self, symbol: Symbol, year: int) -> OfficialHistory:
        """Return the history of a year; an empty one if it never had one.

        Raises ``PartitionUnreadableError`` for one that was lost or changed, cannot be read, or is of others.
        """
        path = self._layout.official_history(symbol, year)
        try:
            content = self._recorded_content(path)
            if content is None:
                return OfficialHistory()
            found = history_in(content, path)
            self._refuse_others(path, found.metadata, f"{symbol} {Timeframe.DAY_1} {year:04d}")
        except PartitionUnreadableError as error:
            error.advice = FROM_A_BACKUP
            raise
        return found

    def known_at(self, symbol: Symbol, year: int, moment: Timestamp) -> pa.Table | None:
        """Return the days as the store had them at that moment, in the columns of bars; None without a history.

        Raises ``PartitionUnreadableError`` as ``read``, and for a moment of which the history can tell nothing.
        """
        found = self.read(symbol, year)
        if found.lost_before is not None and moment < found.lost_before:
            path = self._layout.official_history(symbol, year)
            error = PartitionUnreadableError(f"{path} had to begin anew at {found.lost_before}: what it had was lost")
            error.advice = FROM_A_BACKUP
            raise error
        return known_at(found.versions, moment) if len(found.versions) or found.lost_before else None

    def found(self, symbol: Symbol, year: int) -> OfficialHistory:
        """Return the same as ``read``, and for what it refuses one that is lost: of its days no moment is known."""
        try:
            return self.read(symbol, year)
        except PartitionUnreadableError:
            return OfficialHistory(is_lost=True)

    def digests(self, symbol: Symbol) -> Mapping[str, str]:
        """Return the digests of the histories of a symbol that ``read`` accepts, by path with the area.

        Raises ``StorageError`` for a folder that cannot be listed.
        """
        found = dict[str, str]()
        for year in self._layout.known_years(symbol):
            path = self._layout.official_history(symbol, year)
            with suppress(PartitionUnreadableError):
                self.read(symbol, year)
                if (content := self._content(path)) is not None:
                    found[self._place(path)] = sha256(content)
        return found

    def _recorded_content(self, path: Path) -> bytes | None:
        """Return the content of a history; None if there is none. Who replaces it records first, then publishes.

        So what is the same before and after the record was read differs from it for good.
        """
        content = self._content(path)
        for _ in range(READINGS):
            recorded = self._recorded(path)
            if not recorded or (ABSENT if content is None else sha256(content)) in recorded:
                return content
            before, content = content, self._content(path)
            if content == before:
                break
        what = "was recorded, and does not exist" if content is None else "is not what was recorded of it"
        raise PartitionUnreadableError(f"{path} {what}")

    def _content(self, path: Path) -> bytes | None:
        try:
            return read_bytes(self._layout.disk, path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PartitionUnreadableError(f"{path} cannot be read: {error.strerror}") from error

    def _recorded(self, path: Path) -> frozenset[str]:
        place = self._place(path)
        with suppress(StateError):  # a copy of the store without its state, or with a damaged one, is read all the same
            return self._digests().below(place).get(place, frozenset()) if self._digests else frozenset()
        return frozenset()

    def _place(self, path: Path) -> str:
        return f"{StoreArea.REVISIONS}/{path.relative_to(self._layout.revisions).as_posix()}"

    def _refuse_others(self, path: Path, metadata: Mapping[str, str], label: str) -> None:
        if metadata and label_in(metadata) != label:
            raise PartitionUnreadableError(f"the metadata of {path} names {label_in(metadata)}, its path {label}")
        found, ours = identity_in(metadata), self._identity()
        if found is not None and ours is not None and found != ours:
            raise PartitionUnreadableError(f"{path} is of {found}; this store is of {ours}")


def newest_of(history: pa.Table) -> pa.Table:
    """Return the last version of each day, in the columns of bars, withdrawn ones included."""
    times = times_of(history)
    last = np.append(times[1:] != times[:-1], np.ones(min(1, len(times)), np.bool_))
    return history.filter(pa.array(last)).select(BAR_SCHEMA.names)


def with_prices(days: pa.Table) -> pa.Table:
    """Return the days that are not withdrawn."""
    return days.filter(days["open"].is_valid())


def known_at(history: pa.Table, moment: Timestamp) -> pa.Table:
    """Return the days as the store had them at that moment, in the columns of bars."""
    since = history["known_since"].cast(pa.int64()).to_numpy()
    return with_prices(newest_of(history.filter(pa.array(since <= moment.epoch_micros))))


def same_rows(rows: pa.Table, others: pa.Table) -> npt.NDArray[np.bool_]:
    """Return for each of the rows whether the others have one of the same time and values. Both ascend by time."""
    times, known = times_of(rows), times_of(others)
    same: npt.NDArray[np.bool_] = np.isin(times, known)
    both = rows.filter(pa.array(same)), others.filter(pa.array(np.isin(known, times)))
    same[same] = ~differing_rows(*both)
    return same


def withdrawn_rows(days: pa.Table) -> pa.Table:
    """Return rows of the same days without values."""
    nothing = {name: pa.nulls(len(days), BAR_SCHEMA.field(name).type) for name in VALUES}
    return pa.table({"timestamp": days["timestamp"], **nothing}, schema=BAR_SCHEMA)
