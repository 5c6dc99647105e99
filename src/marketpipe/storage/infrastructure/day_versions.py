from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, DayComparison, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp, TimeWindow
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.domain.storage_metadata import StorageMetadata, identity_in, label_in
from marketpipe.storage.infrastructure.durable_files import DurableFiles, FileGroup
from marketpipe.storage.infrastructure.parquet_files import (
    FILE_SCHEMA,
    checked_bars,
    file_in,
    read_bars,
    sha256,
    versioned,
)
from marketpipe.storage.infrastructure.store_layout import StoreLayout

BEGINNING = Timestamp.from_epoch_micros(0)


@frozen
class StoredVersion:
    """A day file as it was found. ``bars`` has the columns of a file.

    It is empty, and ``damage`` says why, where the file is not what belongs there.
    """

    known_since: Timestamp
    mark: VersionMark
    content: bytes = field(repr=False)
    bars: pa.Table = field(factory=FILE_SCHEMA.empty_table, repr=False)
    damage: str | None = None


def found_at(path: Path, belongs: Callable[[], StorageMetadata]) -> StoredVersion | None:
    """None where there is no file. One that says of itself something else than what ``belongs`` there is damaged."""
    try:
        with path.open("rb") as file:  # opened once, or time and bytes could be those of two versions
            found, content = os.fstat(file.fileno()), file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return StoredVersion(BEGINNING, NO_MARK, b"", damage=f"{path} cannot be read: {error.strerror}")
    known_since, mark = moment_of(found), file_mark(found.st_size, found.st_mtime_ns)
    try:
        bars = _belonging(content, path, belongs()).select(BAR_SCHEMA.names)
        return StoredVersion(known_since, mark, content, versioned(bars))
    except PartitionUnreadableError as error:
        return StoredVersion(known_since, mark, content, damage=str(error))


def _belonging(content: bytes, path: Path, belongs: StorageMetadata) -> pa.Table:
    rows, metadata = file_in(content, str(path), columns=True)
    bars, said, expected = checked_bars(rows, path), _word(metadata), _word(belongs.as_mapping())
    if said != expected:
        raise PartitionUnreadableError(f"{path} says that it is {said}, and lies where {expected} belongs")
    return bars


def _word(metadata: Mapping[str, str]) -> str:
    return f"{label_in(metadata)} of {identity_in(metadata)}"


def file_mark(size_bytes: int, modified_ns: int) -> VersionMark:
    """Return the mark of a day file: its size, and its modification time in microseconds since 1970."""
    return f"{size_bytes}-{modified_ns // 1000}"


def size_and_time_in(mark: VersionMark) -> tuple[int, int] | tuple[None, None]:
    """Return size and time in microseconds; None twice for the mark of no file."""
    size, _, modified_us = mark.partition("-")
    return (int(size), int(modified_us)) if size.isdecimal() and modified_us.isdecimal() else (None, None)


def moment_of(found: os.stat_result) -> Timestamp:
    """Since when the store knows what is in a file: its modification time, to the microsecond."""
    return moment_at(found.st_mtime_ns)


