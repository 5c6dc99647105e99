"""Storing bars: merge what the provider returned into the day files, keep former versions, quarantine rejected bars."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from attrs import define, evolve, field

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion, VersionRegister
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, dates_by_symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.storage.domain.data_partition import MonthPartition, Revision
from marketpipe.storage.domain.integrity import MOVE_AWAY
from marketpipe.storage.domain.storage_metadata import StorageMetadata, identity_in
from marketpipe.storage.infrastructure.aggregates.doubted_files import doubt_files_of
from marketpipe.storage.infrastructure.compacted.index_lines import first_index_lines, index_lines
from marketpipe.storage.infrastructure.day_versions import (
    KnownMoments,
    MonthListings,
    NewVersion,
    StoredVersion,
    VersionIndex,
    file_mark,
    find_stored,
    merge_bars,
    was_published,
)
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.parquet_files import (
    ParquetWriter,
    read_metadata,
    sha256,
    times_of,
    versioned,
)
from marketpipe.storage.infrastructure.publishing.arrived_days import (
    Arrived,
    ArrivedDays,
    DayBars,
    covers_regular_hours,
    rejected_after,
)
from marketpipe.storage.infrastructure.publishing.durable_files import NOT_ALLOWED
from marketpipe.storage.infrastructure.publishing.month_contents import ReplacedFiles
from marketpipe.storage.infrastructure.publishing.published_files import FileGroup, PublishedFiles
from marketpipe.storage.infrastructure.publishing.symbol_day_locks import SymbolDayLocks
from marketpipe.storage.infrastructure.store_layout import StoreLayout

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.publishing.month_folders import MonthFolders

logger = logging.getLogger("marketpipe.storage")

FileToAdd = tuple[Path, bytes, int | None, Collection[int]]


class PartitionManager:
    """Stores one file per symbol and trading date, its former versions as revisions, and the quarantine of rejects."""

    def __init__(
        self,
        layout: StoreLayout,
        identity: DatasetIdentity,
        writer: ParquetWriter,
        files: PublishedFiles,
        clock: Clock,
        register: VersionRegister,
        calculator: FigureCalculator,
        months: Callable[[], MonthFolders],
        stored: StoredIdentity | None = None,
    ) -> None:
        """``register`` has what was recorded of the stored files. ``months`` is called for a month that is one file."""
        self._days, self._months = ArrivedDays(calculator, layout.bars), months
        self._layout, self._identity, self._writer, self._files = layout, identity, writer, files
        self._clock, self._register, self._index = clock, register, VersionIndex(layout)
        self._locks, self._refused = SymbolDayLocks(layout.machine.threads), dict[str, OSError]()
        self._replaced, self._identity_checked = ReplacedFiles(layout, files), False
        self._stored_identity = stored or StoredIdentity(layout)

    def store(self, accepted: ColumnarBars, rejected: ColumnarBars) -> tuple[StoredSymbolDay, ...]:
        """See ``BarStore.store``. All days are published together, which takes the fewest syncs.

        What fails together is stored day by day, so that a day that cannot be stored blocks no other. A bucket that
        does not answer ends it at once: each day would wait for it again.
        """
        with self._locks.locked(part.symbol_day for part in accepted.slices):
            self._check_identity()
            arrived = self._days.of(accepted, rejected)
            stored, errors, attempts = dict[SymbolDay, StoredSymbolDay](), dict[SymbolDay, StorageError](), [arrived]
            for items in attempts:
                try:
                    with self._files.group() as group:
                        write = self._begun(item.day for item in items)
                        for file in self._new_files(items, write):
                            group.add(*file)  # written while the next is being encoded
                        self._keep_versions(write, group)
                        group.publish()
                    stored.update(self._finish(write, group))
                except StorageError as error:
                    errors.update({item.day: error for item in items})
                    attempts += [[item] for item in items if len(items) > 1]
            return _results(arrived, stored, errors)

    def withdraw(self, days: Collection[SymbolDay]) -> None:
        """See ``BarStore.withdraw``. What is removed stays as a revision, and a revision without bars follows it."""
        with self._locks.locked(days):
            self._check_identity()
            write = self._begun(days)
            versions = [found for day in sorted(days) if (found := self._without_bars(day, write)).stored is not None]
            former = {version.path: revision for version in versions if (revision := version.revision)}
            for version in versions:
                self._expand_month(version.symbol_day, write)
            self._keep_hidden(versions)
            with self._files.collected():
                self._files.keep({path: self._layout.revision(revision) for path, revision in former.items()})
                with self._files.group() as group:
                    for version in versions:
                        since = Revision(version.symbol_day, version.known_since)
                        modified_ns = version.known_since.epoch_micros * 1000
                        group.add(self._layout.revision(since), version.content, modified_ns)
                for version in versions:
                    self._files.remove(version.path)
            self._files.confirm([version.path for version in versions])

    def _without_bars(self, day: SymbolDay, write: _Write) -> NewVersion:
        content = self._writer.encode(versioned(BAR_SCHEMA.empty_table()), self._metadata(day))
        moments, path = write.moments, self._layout.bars(day)
        stored, recorded = self._find_stored(day, path, write, moments)
        return NewVersion(day, path, write.months, content, sha256(content), write.now, stored, recorded, moments)

    def _new_files(self, items: Sequence[Arrived], write: _Write) -> Iterator[FileToAdd]:
        """Yield the files to write, as ``FileGroup.add`` takes them; note the rest in ``write``."""
        quarantined = self._layout.rejected_files([item.day for item in items])
        for item in items:
            version = self._new_version(item, write)
            if version is not None and version.is_stored:
                write.unchanged.append(version)
            elif version is not None:
                self._expand_month(version.symbol_day, write)
                write.changed.append(version)
                modified_ns = version.known_since.epoch_micros * 1000
                yield version.path, version.content, modified_ns, version.taken_times
        for item in items:
            old = self._own(quarantined.get(item.day))
            rows = rejected_after(item, old, self._layout.disk)
            if rows is not None:
                content = self._writer.encode(rows, self._metadata(item.day))
                yield self._layout.rejected(item.day), content, None, ()
            elif old is not None:
                write.emptied_quarantines.append(old)

    def _expand_month(self, day: SymbolDay, write: _Write, *, only_if_mixed: bool = False) -> None:
        """Make day files of a month that is one file: before the first is written, or before a mixed month is read."""
        month = MonthPartition.of(day)
        if not write.months.is_one_file(month) or (only_if_mixed and month in write.examined):
            return
        recorded = self._register.versions(month.symbol, month.first, month.last)
        if not only_if_mixed or self._months().is_mixed(month, recorded):
            self._months().expand(month, recorded)
            write.months.forget(month)
        write.examined.add(month)

    def _own(self, quarantined: Path | None) -> Path | None:
        """Return the file. Raises ``StorageError`` for another dataset's, which must not be replaced."""
        if quarantined is not None:
            with suppress(PartitionUnreadableError):  # damaged: it is replaced
                found = identity_in(read_metadata(quarantined, self._layout.disk))
                if found not in (None, self._identity):
                    raise StorageError(f"{quarantined} is of {found}; this store is of {self._identity}: move it away")
        return quarantined

    def _new_version(self, item: Arrived, write: _Write) -> NewVersion | None:
        """Merge the bars with those that are stored; None if no bars are to be stored."""
        part, day, moments = item.part, item.day, write.moments
        stored, recorded = self._find_stored(day, item.path, write, moments)
        rejected = 0 if item.rejected is None else len(item.rejected)
        result = partial(StoredSymbolDay, day, rejected=rejected, final=part.final_window is not None)
        if stored and stored.damage and not (len(item.accepted) and covers_regular_hours(part)):
            write.results[day] = partial(result, rows=0, error=_with_advice(stored.damage))
            return None
        bars = self._merged(stored, item)
        if not len(bars):
            write.results[day] = partial(result, rows=0)
            return None
        content = self._content(day, bars.table, stored, recorded)
        digest, (first, last) = sha256(content), (Timestamp.from_epoch_micros(int(bars.times[row])) for row in (0, -1))
        about = partial(result, rows=len(bars), first=first, last=last, size_bytes=len(content), sha256=digest)
        write.results[day] = partial(about, minutes=bars.minutes, figures=bars.figures)
        return NewVersion(day, item.path, write.months, content, digest, write.now, stored, recorded, moments)

    def _content(
        self, day: SymbolDay, bars: pa.Table, stored: StoredVersion | None, recorded: RecordedVersion | None
    ) -> bytes:
        """Return the bytes of a day file. Those that an earlier version of MarketPipe wrote of the same bars stay.

        Otherwise a small day would have a new version each time it is requested again in a store of that version, and
        a lost file would not come back with the digest that is recorded and locked.
        """
        metadata = self._metadata(day)
        content = self._writer.encode_day(bars, metadata)
        unlike = stored is not None and stored.content != content
        if (unlike or recorded is not None) and self._writer.has_two_forms(bars):
            former = self._writer.encode(bars, metadata)
            if (stored and stored.content == former) or (recorded and recorded.sha256 == sha256(former)):
                return former
        return content

    def _keep_versions(self, write: _Write, group: FileGroup) -> None:
        """Keep what is about to be replaced, and the moments of the new versions, before the first file is replaced.

        A crash may then leave a revision that equals the file, and index lines of versions that were never published:
        neither is ever asked for. The other way round it could lose a version.
        """
        former = {version.path: revision for version in write.changed if (revision := version.revision)}
        self._keep_hidden(write.changed)
        self._files.keep({path: self._layout.revision(revision) for path, revision in former.items()})
        lines = dict[Symbol, list[NewVersion]]()
        for version in self._not_indexed(write):
            lines.setdefault(version.symbol_day.symbol, []).append(version)
        self._doubt_made_of_rot(write)
        for symbol, versions in lines.items():
            known = ((each.symbol_day.trading_date, each.known_since, each.digest) for each in versions)
            self._append_lines(symbol, index_lines(known), group)

    def _keep_hidden(self, versions: Iterable[NewVersion]) -> None:
        """Of a file that cannot be read nobody knows which version it is, but it may be whole: it stays at hand."""
        for version in versions:
            if version.stored is not None and version.stored.is_hidden:
                kept_at = self._replaced.keep(MonthPartition.of(version.symbol_day), version.path)
                logger.warning("%s. It is %s now, for you to look at or to remove", version.stored.damage, kept_at)

    def _doubt_made_of_rot(self, write: _Write) -> None:
        """What was made of the rotted bytes has the fingerprint of the healed ones.

        To be called before the healed files take their places, for a crash, and after it, for an aggregation beside.
        """
        doubt_files_of(self._layout, (MonthPartition.of(each.symbol_day) for each in write.changed if each.heals_rot))

    def _append_lines(self, symbol: Symbol, lines: bytes, group: FileGroup) -> None:
        """Bars are stored also if the index may not be written: the state and the files have the moments too."""
        path = self._layout.version_index(symbol)
        try:
            group.append(path, lines, partial(self._first_lines, symbol))
        except OSError as error:
            if error.errno not in NOT_ALLOWED:
                raise
            refused = str(error.filename or path)
            if self._refused.setdefault(os.path.dirname(refused), error) is error:  # threads store at the same time
                logger.warning(
                    "cannot write %s: %s. The bars are stored, but a copy of the store without file times and state "
                    "will not know since when; allow writing there, and the next bars of a symbol complete it",
                    refused,
                    error.strerror,
                )

    def _not_indexed(self, write: _Write) -> list[NewVersion]:
        """Return the new versions, and former ones whose lines a power failure took: lines are not synced."""
        moments, new = write.moments, [each for each in write.changed if not each.is_recorded]
        former = [*write.unchanged, *(each for each in write.changed if each.is_recorded)]
        days = ((each, each.symbol_day) for each in former)
        lost = (v for v, day in days if moments(day.symbol).published(day.trading_date, v.digest) != v.known_since)
        return [*new, *lost]

    def _first_lines(self, symbol: Symbol) -> bytes:
        return first_index_lines(self._register.versions(symbol, DISTANT_PAST, DISTANT_FUTURE))

    def _finish(self, write: _Write, group: FileGroup) -> dict[SymbolDay, StoredSymbolDay]:
        """Do what must wait until all files are durable, and return the results with moments and marks."""
        self._doubt_made_of_rot(write)
        # The process that renamed an unchanged file may have died before it synced the folder.
        self._files.confirm([version.path for version in write.unchanged])
        with self._files.collected():
            for path in write.emptied_quarantines:
                self._files.remove(path)
        marks = {each.symbol_day: each.stored.mark for each in write.unchanged if each.stored is not None}
        for each in write.changed:
            marks[each.symbol_day] = file_mark(len(each.content), group.modified_ns[each.path])
        since = {each.symbol_day: each.known_since for each in [*write.changed, *write.unchanged]}
        return {day: result(known_since=since.get(day), mark=marks.get(day)) for day, result in write.results.items()}

    def _merged(self, stored: StoredVersion | None, item: Arrived) -> DayBars:
        """Return the bars of the day from now on. The new ones replace what can no longer be read."""
        newer = item.accepted
        if stored is None or stored.damage:
            return newer
        rejected = np.empty(0, np.int64) if item.rejected is None else times_of(item.rejected)
        return self._days.day_bars(item.day, merge_bars(stored.bars, newer.table, rejected, item.part.final_window))

    def _check_identity(self) -> None:
        """Check once: from then on every file of the store is this manager's own, or was found to agree."""
        if not self._identity_checked:
            self._stored_identity.check(self._identity)
            self._identity_checked = True

    def _begun(self, days: Iterable[SymbolDay]) -> _Write:
        return _Write(self._recorded(days), MonthListings(self._layout), self._clock.now(), cache(self._index.of))

    def _recorded(self, days: Iterable[SymbolDay]) -> dict[SymbolDay, RecordedVersion]:
        """Query by symbol: one query for each, and not one for each day."""
        found: dict[SymbolDay, RecordedVersion] = {}
        for symbol, some in dates_by_symbol(days).items():
            files = self._register.versions(symbol, min(some), max(some))
            found |= {SymbolDay(symbol, date): file for date, file in files.items()}
        return found

    def _find_stored(
        self, day: SymbolDay, path: Path, write: _Write, moments: Callable[[Symbol], KnownMoments]
    ) -> tuple[StoredVersion | None, RecordedVersion | None]:
        """Return the stored file, and what is on record of the day; without a record, what the index has of a file
        that another program has put there.

        Such a file, and one that has rotted, is damaged: no version of the day, and nothing to merge with. A newer file
        than its record is what a run has published and could not record any more.
        """
        recorded = write.recorded.get(day)
        if write.months.has_none(day, path.name):
            return None, recorded
        self._expand_month(day, write, only_if_mixed=True)
        stored = find_stored(path, lambda: self._metadata(day), self._layout.disk)
        if stored is None or (recorded is not None and (stored.damage or stored.digest == recorded.sha256)):
            return stored, recorded
        known, damage = moments(day.symbol), stored.damage or f"{path} has changed bytes"
        if recorded is None:
            recorded = known.replaced_outside(day.trading_date, stored.digest)
            return (stored if recorded is None else evolve(stored, damage=damage)), recorded
        published = known.published(day.trading_date, stored.digest)
        if was_published(stored, recorded, published, lambda: write.months.newest_revision(day), write.now):
            return stored, recorded
        return evolve(stored, damage=damage, former_since=published), recorded

    def _metadata(self, day: SymbolDay) -> Mapping[str, str]:
        date = str(day.trading_date)
        return StorageMetadata(self._identity, day.symbol, date, Timeframe.MINUTE_1, SCHEMA_VERSION).as_mapping()


