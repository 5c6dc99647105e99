from __future__ import annotations

from collections.abc import Iterable

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, FileRegister, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
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
    lost_files,
    problem_of,
    recorded_date,
)


class IntegrityTally:
    def __init__(self) -> None:
        self.files, self.size_bytes, self.suspect = 0, 0, 0
        self.problems: list[IntegrityProblem] = []
        self.extra: list[str] = []

    def add(self, file: CheckedFile, problem: IntegrityProblem | None) -> None:
        self.files += 1
        self.size_bytes += file.size_bytes
        if problem is not None:
            self.problems.append(problem)

    def add_problem(self, problem: IntegrityProblem) -> None:
        self.problems.append(problem)

    def report(self) -> IntegrityReport:
        return IntegrityReport(self.files, self.size_bytes, tuple(self.problems), tuple(self.extra), self.suspect)


Judged = tuple[RecordedVersion | None, IntegrityProblem | None]


class IntegrityChecker:
    """Holds every byte of a store against what was recorded; one symbol at a time, so that memory stays flat."""

    def __init__(self, files: StoredFiles, register: FileRegister, identity: DatasetIdentity | None) -> None:
        """``identity`` is the dataset of the store, None where it has no file that says it."""
        self._files, self._register, self._identity = files, register, identity

    def check(self, symbols: Iterable[Symbol] | None, first: TradingDate, last: TradingDate) -> IntegrityReport:
        """``symbols``: None for all, and for what belongs to none."""
        chosen = self._files.symbols() | self._register.symbols() if symbols is None else symbols
        tally = IntegrityTally()
        for path in self._files.strays() if symbols is None else ():
            tally.add_problem(_stray(path))
        for symbol in sorted(chosen):
            self._check(symbol, first, last, tally)
        return tally.report()

    def _check(self, symbol: Symbol, first: TradingDate, last: TradingDate, tally: IntegrityTally) -> None:
        recorded, doubts = dict(self._register.files(symbol, first, last)), dict[TradingDate, str]()
        digests = frozenset(file.sha256 for file in recorded.values())
        for path in self._files.strays_of(symbol):
            tally.add_problem(_stray(path))
        for file in self._files.check(symbol, first, last, proven=digests):
            known, problem = self._judged(file, recorded.pop(recorded_date(file), None))
            tally.add(file, problem)
            if problem is not None:
                self._leave_word(file, known, problem, doubts)
        for gone in lost_files(symbol, recorded):
            tally.add_problem(gone)
        if doubts:
            self._register.mark_suspect(symbol, doubts)
        tally.suspect += len(doubts)

    def _judged(self, file: CheckedFile, known: RecordedVersion | None) -> Judged:
        """An ingestion may have replaced the file since its symbol was looked up: then the newer record counts."""
        problem, day = problem_of(file, known, self._identity), file.symbol_day
        if problem and day and not (known and file.mark == known.mark):
            known = self._register.files(day.symbol, day.trading_date, day.trading_date).get(day.trading_date)
            problem = problem_of(file, known, self._identity)
        return known, problem

    def _leave_word(
        self,
        file: CheckedFile,
        known: RecordedVersion | None,
        problem: IntegrityProblem,
        doubts: dict[TradingDate, str],
    ) -> None:
        """Where nobody would see it from outside."""
        if known and file.trading_date and file.mark == known.mark:
            doubts[file.trading_date] = problem.reason
        if file.area is StoreArea.AGGREGATES:
            self._files.invalidate(file)


def _stray(path: str) -> IntegrityProblem:
    return IntegrityProblem(path, Damage.FOREIGN, "is not a file of a store; move it away")


class DatasetFreezer:
    """Writes down the hash of every file that a backtest reads. What is damaged is not frozen."""

    def __init__(self, files: StoredFiles, register: FileRegister, identity: DatasetIdentity | None) -> None:
        """``identity`` is the dataset of the store, None where nobody knows it."""
        self._files, self._register, self._identity = files, register, identity

    def freeze(
        self, symbols: Iterable[Symbol] | None, first: TradingDate, last: TradingDate, session: SessionKind | None
    ) -> DatasetLock:
        """Aggregates are frozen where all they were made from lies between the dates.

        Raises ``StorageError`` for damaged or lost files, and ``ConfigurationError`` where there is nothing to freeze.
        """
        frozen: list[LockedFile] = []
        for symbol in sorted(self._files.symbols() if symbols is None else symbols):
            recorded = dict(self._register.files(symbol, first, last))
            digests = frozenset(file.sha256 for file in recorded.values())
            for file in self._files.check(symbol, first, last, *FROZEN, proven=digests):
                _refuse(problem_of(file, recorded.pop(recorded_date(file), None), self._identity))
                if file.lies_within(first, last):
                    frozen.append(LockedFile(file.path, file.size_bytes, file.sha256))
            _refuse(*lost_files(symbol, recorded))
        if self._identity is None or not frozen:
            raise ConfigurationError("there is nothing to freeze: no bars of these symbols and dates are stored here")
        return DatasetLock(self._identity, session, frozen)


def _refuse(*problems: IntegrityProblem | None) -> None:
    for problem in problems:
        if problem is not None and problem.damage is not Damage.UNRECORDED:
            raise StorageError(
                f"a damaged store is not frozen: {problem.path}: {problem.reason}. "
                "See 'marketpipe verify'; 'marketpipe ingest' heals what is damaged"
            )


class LockComparer:
    """Holds the files that a lock lists against it; asks nobody what was recorded of them."""

    def __init__(self, files: StoredFiles) -> None:
        self._files = files

    def compare(self, lock: DatasetLock) -> IntegrityReport:
        """Reads what the lock lists, and nothing else."""
        tally, left = IntegrityTally(), {file.path: file for file in lock.files}
        digests = frozenset(file.sha256 for file in lock.files)
        symbols = {file.path.partition("symbol=")[2].partition("/")[0] for file in lock.files}
        for symbol in sorted(self._files.symbols()):
            tally.extra += [path for path in self._files.paths(symbol) if _may_be_frozen(path) and path not in left]
            if str(symbol) in symbols:
                for file in self._files.check(symbol, DISTANT_PAST, DISTANT_FUTURE, *FROZEN, proven=digests):
                    if (frozen := left.pop(file.path, None)) is not None:
                        tally.add(file, frozen.problem_of(file))
        for path in sorted(left):
            tally.add_problem(IntegrityProblem(path, Damage.GONE, "was frozen, and is not here"))
        return tally.report()


def _may_be_frozen(path: str) -> bool:
    return path.startswith(tuple(f"{area}/" for area in FROZEN))
