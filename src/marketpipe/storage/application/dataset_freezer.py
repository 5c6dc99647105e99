from __future__ import annotations

from collections.abc import Iterable

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import FileRegister
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.storage.application.ports import StoredFiles
from marketpipe.storage.domain.dataset_lock import FROZEN, DatasetLock, LockedFile
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, lost_files, problem_of, recorded_date


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