def _with_advice(damage: str) -> str:
    return damage if damage.endswith(MOVE_AWAY) else f"{damage}; move it away"


@define
class _Write:
    """Symbol-days that are published together. ``emptied_quarantines``: quarantine files that have no rows now.

    ``results`` make what is returned of each day, of the arguments ``known_since`` and ``mark``. ``examined``: months
    that are one file and not mixed. ``moments`` reads the index of a symbol once, and only if it is needed; it does not
    refer to this write, or the bytes of all days would stay in memory until Python searches for cycles.
    """

    recorded: Mapping[SymbolDay, RecordedVersion]
    months: MonthListings
    now: Timestamp
    moments: Callable[[Symbol], KnownMoments]
    changed: list[NewVersion] = field(factory=list)
    unchanged: list[NewVersion] = field(factory=list)
    emptied_quarantines: list[Path] = field(factory=list)
    results: dict[SymbolDay, Callable[..., StoredSymbolDay]] = field(factory=dict)
    examined: set[MonthPartition] = field(factory=set)


def _results(
    arrived: Sequence[Arrived], stored: Mapping[SymbolDay, StoredSymbolDay], errors: Mapping[SymbolDay, StorageError]
) -> tuple[StoredSymbolDay, ...]:
    """Raises ``StorageError`` if no day could be stored."""
    if errors and not stored:
        raise next(iter(errors.values()))
    return tuple(
        stored.get(day) or StoredSymbolDay(day, 0, 0, final=False, error=str(errors[day]))
        for day in (item.day for item in arrived)
    )
