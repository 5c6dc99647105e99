from __future__ import annotations

from collections.abc import Iterable

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.store_inventory import FileRegister, RecordedFile
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.application.integrity_tally import IntegrityTally
from marketpipe.storage.application.ports import StoredFiles
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

Judged = tuple[RecordedFile | None, IntegrityProblem | None]


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
            self._register.doubt(symbol, doubts)
        tally.doubted += len(doubts)

    def _judged(self, file: CheckedFile, known: RecordedFile | None) -> Judged:
        """An ingestion may have replaced the file since its symbol was looked up: then the newer record counts."""
        problem, day = problem_of(file, known, self._identity), file.symbol_day
        if problem and day and not (known and file.looks_like(known)):
            known = self._register.files(day.symbol, day.trading_date, day.trading_date).get(day.trading_date)
            problem = problem_of(file, known, self._identity)
        return known, problem

    def _leave_word(
        self, file: CheckedFile, known: RecordedFile | None, problem: IntegrityProblem, doubts: dict[TradingDate, str]
    ) -> None:
        """Where nobody would see it from outside."""
        if known and file.trading_date and file.looks_like(known):
            doubts[file.trading_date] = problem.reason
        if file.area is StoreArea.AGGREGATES:
            self._files.distrust(file)


def _stray(path: str) -> IntegrityProblem:
    return IntegrityProblem(path, Damage.FOREIGN, "is not a file of a store; move it away")
