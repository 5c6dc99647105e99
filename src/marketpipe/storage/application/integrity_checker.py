"""Checks of a store to its last byte: ``verify``, ``freeze`` and ``verify --lock``. See ADR 0011."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion, VersionRegister
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, SessionKind, TradingDate
from marketpipe.storage.application.ports import StoredFiles
from marketpipe.storage.application.recorded_files import RecordedFiles
from marketpipe.storage.domain.dataset_lock import FROZEN, DatasetLock, LockedFile, LockScope
from marketpipe.storage.domain.integrity import (
    CheckedFile,
    Damage,
    IntegrityProblem,
    IntegrityReport,
    StoreArea,
    dates_made_of_others,
    lost_file,
    problem_of,
    repaired_by,
)

ATTEMPTS: Final = 5
"""So often a day is read again if its file is replaced each time."""
WITH_DIGESTS: Final = (StoreArea.AGGREGATES, StoreArea.QUARANTINE, StoreArea.REVISIONS)
"""The areas whose files have no record of their own: official days have one, as day files have."""
MADE_AGAIN: Final = (StoreArea.AGGREGATES, StoreArea.COPIES)
TEMPORARY: Final = ".tmp"
QUARANTINED: Final = f"{StoreArea.QUARANTINE}/"
CONFIRMING_READINGS: Final = 2
"""So often a file must be found unchanged, and unexplained by an ingestion, before it is a problem."""
FROZEN_PATHS: Final = tuple(f"{area}/" for area in FROZEN)
BeingWritten = Callable[[Collection[SymbolDay]], frozenset[SymbolDay]]
"""Returns those of the symbol-days that an ingestion is writing now: their files may be newer than their records."""
OnSymbol = Callable[[int, int], None]
"""Called with the number of symbols that are done, and of all."""


class IntegrityChecker:
    """Compares every byte of a store with what was recorded, one symbol at a time, so that memory stays flat."""

    def __init__(
        self,
        files: StoredFiles,
        register: VersionRegister,
        identity: DatasetIdentity | None,
        being_written: BeingWritten,
        recorded: RecordedFiles | None = None,
    ) -> None:
        """``identity`` is the dataset of the store, None if it is not known. ``recorded`` compares what has no
        checkpoint.
        """
        self._files, self._register, self._identity, self._being_written = files, register, identity, being_written
        self._recorded = recorded

    def check(
        self,
        symbols: Iterable[Symbol] | None,
        first: TradingDate,
        last: TradingDate,
        on_symbol: OnSymbol = lambda _, __: None,
    ) -> IntegrityReport:
        """Check the files between the dates, both inclusive. ``symbols`` is None for all, and for foreign files.

        Damaged days whose files have the recorded mark are marked as failed in the register. Damaged aggregates and
        read copies lose their fingerprint: nothing else would notice them. ``on_symbol`` is called before the first
        symbol and after each.
        """
        chosen = sorted(self._files.symbols() | self._register.symbols() if symbols is None else symbols)
        on_symbol(0, len(chosen))
        counts = IntegrityCounts()
        counts.problems += map(_stray, self._files.strays() if symbols is None else ())
        for done, symbol in enumerate(chosen, 1):
            try:
                self._check(symbol, first, last, counts)
            except StorageError as error:  # of one symbol: the others are checked all the same
                reason = f"{error}. Other files of {symbol} may not have been checked"
                counts.problems.append(IntegrityProblem(f"{StoreArea.DATA}/symbol={symbol}", Damage.UNREADABLE, reason))
            on_symbol(done, len(chosen))
        if self._recorded is not None:
            self._recorded.note_leftovers(each.path for each in counts.problems if each.damage is Damage.LEFTOVER)
        return evolve(counts.report(), identity=self._identity)

    def _check(self, symbol: Symbol, first: TradingDate, last: TradingDate, counts: IntegrityCounts) -> None:
        suspect = dict[TradingDate, str]()
        counts.problems += map(_stray, self._files.strays_of(symbol))
        if index_problem := self._files.index_problem(symbol):
            counts.problems.append(index_problem)
        recorded = self._register.versions(symbol, first, last)
        of_months = self._files.month_problems(symbol, first, last, recorded, self._identity)
        counts.problems += of_months
        unreadable = {folder_of(each) for each in of_months if each.damage is Damage.UNREADABLE}
        named = {each.path for each in of_months}
        for finding in self._confirmed(self._findings(symbol, first, last, counts.add)):
            problem = finding.problem
            if folder_of(problem) in unreadable and not (finding.file and finding.file.size_bytes):
                # It is in the file of its month, which is one problem. If it is known all the same that it is there, as
                # in an object that was lost, nothing else would notice it.
                suspect |= {day.trading_date: problem.reason} if finding.file and (day := problem.symbol_day) else {}
                continue
            counts.problems += [] if problem.path in named else [problem]
            if finding.file and finding.file.area in MADE_AGAIN:
                self._distrust(finding.file, problem.damage)
            if finding.has_recorded_mark and problem.symbol_day:
                suspect[problem.symbol_day.trading_date] = problem.reason
            elif problem.path.startswith(QUARANTINED) and (dates := self._files.dates_of(problem.path)):
                # An ingestion that requests the day again quarantines the same bars again.
                suspect |= {dates[0]: f"its rejected bars: {problem.reason}"} if dates[0] == dates[1] else {}
        if suspect:
            self._register.mark_suspect(symbol, suspect)
        counts.marked_suspect += len(suspect)

    def _distrust(self, file: CheckedFile, damage: Damage) -> None:
        """Only a whole file keeps what it was made of months whose minutes are gone."""
        if damage is Damage.STALE:
            self._files.doubt(file)
        else:
            self._files.invalidate(file)

    def freeze(
        self, symbols: Iterable[Symbol] | None, first: TradingDate, last: TradingDate, session: SessionKind | None
    ) -> DatasetLock:
        """Return the lock of what a backtest reads between the dates, both inclusive; ``symbols`` is None for all.

        An aggregate is frozen if all its minutes are between the dates: a year's file changes with its next day.
        Raises ``StorageError`` for damaged or lost files, and ``ConfigurationError`` if there is nothing to freeze.
        """
        locked, dates = list[LockedFile](), list[TradingDate]()
        for symbol in sorted(self._files.symbols() if symbols is None else symbols):
            files = list[CheckedFile]()
            self._refuse_damage(self._findings(symbol, first, last, files.append, *FROZEN))
            frozen = [file for file in files if file.is_within(first, last)]
            if symbols is not None and not frozen:
                raise ConfigurationError(f"{symbol} has no bars between these dates: there is nothing of it to freeze")
            locked += [LockedFile(file.path, file.size_bytes, file.sha256) for file in frozen]
            dates += [date for file in frozen for date in file.dates or ()]
        if self._identity is None or not locked:
            raise ConfigurationError("there is nothing to freeze: no bars of these symbols and dates are stored here")
        # If no bound was given, the frozen dates are the bound: a day that comes after them changes nothing.
        start, end = (min(dates) if first == DISTANT_PAST else first), (max(dates) if last == DISTANT_FUTURE else last)
        chosen = None if symbols is None else tuple(sorted(set(symbols)))
        return DatasetLock(self._identity, session, locked, LockScope(chosen, start, end))

    def _refuse_damage(self, findings: Iterable[FileFinding]) -> None:
        damaged = [finding for finding in findings if finding.problem.damage is not Damage.UNRECORDED]
        # An ingestion beside the freeze replaces whole files by whole ones before it records them. It explains other
        # bytes than the recorded ones, but no unreadable file, and a missing one would be missing in the lock.
        for finding in [finding for finding in damaged if not finding.may_be_newer] or self._confirmed(damaged):
            raise StorageError(f"a damaged store is not frozen: {self._cause(finding.problem)}; then freeze again")

    def _cause(self, problem: IntegrityProblem) -> str:
        """Return what is wrong, with advice: the damage of a month file if that is why a day was not found."""
        day = problem.symbol_day
        if problem.damage is Damage.GONE and day is not None:
            date = day.trading_date
            for of_month in self._files.month_problems(day.symbol, date, date, {}, self._identity):
                if of_month.damage is Damage.UNREADABLE:
                    return f"{of_month.path} {of_month.reason}"
        return f"{problem.path}: {problem.reason.rstrip('.')}. {repaired_by(self._identity)}"

    def _findings(
        self,
        symbol: Symbol,
        first: TradingDate,
        last: TradingDate,
        note: Callable[[CheckedFile], None],
        *areas: StoreArea,
    ) -> list[FileFinding]:
        """Read the files of some areas, or of all, ``note`` each, and return what differs from the records."""
        recorded, findings = dict(self._register.versions(symbol, first, last)), list[FileFinding]()
        made, stored = list[CheckedFile](), {date: {version.sha256} for date, version in recorded.items()}
        digests, others = frozenset(version.sha256 for version in recorded.values()), list[CheckedFile]()
        for file in self._files.check(symbol, first, last, *areas, proven=digests):
            note(file)
            if file.area in WITH_DIGESTS:
                others.append(file)
            if file.sources:
                made.append(file)
            if file.symbol_day:
                stored.setdefault(file.symbol_day.trading_date, set()).add(file.sha256)
            record = recorded.pop(file.symbol_day.trading_date, None) if file.symbol_day else None
            if problem := problem_of(file, record, self._identity):
                findings.append(FileFinding(problem, file, record))
        if self._recorded is not None:
            of_areas = [area for area in areas or StoreArea if area in WITH_DIGESTS]
            differing = self._recorded.differences(symbol, first, last, others, of_areas)
            known = {finding.problem.path for finding in findings}
            findings += [FileFinding(problem, file) for problem, file in differing if problem.path not in known]
        known = {finding.problem.path for finding in findings}
        findings += [found for file in made if file.path not in known and (found := self._stale(file, stored))]
        return findings + [FileFinding(lost_file(SymbolDay(symbol, date))) for date in sorted(recorded)]

    def _stale(self, made: CheckedFile, digests: Mapping[TradingDate, Collection[str]]) -> FileFinding | None:
        """Return the finding of a file that counts as fresh, and was made of other bytes than these or the recorded.

        What was written beside this check is read again, in the order in which it is written: day files first.
        """
        if not (dates := dates_made_of_others(made, digests)):
            return None
        stored = {each: self._files.read_again(SymbolDay(made.symbol, each)) for each in dates}
        now = {each: {*digests[each], file.sha256} for each, file in stored.items() if file is not None}
        again = self._files.read_path(made.path)
        if again is None or not (dates := dates_made_of_others(again, now)) or not self._files.is_fresh(again):
            return None
        reason = f"was made of other bytes of {dates[0]} than the store has: 'marketpipe aggregate' makes it again"
        return FileFinding(again.problem_with(Damage.STALE, reason), again)

    def _confirmed(self, findings: list[FileFinding]) -> list[FileFinding]:
        """Return the findings that an ingestion beside this check does not explain.

        It publishes a file, then records it. So the order here is: a file was read; no ingestion is writing its day;
        the record is read; the file is read again. If the file is still the same it was published and recorded before
        the record was read, and the record differs from it for good; it is read once more all the same,
        because a false alarm is worse than a second reading. A checkpoint that a crash lost is found like this too: a
        dead process writes nothing.
        """
        for _ in range(ATTEMPTS):
            days = [finding.problem.symbol_day for finding in findings if not finding.is_certain]
            uncertain = [day for day in days if day is not None]
            if not uncertain:
                break
            writing, dates = self._being_written(uncertain), [day.trading_date for day in uncertain]
            records = self._register.versions(uncertain[0].symbol, min(dates), max(dates))
            findings = [found for finding in findings if (found := self._again(finding, writing, records))]
        return findings

    def _again(
        self, finding: FileFinding, writing: frozenset[SymbolDay], records: Mapping[TradingDate, RecordedVersion]
    ) -> FileFinding | None:
        day = finding.problem.symbol_day
        if finding.is_certain or day is None:
            return finding
        if day in writing:
            return None
        file, record = self._files.read_again(day), records.get(day.trading_date)
        problem = problem_of(file, record, self._identity) if file else lost_file(day) if record else None
        unchanged = finding.unchanged + 1 if finding.is_of(file) else 0
        return None if problem is None else FileFinding(problem, file, record, unchanged)


@frozen
class FileFinding:
    """A problem, the file it was found in (None for a lost file) and the record it was compared with.

    ``unchanged`` counts how often the file was read again and was the same.
    """

    problem: IntegrityProblem
    file: CheckedFile | None = None
    record: RecordedVersion | None = None
    unchanged: int = 0

    @property
    def is_certain(self) -> bool:
        """Only minute bars are recorded; and with the recorded mark a file was not replaced, so its bytes rotted."""
        return self.unchanged >= CONFIRMING_READINGS or self.problem.symbol_day is None or self.has_recorded_mark

    @property
    def has_recorded_mark(self) -> bool:
        return self.file is not None and self.record is not None and self.file.mark == self.record.mark

    @property
    def may_be_newer(self) -> bool:
        """Whether a version may have been found that was published, and not recorded yet."""
        return self.problem.damage is Damage.ALTERED and self.file is not None and self.file.problem is None

    def is_of(self, file: CheckedFile | None) -> bool:
        """Return whether it was found in this version of the file."""
        if self.file is None or file is None:
            return self.file is file
        return (self.file.mark, self.file.sha256) == (file.mark, file.sha256)


class IntegrityCounts:
    """Counts what a check finds."""

    def __init__(self) -> None:
        self.files, self.size_bytes, self.marked_suspect = 0, 0, 0
        self.problems: list[IntegrityProblem] = []
        self.extra: list[str] = []

    def add(self, file: CheckedFile) -> None:
        self.files += 1
        self.size_bytes += file.size_bytes

    def report(self) -> IntegrityReport:
        return IntegrityReport(
            self.files, self.size_bytes, tuple(self.problems), tuple(self.extra), self.marked_suspect
        )


def folder_of(problem: IntegrityProblem) -> str:
    return problem.path.rpartition("/")[0]


def _stray(path: str) -> IntegrityProblem:
    if path.endswith(TEMPORARY):
        reason = "was left by a process that ended before it published the file; the next ingestion removes it"
        return IntegrityProblem(path, Damage.LEFTOVER, reason)
    reason = "is not a file of a store, or is a link to a folder, which is not followed; move it away"
    return IntegrityProblem(path, Damage.FOREIGN, reason)


def compare_with_lock(stored: StoredFiles, lock: DatasetLock) -> IntegrityReport:
    """Read the files that a lock lists, and no others. One that has come within its scope is a problem; ``extra`` are
    the others that a lock would list.

    Needs no record of the files.
    """
    counts, left = IntegrityCounts(), {file.path: file for file in lock.files}
    digests = frozenset(file.sha256 for file in lock.files)
    symbols = {file.path.partition("symbol=")[2].partition("/")[0] for file in lock.files}
    for symbol in sorted(stored.symbols()):
        for path in stored.paths(symbol):
            if path.startswith(FROZEN_PATHS) and path not in left:
                if lock.pins_absence_of(path):
                    counts.problems.append(IntegrityProblem(path, Damage.ADDED, "did not exist when it was frozen"))
                else:
                    counts.extra.append(path)
        if str(symbol) in symbols:
            for file in stored.check(symbol, DISTANT_PAST, DISTANT_FUTURE, *FROZEN, proven=digests):
                if (locked := left.pop(file.path, None)) is not None:
                    counts.add(file)
                    if problem := locked.problem_of(file):
                        counts.problems.append(problem)
    gone = [IntegrityProblem(path, Damage.GONE, "was frozen, and does not exist") for path in sorted(left)]
    counts.problems += gone
    return counts.report()
