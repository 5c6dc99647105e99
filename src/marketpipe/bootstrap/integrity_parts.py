from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING

from attrs import define

from marketpipe.bootstrap.ingestion_parts import IngestionParts
from marketpipe.shared_kernel.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from marketpipe.ingestion.application.recovery import StateRecoverer
    from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, FileRegister
    from marketpipe.storage.application.integrity_checker import DatasetFreezer, IntegrityChecker, LockComparer
    from marketpipe.storage.infrastructure.file_inventory import ParquetStoredFiles

READERS = 4


@define(slots=False)
class IntegrityParts(IngestionParts):
    """What holds the bytes of a store against what is written down of them, and what writes that down anew."""

    @property
    def stored_files(self) -> ParquetStoredFiles:
        from marketpipe.storage.infrastructure.file_inventory import ParquetStoredFiles

        return ParquetStoredFiles(self.layout, self.new_executor or _readers)

    @property
    def integrity(self) -> IntegrityChecker:
        from marketpipe.storage.application.integrity_checker import IntegrityChecker

        return IntegrityChecker(self.stored_files, self._register, self._known_identity)

    @property
    def freezer(self) -> DatasetFreezer:
        from marketpipe.storage.application.integrity_checker import DatasetFreezer

        return DatasetFreezer(self.stored_files, self._register, self._known_identity)

    @property
    def lock_comparer(self) -> LockComparer:
        from marketpipe.storage.application.integrity_checker import LockComparer

        return LockComparer(self.stored_files)

    @property
    def recoverer(self) -> StateRecoverer:
        from marketpipe.ingestion.application.recovery import StateRecoverer
        from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteStateFile

        if "state" in vars(self):
            raise ConfigurationError("this pipeline has its state open already: recover with a new one")
        file = SQLiteStateFile(self.config.state_path, self._location)
        return StateRecoverer(file, lambda: self.state, self.calendar, self._finality, self.clock)

    @property
    def _register(self) -> FileRegister:
        from marketpipe.ingestion.application.recovery import RecordedFiles

        return RecordedFiles(self.known_state.checkpoints)

    @property
    def _known_identity(self) -> DatasetIdentity | None:
        dataset = self.known_state.dataset()
        return dataset[0] if dataset else self.stored_identity.prevailing()


def _readers() -> Executor:
    return ThreadPoolExecutor(READERS, "marketpipe-read")
