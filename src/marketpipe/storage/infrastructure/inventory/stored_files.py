"""The files of a store read to their last byte: for ``verify``, ``freeze``, ``recover`` and for adopting orphans.

Each file is opened once, so that its bytes, its time and its rows are those of one version.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError, ValidationError
from marketpipe.shared_kernel.domain.store_inventory import (
    NO_MARK,
    DatasetIdentity,
    RecordedVersion,
)
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, exists, is_link
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers, trading_date
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.integrity import (
    CheckedFile,
    Damage,
    IntegrityProblem,
    StoreArea,
    problem_of,
    repair_of,
)
from marketpipe.storage.domain.storage_metadata import closing_auction_in, days_in, identity_in, label_in, sources_in
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import INVALID, AggregateFile
from marketpipe.storage.infrastructure.aggregates.doubted_files import doubt
from marketpipe.storage.infrastructure.aggregates.read_copies import ReadCopy
from marketpipe.storage.infrastructure.aggregates.year_freshness import YearFreshness
from marketpipe.storage.infrastructure.compacted.both_forms import DIFFERS, EQUAL, NEITHER_RECORDED, days_twice
from marketpipe.storage.infrastructure.compacted.day_access import month_problem
from marketpipe.storage.infrastructure.compacted.month_file import MonthFileDamaged
from marketpipe.storage.infrastructure.day_versions import (
    BEGINNING,
    KnownMoments,
    VersionIndex,
    file_mark,
    moment_of,
)
from marketpipe.storage.infrastructure.inventory.store_walk import FoundFile, MonthFile, StoreWalk
from marketpipe.storage.infrastructure.official.official_history import history_in
from marketpipe.storage.infrastructure.parquet_files import (
    checked_bars,
    content_of,
    file_in,
    sha256,
    stored_content,
    times_of,
    traded_minutes,
)
from marketpipe.storage.infrastructure.publishing.day_joining import problem_of as problem_of_month
from marketpipe.storage.infrastructure.publishing.left_folders import remove_left_folder
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
from marketpipe.storage.infrastructure.publishing.temporary_files import is_left_behind
from marketpipe.storage.infrastructure.store_layout import (
    VERSION_INDEX,
    StoreLayout,
    date_of,
    is_folder,
    translating,
)

LOST: Final = frozenset({errno.EIO, errno.ENXIO})
"""Errors of a file that has a name, a size and a time, and whose bytes cannot be read: a broken disk, a lost object."""
FILES_AT_A_TIME: Final = 512
"""So many files are handed to the reading threads at once; their rows are in memory together."""

OF_ANOTHER_PROGRAM: Final = "was changed by another program: its bytes are not those that were stored"


class ParquetStoredFiles:
    """Reads the files of a store to the last byte, on the threads of an executor."""

    def __init__(self, layout: StoreLayout, new_executor: Callable[[], Executor], calculator: FigureCalculator) -> None:
        self._layout, self._walk, self._new_executor = layout, StoreWalk(layout), new_executor
        self._machine, self._disk = layout.machine, layout.disk
        self._index = VersionIndex(layout)
        self._calculator = calculator
        self._walked: tuple[Symbol, list[FoundFile | str]] | None = None

    def symbols(self) -> frozenset[Symbol]:
        return self._walk.symbols()

    def strays(self) -> Sequence[str]:
        return self._walk.strays()

    def strays_of(self, symbol: Symbol) -> Sequence[str]:
        return [found for found in self._of(symbol) if isinstance(found, str)]

    def month_problems(
        self,
        symbol: Symbol,
        first: TradingDate,
        last: TradingDate,
        recorded: Mapping[TradingDate, RecordedVersion],
        identity: DatasetIdentity | None,
    ) -> Sequence[IntegrityProblem]:
        found, digests = list[IntegrityProblem](), {version.sha256 for version in recorded.values()}
        for file in self._walk.month_files(symbol):
            if file.month.last < first or last < file.month.first:
                continue
            found += self._month_problem(file, identity)
            found += [
                IntegrityProblem(f"{file.path.rpartition('/')[0]}/{name}", *_twice(both, digests))
                for name, both in self._days_twice(file.path).items()
                if str(first) <= f"{file.month}-{name[4:6]}" <= str(last)
            ]
        return found

    def _month_problem(self, file: MonthFile, identity: DatasetIdentity | None) -> Iterator[IntegrityProblem]:
        """Yield at most one: a month file whose days are not known is one problem, and not one for each day."""
        problem, content = self._unreadable(file), None
        if problem is None:
            try:
                content = content_of(self._walk.on_disk(file.path), self._disk)
            except PartitionUnreadableError as error:  # its days are known all the same, as those of a lost object
                problem = f"cannot be read: {getattr(error.__cause__, 'strerror', None) or error}"
        if problem is not None:
            reason = f"{problem}. {repair_of(file.month, identity)}"
            yield IntegrityProblem(file.path, Damage.UNREADABLE, reason)
        elif content is not None and (problem := problem_of_month(file.month, content.to_pybytes())):
            yield IntegrityProblem(file.path, Damage.ALTERED, problem)

    def _unreadable(self, file: MonthFile) -> str | None:
        place = self._walk.on_disk(file.path)
        with translating(place):
            return month_problem(os.path.dirname(place), self._disk)

    def _days_twice(self, month_file: str) -> Mapping[str, tuple[str, str]]:
        with suppress(MonthFileDamaged, OSError):  # which is a problem of its own
            return days_twice(Path(self._walk.on_disk(month_file)).parent, self._disk)
        return {}

    def _differing_dates(self, symbol: Symbol) -> frozenset[TradingDate]:
        return frozenset(
            TradingDate(day)
            for file in self._walk.month_files(symbol)
            for name, (of_file, in_month) in self._days_twice(file.path).items()
            if of_file != in_month and (day := date_of(file.month.year, file.month.month, name)) is not None
        )

    def index_problem(self, symbol: Symbol) -> IntegrityProblem | None:
        reason, path = self._index.problem(symbol), f"{StoreArea.REVISIONS}/symbol={symbol}/{VERSION_INDEX}"
        if reason is None:
            return None
        advice = f"move it away: the next ingestion that stores bars of {symbol} writes a new one from the state"
        return IntegrityProblem(path, Damage.UNREADABLE, f"{reason}; {advice}")

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
        return (file for file, _ in self._readings(wanted, proven))

    def read_again(self, day: SymbolDay) -> CheckedFile | None:
        found = read_whole(self._walk.day_file(day), disk=self._disk)
        return found and found[0]

    def folders_of(self, symbol: Symbol, areas: Iterable[StoreArea]) -> Sequence[str]:
        return self._walk.folders_of(symbol, areas)

    def read_path(self, path: str) -> CheckedFile | None:
        place = self._walk.named(path)
        found = None if place is None else read_whole(place, disk=self._disk)
        return found and found[0]

    def remove_leftover(self, path: str) -> None:
        if is_left_behind(path.rpartition("/")[2], self._walk.root_of(path), self._machine):
            place = self._walk.on_disk(path)
            with suppress(OSError):  # a read-only store, or removed by another
                if is_folder(place, self._disk):
                    remove_left_folder(Path(place), self._walk.root_of(StoreArea.DATA), self._disk)
                else:
                    self._disk.unlink(place)

    def exists(self, path: str) -> bool:
        with suppress(OSError):
            return exists(self._disk, self._walk.on_disk(path))
        return False

    def dates_of(self, path: str) -> tuple[TradingDate, TradingDate] | None:
        place = self._walk.named(path)
        return None if place is None else (place.first, place.last)

    def published_digests(self, file: CheckedFile) -> frozenset[str]:
        if file.area is not StoreArea.REVISIONS or file.trading_date is None:
            return frozenset()
        month = MonthPartition.of(SymbolDay(file.symbol, file.trading_date))
        revision = month.revision(file.path.rpartition("/")[2])
        with suppress(StorageError):  # the index cannot be read, which is a problem of its own
            known = self._index.of(file.symbol)
            return known.published_at(revision.known_since, file.trading_date) if revision else frozenset()
        return frozenset()

    def invalidate(self, file: CheckedFile) -> None:
        with suppress(OSError):  # a read-only store
            self._disk.utime(self._walk.on_disk(file.path), ns=(INVALID, INVALID))

    def doubt(self, file: CheckedFile) -> None:
        doubt(self._walk.on_disk(file.path), self._disk)

    def is_fresh(self, file: CheckedFile) -> bool:
        place = self._walk.named(file.path)
        if place is None:
            return False
        wanted = (each for each in self._layout.months(file.symbol) if each.last >= place.first)
        months = tuple(month for month in wanted if month.first <= place.last)
        auction = next(filter(None, map(closing_auction_in, file.sources.values())), None)
        minutes = YearFreshness(self._layout, months, (), auction)
        try:
            fingerprint = (
                minutes.fingerprint(AggregateFile(place.timeframe, place.on_disk, months)) if months else INVALID
            )
        except PartitionUnreadableError:  # of what is in the place of a day file, which is a problem of its own
            return False
        return file.mark == file_mark(file.size_bytes, fingerprint)

    def stored_days(
        self, symbol: Symbol, identity: DatasetIdentity, dates: Collection[TradingDate] | None = None
    ) -> Iterator[StoredSymbolDay]:
        moments = self._index.of(symbol)
        quarantined, stored = (
            self._readings(found for found in self._in(area, symbol) if dates is None or found.first in dates)
            for area in (StoreArea.QUARANTINE, StoreArea.DATA)
        )
        rejected = {file.trading_date: len(rows) for file, rows in quarantined if rows is not None and not file.problem}
        found_dates, differing = set[TradingDate](), self._differing_dates(symbol)
        for file, rows in stored:
            if day := file.symbol_day:
                found_dates.add(day.trading_date)
                found = _stored_day(day, file, rows, identity, rejected.pop(day.trading_date, 0), moments)
                if day.trading_date in differing:
                    found = StoredSymbolDay(day, 0, found.rejected, False, error=NEITHER_RECORDED)
                yield found if rows is None or found.error else self._with_figures(found, rows)
        yield from self._unreadable_months(symbol, identity, found_dates) if dates is None else ()
        # Days of which every bar was rejected. A symbol that has rejected bars alone was dropped, as far as files tell.
        for quarantined_on, count in rejected.items() if found_dates else ():
            if quarantined_on is not None:
                yield StoredSymbolDay(SymbolDay(symbol, quarantined_on), 0, count, final=True)

    def _unreadable_months(
        self, symbol: Symbol, identity: DatasetIdentity, found_dates: Collection[TradingDate]
    ) -> Iterator[StoredSymbolDay]:
        """Yield an entry for each day that was published in a month whose file is damaged, and was not found.

        If none is known to have been, one for the first date of the month.
        """
        for file in self._walk.month_files(symbol):
            if (problem := self._unreadable(file)) is not None:
                known = self._index.of(symbol).current_dates(file.month.first, file.month.last)
                reason = f"{file.path} {problem}. {repair_of(file.month, identity)}"
                for date in sorted(known.difference(found_dates)) or [file.month.first]:
                    yield StoredSymbolDay(SymbolDay(symbol, date), 0, 0, False, error=reason)

    def _with_figures(self, day: StoredSymbolDay, rows: pa.Table) -> StoredSymbolDay:
        return evolve(day, figures=self._calculator.of_day(day.symbol_day.trading_date, rows))

    def _in(self, area: StoreArea, symbol: Symbol) -> Iterator[FoundFile]:
        return (found for found in self._of(symbol) if isinstance(found, FoundFile) and found.area is area)

    def _of(self, symbol: Symbol) -> list[FoundFile | str]:
        """Return the files of a symbol; its folders are walked once, however often they are asked for."""
        if self._walked is None or self._walked[0] != symbol:
            self._walked = symbol, list(self._walk.of_symbol(symbol))
        return self._walked[1]

    def _readings(self, found: Iterator[FoundFile], proven: Collection[str] = ()) -> Iterator[FileReading]:
        """Yield what the files contain, in the order in which they were found."""
        with self._new_executor() as executor:
            while some := list(islice(found, FILES_AT_A_TIME)):
                yield from filter(None, executor.map(partial(read_whole, proven=proven, disk=self._disk), some))


def _twice(digests: tuple[str, str], recorded: Set[str]) -> tuple[Damage, str]:
    """Return the problem of a day in two forms; ``digests`` are those of the two."""
    if digests[0] == digests[1]:
        return Damage.DOUBLED, EQUAL
    return (Damage.ALTERED, DIFFERS) if recorded & {*digests} else (Damage.DOUBLED, NEITHER_RECORDED)


def _stored_day(
    day: SymbolDay,
    file: CheckedFile,
    rows: pa.Table | None,
    identity: DatasetIdentity,
    rejected: int,
    moments: KnownMoments,
) -> StoredSymbolDay:
    """Return what storage returned when it wrote the file, as far as the file and the version index tell."""
    problem = problem_of(file, RecordedVersion(file.mark, file.modified, file.sha256), identity)
    if problem is not None or rows is None or not len(rows):
        return StoredSymbolDay(day, 0, rejected, False, error=problem.reason if problem else "has no bars")
    if moments.replaced_outside(day.trading_date, file.sha256) is not None:
        return StoredSymbolDay(day, 0, rejected, False, error=OF_ANOTHER_PROGRAM)
    times = times_of(rows)
    try:
        first, last = (Timestamp.from_epoch_micros(int(times[row])) for row in (0, -1))
    except (ValidationError, IndexError):
        return StoredSymbolDay(day, 0, rejected, False, error="has times that no calendar has")
    minutes = traded_minutes(day.trading_date, times)
    since = moments.since(day.trading_date, file.modified, lambda: file.sha256)
    version = first, last, file.size_bytes, file.sha256, None, minutes, since, file.mark
    return StoredSymbolDay(day, len(rows), rejected, True, *version)


class ParquetOrphanFiles:
    """Orphan files: published by a process that died before it recorded them. See ADR 0013."""

    def __init__(
        self, layout: StoreLayout, stored: ParquetStoredFiles, files: PublishedFiles, identity: DatasetIdentity
    ) -> None:
        self._layout, self._stored, self._files, self._identity = layout, stored, files, identity

    def of(self, symbol: Symbol, dates: Collection[TradingDate]) -> Iterable[StoredSymbolDay]:
        """Return what the files of these dates contain, and make sure that they are durable."""
        found = [day for day in self._stored.stored_days(symbol, self._identity, dates) if day.rows or day.error]
        self._files.confirm([self._layout.bars(day.symbol_day) for day in found])
        return found


FileReading = tuple[CheckedFile, pa.Table | None]
"""A file and its rows, None if it cannot be read or its bytes were proven."""


def read_whole(found: FoundFile, proven: Collection[str] = (), disk: Disk = REAL_DISK) -> FileReading | None:
    """Read every byte and decode every column; return None for a file that was removed since it was found.

    Bytes with a ``proven`` hash were decoded before, or encoded here: of these only the footer is read.
    """
    is_of_a_day = found.timeframe is Timeframe.MINUTE_1 and found.area is not StoreArea.COPIES
    date = found.first if is_of_a_day else None
    dates = None if date is None else (date, date)
    file = CheckedFile(found.area, found.path, found.symbol, date, dates, 0, NO_MARK, BEGINNING, "")
    try:
        version = stored_content(found.on_disk, disk)
        leads_nowhere = version is None and is_link(disk, found.on_disk)
    except OSError as error:
        file = _with_its_mark(file, found, disk) if error.errno in LOST else file
        return _with_problem(file, Damage.UNREADABLE, f"cannot be read: {error.strerror}"), None
    except PartitionUnreadableError:  # the file of its month, which has a problem of its own
        return None
    if version is None:
        if leads_nowhere:
            return _with_problem(file, Damage.UNREADABLE, "is a link that leads nowhere; remove it"), None
        return None
    content, modified_ns = version
    mark, since = file_mark(len(content), modified_ns), moment_of(modified_ns)
    file = evolve(file, size_bytes=len(content), mark=mark, modified=since, sha256=sha256(content))
    return _decoded(file, found, content, columns=file.sha256 not in proven)


def _with_its_mark(file: CheckedFile, found: FoundFile, disk: Disk) -> CheckedFile:
    """Of a file whose bytes are lost, as those of an object that was removed, the size and the time may still be there:
    as long as they are those that were recorded, nothing but this check notices it.
    """
    with suppress(OSError):
        status = disk.stat(found.on_disk)
        return evolve(file, mark=file_mark(status.st_size, status.st_mtime_ns), modified=moment_of(status.st_mtime_ns))
    return file


def _decoded(file: CheckedFile, found: FoundFile, content: bytes, *, columns: bool) -> FileReading:
    try:
        if found.area is StoreArea.COPIES:
            copy = ReadCopy.of(pa.py_buffer(content), found.path)
            rows, metadata = copy.intact_bars(), copy.metadata
        elif found.is_history:
            history = history_in(content, found.path)
            rows, metadata = None, history.metadata
        else:
            rows, metadata = file_in(content, found.path, columns=columns)
        if rows is not None and found.area not in (StoreArea.QUARANTINE, StoreArea.COPIES):
            checked_bars(rows, found.path)
    except PartitionUnreadableError as error:
        return _with_problem(file, Damage.UNREADABLE, str(error).partition(" ")[2]), None
    dates = file.dates or (_dates_in(rows) if found.area is StoreArea.OFFICIAL else _dates_of(metadata))
    sources = sources_in(metadata) if found.area in (StoreArea.AGGREGATES, StoreArea.COPIES) else {}
    file = evolve(file, identity=identity_in(metadata), dates=dates, sources=sources)
    return _labelled(file, found, metadata), rows


def _dates_in(days: pa.Table | None) -> tuple[TradingDate, TradingDate] | None:
    """Return the first and the last date of official days."""
    if days is None or not len(days):
        return None
    first, last = day_numbers(times_of(days)[[0, -1]]).tolist()
    return trading_date(first), trading_date(last)


def _labelled(file: CheckedFile, found: FoundFile, metadata: Mapping[str, str]) -> CheckedFile:
    if found.is_history and not metadata:
        return file  # an earlier version of MarketPipe wrote it
    label, expected = label_in(metadata), f"{found.symbol} {found.timeframe} {found.period}"
    if file.identity is None:
        return _with_problem(file, Damage.MISLABELLED, "has no metadata that names its dataset")
    if label != expected:
        return _with_problem(file, Damage.MISLABELLED, f"its metadata names {label}, its path {expected}")
    return file


def _dates_of(metadata: Mapping[str, str]) -> tuple[TradingDate, TradingDate] | None:
    """Return the first and the last date of the day files that an aggregate was made from; None if it names none."""
    sources = sources_in(metadata)
    try:
        texts = (f"{month}-{day:02d}" for month in sorted(sources) for day in days_in(sources[month]))
        dates = [TradingDate.parse(text) for text in texts]
    except ValidationError:
        return None
    return (dates[0], dates[-1]) if dates else None


def _with_problem(file: CheckedFile, damage: Damage, reason: str) -> CheckedFile:
    return evolve(file, problem=file.problem_with(damage, reason))
