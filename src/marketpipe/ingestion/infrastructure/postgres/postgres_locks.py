"""Exclusive locks in the table ``locks`` of a state in PostgreSQL: those of all machines that share it.

A lock is a row, and a row does not end with its process. So it names its holder, and a holder is known to live by its
heartbeats: whoever finds the row of a dead one takes it over. A process that was cut off for longer than that may find
that its lock has been taken; it is told so when it releases it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from marketpipe.ingestion.infrastructure.locks import FOR_EVER, PART_OF_THE_WAIT
from marketpipe.ingestion.infrastructure.postgres.holders import process_of
from marketpipe.ingestion.infrastructure.sql.database import Database
from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

SHORTEST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts: each is a question to a server that others use too."""
FIND: Final = "SELECT holder, token FROM locks WHERE store_id = ? AND purpose = ?"
TAKE: Final = """
INSERT INTO locks (store_id, purpose, holder, token) VALUES (?, ?, ?, ?)
ON CONFLICT (store_id, purpose) DO UPDATE SET holder = excluded.holder, token = excluded.token WHERE locks.token = ?
RETURNING token
"""
"""Take a lock that is free, or that of a dead holder if nobody has taken it since it was found."""
RELEASE: Final = "DELETE FROM locks WHERE store_id = ? AND purpose = ? AND token = ? RETURNING token"


class PostgresLocks:
    """The locks of one store in its state."""

    def __init__(self, database: Database, machine: Machine = HERE) -> None:
        self._database, self._machine = database, machine
        self._held = set[str]()

    def lock(self, purpose: str, *, waits: bool, longest_wait_seconds: float = FOR_EVER) -> PostgresLock:
        return PostgresLock(self, purpose, waits, longest_wait_seconds, self._machine)

    def take(self, purpose: str) -> str | None:
        """Return the token with which the lock is ours; None if another holds it. Raises ``StateError``."""
        store, ours, token = self._database.store_id, self._database.holder_name(), self._machine.new_name()
        found = self._database.query(FIND, (store, purpose))
        if any(not self._is_left(*row) for row in found):
            return None
        (_, before), *_ = [*found, ("", "")]
        self._held.add(token)  # before the row is seen: ours without it is one that was left
        taken = False
        try:
            with self._database.transaction() as connection:
                taken = bool(connection.execute(TAKE, (store, purpose, ours, token, before)).fetchall())
        finally:
            if not taken:
                self._held.discard(token)
        return token if taken else None

    def release(self, purpose: str, token: str) -> bool:
        """Return whether it was still ours. Raises ``StateError``."""
        try:
            with self._database.transaction() as connection:
                values = (self._database.store_id, purpose, token)
                return bool(connection.execute(RELEASE, values).fetchall())
        finally:
            self._held.discard(token)

    def holder_of(self, purpose: str) -> str:
        """Return how to call the process that holds a lock."""
        found = self._database.query(FIND, (self._database.store_id, purpose))
        return process_of(found[0][0]) if found else "another process"

    def _is_left(self, holder: str, token: str) -> bool:
        """Whether nobody holds the lock any more: its process is dead, or is ours and could not release it."""
        if holder == self._database.holder_name():
            return token not in self._held
        return bool(self._database.dead([holder]))


class PostgresLock:
    """``ExclusiveLock`` over ``PostgresLocks``."""

    def __init__(
        self, locks: PostgresLocks, purpose: str, waits: bool, longest_wait_seconds: float, machine: Machine
    ) -> None:
        self._locks, self._purpose, self._machine = locks, purpose, machine
        self._waits, self._longest_wait = waits, longest_wait_seconds

    @contextmanager
    def acquired(self) -> Iterator[None]:
        token, process, is_done = self._acquired(), os.getpid(), False
        try:
            yield
            is_done = True
        finally:
            if os.getpid() == process:
                # what was raised inside says more than that the database cannot be reached
                with suppress(*(() if is_done else (StateError,))):
                    self._release(token)

    def _acquired(self) -> str:
        begin = self._machine.monotonic()
        while (token := self._locks.take(self._purpose)) is None:
            waited = self._machine.monotonic() - begin
            if not self._waits:
                raise StoreBusyError(
                    f"another update of this store is running ({self._who()} holds it): this one does nothing"
                )
            if 0 <= self._longest_wait <= waited:
                raise StoreBusyError(
                    f"{self._who()} has held the lock {self._purpose} of this store for {self._longest_wait:g} s: "
                    "continue it, or end it"
                )
            self._machine.pause(min(max(SHORTEST_PAUSE, waited / PART_OF_THE_WAIT), LONGEST_PAUSE))
        return token

    def _release(self, token: str) -> None:
        if not self._locks.release(self._purpose, token):
            raise StateError(
                f"this process could not reach the state for so long that {self._who()} has taken its lock "
                f"{self._purpose}: what both did may be doubled or incomplete; run it again"
            )

    def _who(self) -> str:
        return self._locks.holder_of(self._purpose)
