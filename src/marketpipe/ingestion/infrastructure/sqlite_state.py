"""``SQLiteState``: the state of one store in a SQLite file."""

from __future__ import annotations

from pathlib import Path

from marketpipe.ingestion.infrastructure.sql.state import SqlState
from marketpipe.ingestion.infrastructure.sqlite_file import TIMEOUT_SECONDS, SQLiteFile
from marketpipe.ingestion.infrastructure.sqlite_leases import SQLiteLeases
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine


class SQLiteState(SqlState):
    """``IngestionState`` of one store in a SQLite file, which may hold several stores."""

    def __init__(
        self, path: Path, location: str, timeout_seconds: float = TIMEOUT_SECONDS, machine: Machine = HERE
    ) -> None:
        """``location`` tells this store from others in the same file; a writer waits up to ``timeout_seconds`` for
        another process that is writing. Raises ``StateError``.
        """
        file = SQLiteFile(path, location, timeout_seconds, machine=machine)
        super().__init__(file, str(path))
        self.leases = SQLiteLeases(file)
