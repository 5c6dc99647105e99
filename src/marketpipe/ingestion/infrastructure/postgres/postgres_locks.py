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

from marketpipe.ingestion.infrastructure.locks import ANY_HOLDER, FOR_EVER, PART_OF_THE_WAIT, refusal
from marketpipe.ingestion.infrastructure.postgres.holders import process_of
from marketpipe.ingestion.infrastructure.postgres.postgres_database import PostgresDatabase
from marketpipe.shared_kernel.domain.errors import StateError, StoreBusyError
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

SHORTEST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts: each is a question to a server that others use too."""
FIND: Final = "SELECT holder, token FROM locks WHERE location = ? AND purpose = ?"
TAKE: Final = """
INSERT INTO locks (location, purpose, holder, token) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (location, purpose) DO UPDATE SET holder = excluded.holder, token = excluded.token
WHERE locks.token IN (?5, excluded.token)
RETURNING token
"""
"""Take a lock that is free, or that of a dead holder if nobody has taken it since it was found. May be repeated."""
RELEASE: Final = "UPDATE locks SET holder = '' WHERE location = ? AND purpose = ? AND token = ? RETURNING token"


class PostgresLocks:
    """The locks of one store. They have a connection to the database of their own: the state may be replaced meanwhile.

    Raises ``StateError``.
    """

    def __init__(self, url: str, location: str, machine: Machine = HERE) -> None:
        self._database, self._location, self._machine = PostgresDatabase(url, location, machine), location, machine
        self._held = set[str]()

    def close(self) -> None:
        self._database.close()

    def lock(
        self, purpose: str, *, waits: bool, holder: str = ANY_HOLDER, longest_wait_seconds: float = FOR_EVER
    ) -> PostgresLock:
        """``holder`` says in an error what may hold the lock."""
        return PostgresLock(self, purpose, waits, holder, longest_wait_seconds, self._machine)

    def take(self, purpose: str) -> str | None:
        """Return the token with which the lock is ours; None if another holds it. Raises ``StateError``."""
        ours, token, at = self._database.present_name(), self._machine.new_name(), (self._location, purpose)
        found = self._database.query(FIND, at)
        if any(not self._is_left(*row) for row in found):
            return None
        before = found[0][1] if found else ""
        self._held.add(token)  # before the row is seen: ours without it is one that was left
        taken = False
        try:
            taken = bool(self._database.query(TAKE, (*at, ours, token, before)))
        finally:
            if not taken:
                self._held.discard(token)
        return token if taken else None

    def release(self, purpose: str, token: str) -> bool:
        """Return whether it was still ours. Raises ``StateError``."""
        try:
            return bool(self._database.query(RELEASE, (self._location, purpose, token)))
        finally:
            self._held.discard(token)

    def holder_of(self, purpose: str) -> str:
        """Return how to call the process that holds a lock."""
        found = self._database.query(FIND, (self._location, purpose))
        return process_of(found[0][0]) if found and found[0][0] else "another process"

    def _is_left(self, holder: str, token: str) -> bool:
        """Whether nobody holds the lock any more: its process is dead, or is ours and could not release it."""
        if holder == self._database.present_name():
            return token not in self._held
        return bool(self._database.dead([holder]))


class PostgresLock:
    """``ExclusiveLock`` over ``PostgresLocks``."""

    def __init__(
        self,
        locks: PostgresLocks,
        purpose: str,
        waits: bool,
        holder: str,
        longest_wait_seconds: float,
        machine: Machine,
    ) -> None:
        self._locks, self._purpose, self._holder, self._machine = locks, purpose, holder, machine
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
                raise StoreBusyError(refusal(self._holder, f"{self._who()} holds the lock {self._purpose}"))
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
