from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from marketpipe.ingestion.domain.store_status import StateCondition
from marketpipe.ingestion.infrastructure.locks import HolderLock
from marketpipe.ingestion.infrastructure.sqlite_file import is_damage, trouble_with
from marketpipe.ingestion.infrastructure.sqlite_schema import APPLICATION_ID, VERSION
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.timestamp import Timestamp

COMPANIONS: Final = ("", "-wal", "-shm")
PATIENCE_SECONDS: Final = 5.0


class SQLiteStateFile:
    """Looks at a state file without making one, and without bringing it up to date."""

    def __init__(self, path: Path, location: str) -> None:
        self._path, self._location = path, location

    def condition(self) -> StateCondition:
        if not self._path.exists():
            return StateCondition.ABSENT
        with self._translated():
            try:
                with closing(sqlite3.connect(self._path, timeout=PATIENCE_SECONDS)) as connection:
                    return self._seen_by(connection)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if is_damage(error):
                    return StateCondition.DAMAGED
                raise

    def is_in_use(self) -> bool:
        with self._translated():
            return HolderLock(self._path).others()

    def set_aside(self, now: Timestamp) -> str:
        moment = f"{now.moment:%Y%m%dT%H%M%S.%fZ}"
        aside = self._path.with_name(f"{self._path.name}.{moment}.bak")
        with self._translated():
            for companion in COMPANIONS:
                part = self._path.with_name(self._path.name + companion)
                if part.exists():
                    part.rename(aside.with_name(aside.name + companion))
        return str(aside)

    def _seen_by(self, connection: sqlite3.Connection) -> StateCondition:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            return StateCondition.UNCLAIMED
        if owner != APPLICATION_ID:
            return StateCondition.FOREIGN
        if version > VERSION:
            return StateCondition.NEWER
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            return StateCondition.DAMAGED
        claimed = connection.execute("SELECT provider FROM stores WHERE location = ?", (self._location,)).fetchone()
        return StateCondition.USABLE if claimed and claimed[0] is not None else StateCondition.UNCLAIMED

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"the state file {self._path} {trouble_with(error)}") from error
