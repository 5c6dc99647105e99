"""Checks of a store to its last byte: ``verify``, ``freeze`` and ``verify --lock``. See ADR 0011."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion, VersionRegister
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import (
    DISTANT_FUTURE,
    DISTANT_PAST,
    SessionKind,
    TradingDate,
)
from marketpipe.storage.application.ports import StoredFiles
from marketpipe.storage.domain.dataset_lock import FROZEN, DatasetLock, LockedFile
from marketpipe.storage.domain.integrity import (
    CheckedFile,
    Damage,
    IntegrityProblem,
    IntegrityReport,
    StoreArea,
    lost_file,
    lost_files,
    problem_of,
    recorded_date,
)

ATTEMPTS: Final = 5
"""So often a day is read again if its file is replaced each time."""
BeingWritten = Callable[[Collection[SymbolDay]], frozenset[SymbolDay]]
"""Returns those of the symbol-days that an ingestion is writing now: their files may be newer than their records."""


class IntegrityChecker:
    """Compares every byte of a store with what was recorded, one symbol at a time, so that memory stays flat."""

    def __init__(
        self,
        files: StoredFiles,
        register: VersionRegister,
        identity: DatasetIdentity | None,
        being_written: BeingWritten,
    ) -> None:
        """``identity`` is the dataset of the store, None if it is not known."""
        self._files, self._register, self._identity, self._being_written = files, register, identity, being_written

    def check(self, symbols: Iterable[Symbol] | None, first: TradingDate, last: TradingDate) -> IntegrityReport:
        """Check the files between the dates, both inclusive. ``symbols`` is None for all, and for foreign files.

        Damaged days that have the recorded mark are marked suspect, and damaged aggregates lose their fingerprint:
        nothing else would notice them.
        """
        chosen = self._files.symbols() | self._register.symbols() if symbols is None else symbols
        tally = IntegrityTally()
        for path in self._files.strays() if symbols is None else ():
            tally.add_problem(_stray(path))
        for symbol in sorted(chosen):
            self._check(symbol, first, last, tally)
        return tally.report()

    def _check(self, symbol: Symbol, first: TradingDate, last: TradingDate, tally: IntegrityTally) -> None:
        recorded, findings = dict(self._register.versions(symbol, first, last)), list[Finding]()
        digests = frozenset(version.sha256 for version in recorded.values())
        for path in self._files.strays_of(symbol):
            tally.add_problem(_stray(path))
        for file in self._files.check(symbol, first, last, proven=digests):
            record = recorded.pop(recorded_date(file), None)
            tally.add(file)
            if problem := problem_of(file, record, self._identity):
                findings.append(Finding(problem, file, record))
        findings += [Finding(problem) for problem in lost_files(symbol, recorded)]
        for finding in self._confirmed(findings):
            tally.add_problem(finding.problem)
            if finding.file and finding.file.area is StoreArea.AGGREGATES:
                self._files.invalidate(finding.file)
            if finding.has_recorded_mark and finding.problem.symbol_day:
                tally.suspect[finding.problem.symbol_day] = finding.problem.reason
        tally.mark_suspect(symbol, self._register)

    def _confirmed(self, findings: Sequence[Finding]) -> Sequence[Finding]:
        """Return the findings that an ingestion beside this check does not explain.

        It publishes a file, then records it. So the order here is: a file was read; no ingestion is writing its day;
        the record is read; the file is read again. If the file is still the same it was published and recorded before
        the record was read, and the record differs from it for good. A checkpoint that a crash lost is found like this
        too, for a dead process writes nothing.
        """
        for _ in range(ATTEMPTS):
            days = [finding.problem.symbol_day for finding in findings if not finding.is_certain]
            doubtful = [day for day in days if day is not None]
            if not doubtful:
                break
            writing, dates = self._being_written(doubtful), [day.trading_date for day in doubtful]
            records = self._register.versions(doubtful[0].symbol, min(dates), max(dates))
            findings = [found for finding in findings if (found := self._again(finding, writing, records))]
        return findings

    def _again(
        self, finding: Finding, writing: frozenset[SymbolDay], records: Mapping[TradingDate, RecordedVersion]
    ) -> Finding | None:
        day = finding.problem.symbol_day
        if finding.is_certain or day is None:
            return finding
        if day in writing:
            return None
        file, record = self._files.read_again(day), records.get(day.trading_date)
        lost = lost_file(day) if record else None
        problem = problem_of(file, record, self._identity) if file else lost
        return None if problem is None else Finding(problem, file, record, is_unchanged=finding.is_of(file))


@frozen
class Finding:
    """A problem, the file it was found in (None for a lost file) and the record it was compared with.

    ``is_unchanged``: the file was read again, and is the same.
    """

    problem: IntegrityProblem
    file: CheckedFile | None = None
    record: RecordedVersion | None = None
    is_unchanged: bool = False

    @property
    def is_certain(self) -> bool:
        """Only minute bars are recorded; and with the recorded mark a file was not replaced, so its bytes rotted."""
        return self.is_unchanged or self.problem.symbol_day is None or self.has_recorded_mark

    @property
    def has_recorded_mark(self) -> bool:
        return self.file is not None and self.record is not None and self.file.mark == self.record.mark

    def is_of(self, file: CheckedFile | None) -> bool:
        """Return whether it was found in this version of the file."""
        if self.file is None or file is None:
            return self.file is file
        return (self.file.mark, self.file.sha256) == (file.mark, file.sha256)


class IntegrityTally:
    """Counts what a check finds."""

    def __init__(self) -> None:
        self.files, self.size_bytes, self.marked_suspect = 0, 0, 0
        self.problems: list[IntegrityProblem] = []
        self.extra: list[str] = []
        self.suspect: dict[SymbolDay, str] = {}

    def add(self, file: CheckedFile) -> None:
        self.files += 1
        self.size_bytes += file.size_bytes

    def add_problem(self, problem: IntegrityProblem) -> None:
        self.problems.append(problem)

    def mark_suspect(self, symbol: Symbol, register: VersionRegister) -> None:
        """Mark the suspect days of one symbol in the register, each with its reason."""
        if self.suspect:
            register.mark_suspect(symbol, {day.trading_date: reason for day, reason in self.suspect.items()})
        self.marked_suspect += len(self.suspect)
        self.suspect.clear()

    def report(self) -> IntegrityReport:
        return IntegrityReport(
            self.files, self.size_bytes, tuple(self.problems), tuple(self.extra), self.marked_suspect
        )


def _stray(path: str) -> IntegrityProblem:
    return IntegrityProblem(path, Damage.FOREIGN, "is not a file of a store; move it away")


class DatasetFreezer:
    """Lists the hash of every file that a backtest reads. A damaged store is not frozen."""

    def __init__(self, files: StoredFiles, register: VersionRegister, identity: DatasetIdentity | None) -> None:
        """``identity`` is the dataset of the store, None if it is not known."""
        self._files, self._register, self._identity = files, register, identity

    def freeze(
        self, symbols: Iterable[Symbol] | None, first: TradingDate, last: TradingDate, session: SessionKind | None
    ) -> DatasetLock:
        """Return the lock of the files between the dates, both inclusive; ``symbols`` is None for all.

        An aggregate is frozen if all its minutes are between the dates: a year's file changes with its next day.
        Raises ``StorageError`` for damaged or lost files, and ``ConfigurationError`` if there is nothing to freeze.
        """
        files: list[LockedFile] = []
        for symbol in sorted(self._files.symbols() if symbols is None else symbols):
            recorded = dict(self._register.versions(symbol, first, last))
            digests = frozenset(file.sha256 for file in recorded.values())
            for file in self._files.check(symbol, first, last, *FROZEN, proven=digests):
                _refuse(problem_of(file, recorded.pop(recorded_date(file), None), self._identity))
                if file.is_within(first, last):
                    files.append(LockedFile(file.path, file.size_bytes, file.sha256))
            _refuse(*lost_files(symbol, recorded))
        if self._identity is None or not files:
            raise ConfigurationError("there is nothing to freeze: no bars of these symbols and dates are stored here")
        return DatasetLock(self._identity, session, files)


def _refuse(*problems: IntegrityProblem | None) -> None:
    for problem in problems:
        if problem is not None and problem.damage is not Damage.UNRECORDED:
            raise StorageError(
                f"a damaged store is not frozen: {problem.path}: {problem.reason}. "
                "'marketpipe verify' lists all damage, 'marketpipe ingest' repairs it; then freeze again"
            )


class LockComparer:
    """Compares a store with a lock; needs no record of the files."""

    def __init__(self, files: StoredFiles) -> None:
        self._files = files

    def compare(self, lock: DatasetLock) -> IntegrityReport:
        """Read the files that the lock lists, and no others; ``extra`` are the others that a lock would list."""
        tally, left = IntegrityTally(), {file.path: file for file in lock.files}
        digests = frozenset(file.sha256 for file in lock.files)
        symbols = {file.path.partition("symbol=")[2].partition("/")[0] for file in lock.files}
        for symbol in sorted(self._files.symbols()):
            tally.extra += [path for path in self._files.paths(symbol) if _may_be_frozen(path) and path not in left]
            if str(symbol) in symbols:
                for file in self._files.check(symbol, DISTANT_PAST, DISTANT_FUTURE, *FROZEN, proven=digests):
                    if (locked := left.pop(file.path, None)) is not None:
                        tally.add(file)
                        if problem := locked.problem_of(file):
                            tally.add_problem(problem)
        for path in sorted(left):
            tally.add_problem(IntegrityProblem(path, Damage.GONE, "was frozen, and does not exist"))
        return tally.report()


def _may_be_frozen(path: str) -> bool:
    return path.startswith(tuple(f"{area}/" for area in FROZEN))