def moment_at(modified_ns: int) -> Timestamp:
    return Timestamp.from_epoch_micros(modified_ns // 1000)


MICROSECOND = timedelta(microseconds=1)


@frozen
class NewVersion:
    """The bytes that are to lie at ``path``, in the place of ``stored``."""

    symbol_day: SymbolDay
    path: Path
    content: bytes = field(repr=False)
    stored: StoredVersion | None
    recorded: RecordedVersion | None = None

    @property
    def says_the_same(self) -> bool:
        """Also since when it is known."""
        return self.stored is not None and self.stored.content == self.content and not self._has_lost_its_time

    @property
    def _has_lost_its_time(self) -> bool:
        """As in a tree that was copied without times: the state knows better."""
        return (
            self._is_recorded and self.stored is not None and self.stored.mark != (self.recorded and self.recorded.mark)
        )

    @property
    def _is_recorded(self) -> bool:
        """The provider says again what is on record, of a file that was lost or changed by somebody else."""
        return self.recorded is not None and self.recorded.sha256 == sha256(self.content)

    @property
    def _recorded_since(self) -> Timestamp | None:
        return self.recorded.known_since if self.recorded else None

    @property
    def revision(self) -> Revision | None:
        """What ``stored`` becomes; a file that is damaged, or not the one on record, was never the store's word."""
        if self.stored is None or self.stored.damage or self.stored.content == self.content:
            return None
        if self.recorded is None:
            return Revision(self.symbol_day, self.stored.known_since)
        if self.recorded.sha256 != sha256(self.stored.content):
            return None
        return Revision(self.symbol_day, self._recorded_since or self.stored.known_since)

    def modified_ns(self, now: Timestamp) -> int:
        """The moments of a symbol-day ascend, also where the clock stands still or goes back."""
        if self._is_recorded and self._recorded_since is not None:
            return self._recorded_since.epoch_micros * 1000
        former = self.revision
        since = now if former is None else max(now, former.known_since.plus(MICROSECOND))
        return since.epoch_micros * 1000


class NewVersions:
    """Those of one group. Each is written as soon as it is put in, and takes its place with all others."""

    def __init__(self, group: FileGroup, now: Timestamp) -> None:
        self._group, self._now = group, now
        self.changed, self.confirmed = list[NewVersion](), list[NewVersion]()

    def put(self, version: NewVersion) -> None:
        if version.says_the_same:
            self.confirmed.append(version)
        else:
            self.changed.append(version)
            self._group.add(version.path, version.content, version.modified_ns(self._now))

    def put_beside(self, path: Path, content: bytes) -> None:
        """Another file of the same group, of which no versions are kept."""
        self._group.add(path, content)

    def published(self) -> dict[SymbolDay, tuple[Timestamp, VersionMark]]:
        """Return since when each is known, and its mark. A file system may keep coarser times than it was given."""
        new = [(version, self._group.modified_ns[version.path]) for version in self.changed]
        return {
            **{each.symbol_day: (moment_at(time), file_mark(len(each.content), time)) for each, time in new},
            **{v.symbol_day: (v.stored.known_since, v.stored.mark) for v in self.confirmed if v.stored},
        }


class VersionKeeper:
    """Puts new day files in the place of old ones, and forgets no version: see ADR 0009."""

    def __init__(self, layout: StoreLayout, files: DurableFiles, clock: Clock) -> None:
        self._layout, self._files, self._clock = layout, files, clock

    @contextmanager
    def publishing(self) -> Iterator[NewVersions]:
        """What is put in is published at the end; nothing of it where that is an error. Raises ``StorageError``."""
        with self._files.group() as group:
            versions = NewVersions(group, self._clock.now())
            yield versions
            self._keep_revisions(versions.changed)  # before the first file is replaced: a crash may lose no version
        self._files.confirm([version.path for version in versions.confirmed])

    def _keep_revisions(self, changed: Sequence[NewVersion]) -> None:
        revisions = {version.path: revision for version in changed if (revision := version.revision)}
        self._files.keep({path: self._layout.revision(revision) for path, revision in revisions.items()})


Int64s = npt.NDArray[np.int64]


def merge_bars(stored: pa.Table, newer: pa.Table, rejected: Int64s, whole: TimeWindow | None) -> pa.Table:
    """What is true of a symbol-day once the provider has spoken again, ascending by time.

    Per timestamp the newer bar wins. A stored bar that is not said again stays, unless the newer word is ``whole`` for
    the window it lies in. A bar whose newer version was rejected (``rejected``: their times) stays as it was.
    """
    times, known = times_of(stored), times_of(newer)
    keep = ~np.isin(times, known)
    if whole is not None and len(known):
        withdrawn = (times >= whole.start.epoch_micros) & (times < whole.end.epoch_micros) & ~np.isin(times, rejected)
        keep &= ~withdrawn
    return in_order(pa.concat_tables([stored.filter(pa.array(keep)), newer]))


def joined_rejections(stored: pa.Table, newer: pa.Table) -> pa.Table:
    """Every rejected bar once, in the order in which they came."""
    rows = [*stored.to_pylist(), *newer.to_pylist()]
    unlike = {repr(row): row for row in rows}  # as text, in which NaN equals NaN
    return pa.Table.from_pylist(list(unlike.values()), schema=newer.schema)


def in_order(bars: pa.Table) -> pa.Table:
    times = times_of(bars)
    (rises,) = are_in_order(times, [len(times)])
    return bars if rises else bars.take(pa.array(np.argsort(times, kind="stable")))


def are_in_order(times: Int64s, lengths: Sequence[int]) -> list[bool]:
    """Of many days at once, which lie end to end: for each so many times."""
    falls = np.zeros(len(times) + 1, np.int64)
    np.cumsum(times[1:] <= times[:-1], out=falls[2:])
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - np.asarray(lengths, np.int64)
    rises: list[bool] = (falls[ends] == falls[np.minimum(starts + 1, ends)]).tolist()
    return rises


def times_of(bars: pa.Table) -> Int64s:
    """In microseconds since 1970; rows without a time are passed over."""
    times: Int64s = bars["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    return times


Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PRICES = ("open", "high", "low", "close")
VALUES = [name for name in BAR_SCHEMA.names if name != "timestamp"]
SAME_RATIO = 2e-3
HALF_A_CENT = 0.005
VOLUME_ROUNDING = 0.5
FEWEST_BARS_OF_A_RATIO = 5


class ParquetBarComparer:
    """Holds what the provider says now against the day files, bar by bar, and tells what storing it would change."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def compare(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[DayComparison, ...]:
        good, bad = pa.table(accepted), pa.table(rejected)
        turned_down = {part.symbol_day: _times(bad.slice(part.offset, part.length)) for part in rejected.slices}
        nothing = np.empty(0, np.int64)
        return tuple(
            self._compare(part, good.slice(part.offset, part.length), turned_down.get(part.symbol_day, nothing))
            for part in accepted.slices
        )

    def _compare(self, part: SymbolDaySlice, newer: pa.Table, rejected: Int64s) -> DayComparison:
        path = self._layout.bars(part.symbol_day)
        try:
            stored = read_bars(path).select(BAR_SCHEMA.names) if path.exists() else BAR_SCHEMA.empty_table()
        except PartitionUnreadableError as error:
            return DayComparison(part.symbol_day, error=f"{error}; run marketpipe ingest, which heals it")
        return compare_bars(
            DayComparison(part.symbol_day), stored, merge_bars(stored, newer, rejected, part.final_window)
        )


def compare_bars(blank: DayComparison, old: pa.Table, new: pa.Table) -> DayComparison:
    """``blank`` filled in. Both tables ascend by time, and no time is in one of them twice."""
    old_times, new_times = _times(old), _times(new)
    kept, still = np.isin(old_times, new_times), np.isin(new_times, old_times)
    before, after = old.filter(pa.array(kept)), new.filter(pa.array(still))
    changed = _changed(before, after)
    counted = evolve(
        blank,
        unchanged=int((~changed).sum()),
        changed=int(changed.sum()),
        added=int((~still).sum()),
        removed=int((~kept).sum()),
    )
    return _measured(counted, before, after) if changed.any() else counted


def _measured(counted: DayComparison, before: pa.Table, after: pa.Table) -> DayComparison:
    moves = [np.abs(_floats(after, name) / _floats(before, name) - 1) for name in PRICES]
    ratio = _constant(_floats(before, "close"), _floats(after, "close"), HALF_A_CENT)
    volumes = _constant(_floats(before, "volume"), _floats(after, "volume"), VOLUME_ROUNDING)
    return evolve(
        counted, largest_move=float(np.max(moves)), price_ratio=ratio, volume_ratio=volumes if ratio else None
    )


def _changed(before: pa.Table, after: pa.Table) -> Bools:
    changed = np.zeros(len(before), np.bool_)
    for name in VALUES:
        differs = pc.fill_null(pc.not_equal(before[name], after[name]), False)
        one_is_null = pc.xor(pc.is_null(before[name]), pc.is_null(after[name]))
        changed |= pc.or_(differs, one_is_null).to_numpy()
    return changed


def _constant(before: Floats, after: Floats, rounding: float) -> float | None:
    """After over before, where it is the same for every bar but for the rounding of both; None where it is not."""
    traded = before > 0
    if traded.sum() < FEWEST_BARS_OF_A_RATIO:
        return None
    ratios = after[traded] / before[traded]
    typical = float(np.median(ratios))
    # both sides may have been rounded: to cents, or to whole units traded
    allowed = SAME_RATIO * typical + rounding * (1 + typical) / before[traded]
    return typical if bool((np.abs(ratios - typical) <= allowed).all()) else None


def _floats(bars: pa.Table, name: str) -> Floats:
    values: Floats = bars[name].to_numpy()
    return values


def _times(bars: pa.Table) -> Int64s:
    times: Int64s = bars["timestamp"].drop_null().cast(pa.int64()).to_numpy()
    return times
