"""The stored versions of a symbol-day: how each is identified, since when it is known, and how bars are merged."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from attrs import Factory, evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError, ValidationError
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, FILE_SCHEMA
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, lexists, read_text
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import MonthPartition, Revision, size_and_time_in
from marketpipe.storage.domain.storage_metadata import identity_in, label_in
from marketpipe.storage.infrastructure.compacted.day_access import DAMAGES, in_folder
from marketpipe.storage.infrastructure.compacted.index_lines import INDEX_LINE, belongs_in_an_index, unaltered
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.parquet_files import (
    Int64s,
    checked_bars,
    file_in,
    sha256,
    stored_content,
    times_of,
    versioned,
)
from marketpipe.storage.infrastructure.store_layout import StoreLayout, names_in, newest_revision, unreadable

OF_THE_FILE: Final = frozenset({*DAMAGES, errno.EINVAL, errno.EISDIR})
"""Errors that are of one file; what is no file is among them."""
HIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EIO})
"""Errors of a file that somebody may be able to read another time."""
BEGINNING: Final = Timestamp.from_epoch_micros(0)
MICROSECOND: Final = timedelta(microseconds=1)


def file_mark(size_bytes: int, modified_ns: int) -> VersionMark:
    """Return the mark of a day file: its size, and its modification time in microseconds since 1970."""
    return f"{size_bytes}-{modified_ns // 1000}"


def have_same_time(mark: VersionMark, other: VersionMark) -> bool:
    return size_and_time_in(mark)[1] == size_and_time_in(other)[1]


def moment_of(modified_ns: int) -> Timestamp:
    """Return a modification time, which is in nanoseconds since 1970, to the microsecond."""
    return Timestamp.from_epoch_micros(modified_ns // 1000)


@frozen
class KnownMoments:
    """Since when the versions of one symbol's days are known, by trading date, then SHA-256, as its index has it.

    ``newest_revision`` returns the moment of a day's newest revision as it is when called; None if it has none.
    """

    _of: Mapping[str, Mapping[str, Timestamp]] = field(repr=False)
    _newest_revision: Callable[[TradingDate], Timestamp | None] = field(repr=False)

    def published(self, date: TradingDate, digest: str) -> Timestamp | None:
        """Return the moment of the last line of a version; None if there is no line: it was never published here."""
        return self._of.get(str(date), {}).get(digest)

    def replaced_outside(self, date: TradingDate, digest: str) -> RecordedVersion | None:
        """Return the newest published version of a day whose file, with this digest, another program has put there.

        None if the file may be a version whose line was lost: a run that publishes one keeps the version before it as a
        revision first, which another program does not. None also of a day without a line. Raises ``StorageError``.
        """
        moments = self._of.get(str(date))
        if not moments or digest in moments:
            return None
        newest = max(moments, key=lambda each: moments[each])
        kept = self._newest_revision(date)
        return (
            None if kept is not None and kept >= moments[newest] else RecordedVersion(NO_MARK, moments[newest], newest)
        )

    def dates_at(self, moment: Timestamp) -> frozenset[str]:
        """Return the dates of which a version was published at or before this moment."""
        return frozenset(date for date, moments in self._of.items() if min(moments.values()) <= moment)

    def published_at(self, moment: Timestamp, date: TradingDate) -> frozenset[str]:
        """Return the digests of the versions that are known since this moment; none if there is no line of it."""
        return frozenset(digest for digest, since in self._of.get(str(date), {}).items() if since == moment)

    def current_dates(self, first: TradingDate, last: TradingDate) -> frozenset[TradingDate]:
        """Return the dates of a month, from its first to its last, whose newest published version is no revision yet:
        the days that were in the store, also if nothing else knows them. Raises ``StorageError``.
        """
        within = (text for text in self._of if str(first) <= text <= str(last))
        newest = {TradingDate.parse(text): max(self._of[text].values()) for text in within}
        revisions = {date: self._newest_revision(date) for date in newest}
        return frozenset(date for date, since in newest.items() if (old := revisions[date]) is None or old < since)

    def since(self, date: TradingDate, modified: Timestamp, digest: Callable[[], str]) -> Timestamp:
        """Return since when the day file with this modification time and ``digest`` is known.

        A file with the newest moment of the index as its time has kept it, and need not be read. (An earlier moment
        proves nothing: a file system with a coarse clock cuts the time of a later version down to it.) A file that the
        index does not know was written by an earlier version of MarketPipe or by another program: its time is all there
        is. Raises ``StorageError``.
        """
        moments = self._of.get(str(date))
        if not moments or modified == max(moments.values()):
            return modified
        moment = moments.get(digest())
        if moment is None:
            return modified
        # The moments of a day ascend. An earlier moment than that of a revision is the one of a former version with
        # the same bytes: the line of this one, which returned, was lost. An equal one is a revision of this version.
        newest = self._newest_revision(date)
        return moment if newest is None or newest <= moment else modified


@frozen
class MonthListings:
    """The folders of months, each listed once and not for each of its days: for one write, whose days are locked."""

    layout: StoreLayout
    _of_bars: dict[MonthPartition, frozenset[str] | None] = Factory(dict)
    _of_revisions: dict[MonthPartition, list[str]] = Factory(dict)

    def has_none(self, day: SymbolDay, name: str) -> bool:
        """Return whether a symbol-day has no day file, which would have this name.

        False also if its folder may not be listed: to open the file shows what is wrong. And if it has a month file.
        """
        month = MonthPartition.of(day)
        if month not in self._of_bars:
            self._of_bars[month] = self._names_in(str(self.layout.month(month)))
        names = self._of_bars[month]
        return names is not None and name not in names

    def _names_in(self, folder: str) -> frozenset[str] | None:
        disk = self.layout.disk
        try:
            found = in_folder(folder, disk.listdir, disk=disk)
            if found is None:  # there is none, or what is in its place is no folder
                return None if lexists(disk, folder) else frozenset()
        except (OSError, StorageError):
            return None
        return None if MONTH_FILE in found else frozenset(found)

    def forget(self, month: MonthPartition) -> None:
        """List the folder of a month again when it is next asked for."""
        self._of_bars.pop(month, None)

    def is_one_file(self, month: MonthPartition) -> bool:
        """Return whether a month that was asked for may have a month file."""
        return self._of_bars.get(month, frozenset()) is None

    def newest_revision(self, day: SymbolDay) -> Timestamp | None:
        """Return what ``StoreLayout.newest_revision`` returned when the month was first asked for."""
        month = MonthPartition.of(day)
        if month not in self._of_revisions:
            self._of_revisions[month] = names_in(self.layout.revisions / month.folder, self.layout.disk)
        return newest_revision(day, self._of_revisions[month]) if self._of_revisions[month] else None


class VersionIndex:
    """The moments since which day files are known, beside the files: a copy of the store without times keeps them.

    One append-only text file per symbol, with one line per published version. A version that returns has several
    lines, of which the last counts: its earlier time is that of a revision. See docs/adr/0018.
    """

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def of(self, symbol: Symbol) -> KnownMoments:
        """Read the lines of one symbol; torn, altered and foreign ones are ignored. Raises ``StorageError``."""

        def newest_revision(date: TradingDate) -> Timestamp | None:
            return self._layout.newest_revision(SymbolDay(symbol, date))

        try:
            text = self._text(symbol)
        except OSError as error:
            raise StorageError(f"cannot read {self._layout.version_index(symbol)}: {error.strerror}") from error
        found = defaultdict[str, dict[str, Timestamp]](dict)
        for date, moment, digest in INDEX_LINE.findall(unaltered(text)):
            with suppress(ValidationError):  # no moment of the calendar
                found[date][digest] = Timestamp.parse(moment)
        return KnownMoments(found, newest_revision)

    def problem(self, symbol: Symbol) -> str | None:
        """Return what is wrong with the index of one symbol, as the end of a sentence that begins with its path.

        None if nothing is, or if it has no index. A torn line is no problem: the next append begins a new one.
        """
        try:
            lines = self._text(symbol).split("\n")
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        count = sum(not belongs_in_an_index(line) for line in lines)
        return f"has {count:,} lines that are not of a version index" if count else None

    def _text(self, symbol: Symbol) -> str:
        """Return what an index contains, '' if it does not exist. Raises ``OSError``."""
        try:
            return read_text(self._layout.disk, self._layout.version_index(symbol), "ascii", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""


@frozen
class StoredVersion:
    """A day file as it was found. ``bars`` has the columns of a file.

    If the file is not what belongs there, ``damage`` is the reason, and ``bars`` are none of the day, if there are any.
    ``is_hidden``: its bytes cannot be read, and may be whole. ``former_since``: it is a former version that somebody
    put back, known since then.
    """

    mark: VersionMark
    modified: Timestamp
    content: bytes = field(repr=False)
    bars: pa.Table = field(factory=FILE_SCHEMA.empty_table, repr=False)
    damage: str | None = None
    is_hidden: bool = False
    former_since: Timestamp | None = None

    @property
    def digest(self) -> str:
        return sha256(self.content)


def _content_of(path: Path, disk: Disk) -> tuple[bytes, int] | None:
    """Return what ``stored_content`` does. An error that does not come again is none: the file would be replaced."""
    with suppress(OSError):
        return stored_content(path, disk)
    return stored_content(path, disk)


def find_stored(path: Path, expected: Callable[[], Mapping[str, str]], disk: Disk = REAL_DISK) -> StoredVersion | None:
    """Read a day file; None if there is none. A file whose metadata is not as ``expected`` is damaged.

    Raises ``StorageError`` if the system is at fault, as with too many open files: the file may be whole.
    """
    try:
        found = _content_of(path, disk)
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise unreadable(path, error) from error
        damage, is_hidden = f"{path} cannot be read: {error.strerror}", error.errno in HIDDEN
        return StoredVersion(NO_MARK, BEGINNING, b"", damage=damage, is_hidden=is_hidden)
    if found is None:
        return None
    content, modified_ns = found
    stored = StoredVersion(file_mark(len(content), modified_ns), moment_of(modified_ns), content)
    try:
        rows, metadata = file_in(content, str(path), columns=True)
        bars, actual, wanted = checked_bars(rows, path), _description(metadata), _description(expected())
        if actual != wanted:
            raise PartitionUnreadableError(f"the metadata of {path} names {actual}, its path {wanted}")
        return evolve(stored, bars=versioned(bars.select(BAR_SCHEMA.names)))
    except PartitionUnreadableError as error:
        return evolve(stored, damage=str(error))


def _description(metadata: Mapping[str, str]) -> str:
    return f"{label_in(metadata)} of {identity_in(metadata)}"


@frozen
class NewVersion:
    """The bytes of a symbol-day from now on, with all that decides since when they are known.

    ``stored`` is the file that exists now, ``recorded`` what the state has of the day, ``moments`` what the symbol's
    index has; it is read only if the state does not know the stored file.
    """

    symbol_day: SymbolDay
    path: Path
    months: MonthListings = field(repr=False)
    content: bytes = field(repr=False)
    digest: str
    now: Timestamp
    stored: StoredVersion | None
    recorded: RecordedVersion | None
    moments: Callable[[Symbol], KnownMoments] = field(repr=False)

    @property
    def is_stored(self) -> bool:
        """Whether the file is exactly what it should be, in bytes and time.

        If only its time differs from the record, as in a tree copied without times, it is published again.
        """
        if self.stored is None or self.stored.content != self.content:
            return False
        return self.recorded is None or not self.is_recorded or self.recorded.mark in (NO_MARK, self.stored.mark)

    @property
    def is_recorded(self) -> bool:
        """Whether the state has these very bytes: of a file that did not change, or that is healed."""
        return self.recorded is not None and self.recorded.sha256 == self.digest

    @property
    def heals_rot(self) -> bool:
        """Whether it takes the place of other bytes with the recorded ones, and gets the recorded time."""
        return self.is_recorded and self.stored is not None and self.stored.content != self.content

    @cached_property
    def known_since(self) -> Timestamp:
        """The moments of a symbol-day ascend, also if the clock stands still or is set back."""
        if self.stored is not None and self.stored.content == self.content:
            return self._stored_since(self.stored)
        is_healed = self.revision is None or (self.stored is not None and self.stored.damage is not None)
        if is_healed and self.is_recorded and (since := self._recorded_since) is not None:
            return since  # of a lost or damaged file
        former = None if self.revision is None else self.revision.known_since
        recorded = None if self.recorded is None else self.recorded.known_since
        earlier = former, recorded, self._newest_revision
        return max([self.now, *(moment.plus(MICROSECOND) for moment in earlier if moment is not None)])

    @cached_property
    def revision(self) -> Revision | None:
        """What the stored file becomes: a version that readers could see; None for a damaged file.

        A former version that somebody put back is one of its own moment, if there is no revision of then or later.
        """
        stored = self.stored
        if stored is None or stored.content == self.content:
            return None
        if stored.former_since is not None:
            newest = self._newest_revision
            is_kept = newest is not None and newest >= stored.former_since
            return None if is_kept else Revision(self.symbol_day, stored.former_since)
        return None if stored.damage else Revision(self.symbol_day, self._stored_since(stored))

    @property
    def taken_times(self) -> frozenset[int]:
        """The modification times that the new file must not get, in microseconds since 1970.

        On a file system with a coarse clock it could otherwise have the mark of the version before.
        """
        taken = set[int | None]()
        if self.recorded is not None and not self.is_recorded:
            taken.add(size_and_time_in(self.recorded.mark)[1])
        if self.stored is not None and not self.stored.damage and self.stored.content != self.content:
            taken.add(self.stored.modified.epoch_micros)
        return frozenset(time for time in taken if time is not None)

    @property
    def _recorded_since(self) -> Timestamp | None:
        """The moment on record; None if it is of a former version with the same bytes.

        A run was then killed after it had published a version, which is a revision now, and before it recorded it.
        """
        since, newest = self.recorded.known_since if self.recorded is not None else None, self._newest_revision
        return None if since is None or (newest is not None and newest > since) else since

    @cached_property
    def _newest_revision(self) -> Timestamp | None:
        return self.months.newest_revision(self.symbol_day)

    def _stored_since(self, stored: StoredVersion) -> Timestamp:
        day, recorded, newest = self.symbol_day, self.recorded, self._newest_revision
        if recorded is not None and recorded.sha256 == stored.digest and (on_record := self._recorded_since):
            return on_record
        since = self.moments(day.symbol).since(day.trading_date, stored.modified, lambda: stored.digest)
        if newest is None or since > newest or (since == newest and not self._is_taken(newest, stored)):
            return since
        return newest.plus(MICROSECOND)

    def _is_taken(self, moment: Timestamp, stored: StoredVersion) -> bool:
        """Whether the revision of this moment is another version; one that a crash left is this one, or damaged."""
        revision = self.months.layout.revision(Revision(self.symbol_day, moment))
        found = find_stored(revision, dict, self.months.layout.disk)
        return found is not None and found.content != stored.content and not is_unreadable(found.content, revision)


def was_published(
    stored: StoredVersion,
    recorded: RecordedVersion,
    published: Timestamp | None,
    newest_revision: Callable[[], Timestamp | None],
    now: Timestamp,
) -> bool:
    """Return whether a run has put the stored file there, which is not the recorded version: its record may be lost.

    The index has it since a later moment than the recorded one. Or the line was lost too: then the recorded version is
    a revision, which a run keeps before it publishes, and the time of the file is between that moment and now. All
    other files are those of another program, whatever their times are: nobody may take them for bars of the provider.
    """
    since = recorded.known_since
    if since is None:  # a state of an early version: nothing can be told
        return stored.modified <= now
    if published is not None and published > since:
        return True
    if have_same_time(stored.mark, recorded.mark) or not since < stored.modified <= now:
        return False
    kept = newest_revision()
    return kept is not None and kept >= since


def is_unreadable(content: bytes, path: Path) -> bool:
    try:
        file_in(content, str(path), columns=True)
    except PartitionUnreadableError:
        return True
    return False


def merge_bars(stored: pa.Table, newer: pa.Table, rejected: Int64s, final: TimeWindow | None) -> pa.Table:
    """Return the bars of a symbol-day after a new answer of the provider, ascending by time.

    Per timestamp the newer bar wins. A stored bar that is missing in the answer stays, unless it is in the window for
    which the answer is ``final``. A bar whose newer version was rejected (``rejected``: their times) stays as it was.
    """
    times, known = times_of(stored), times_of(newer)
    keep = ~np.isin(times, known)
    if final is not None and len(known):
        withdrawn = (times >= final.start.epoch_micros) & (times < final.end.epoch_micros) & ~np.isin(times, rejected)
        keep &= ~withdrawn
    return in_order(pa.concat_tables([stored.filter(pa.array(keep)), newer]))


def in_order(bars: pa.Table) -> pa.Table:
    times = times_of(bars)
    (rises,) = are_in_order(times, [len(times)])
    return bars if rises else bars.take(pa.array(np.argsort(times, kind="stable")))


def are_in_order(times: Int64s, lengths: Sequence[int]) -> list[bool]:
    """Return for each of many days whether its times ascend; the days are contiguous, ``lengths`` of times each."""
    falls = np.zeros(len(times) + 1, np.int64)
    np.cumsum(times[1:] <= times[:-1], out=falls[2:])
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - np.asarray(lengths, np.int64)
    rises: list[bool] = (falls[ends] == falls[np.minimum(starts + 1, ends)]).tolist()
    return rises
