"""The processes that use a state in PostgreSQL: each gives signs of life, by the clock of the database.

No session lock is used: after a restart of the database another session would get the lock of a living holder.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import psycopg

from marketpipe.ingestion.infrastructure.postgres.sessions import Native, Session
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine

SECONDS_BETWEEN_SIGNS: Final = 5.0
REGISTER: Final = (
    "INSERT INTO holders (holder, store_id, beat, is_working) VALUES ($1, $2, moment(), $3) "
    "ON CONFLICT (holder) DO UPDATE SET beat = moment(), is_working = holders.is_working OR excluded.is_working"
)
FORGET_OTHERS: Final = "DELETE FROM holders WHERE beat < moment() - 86400000000"
"""Those of which nothing was heard for a day."""
FORGET_LEASES: Final = "DELETE FROM leases WHERE holder = $1"
FORGET: Final = "DELETE FROM holders WHERE holder = $1"
# The sum of all numbers goes up with every commit, and never down: it is the version of the state.
FOLD_WRITERS: Final = """
WITH gone AS (
    DELETE FROM writers WHERE writer IN (
        SELECT writer FROM writers AS left_over WHERE holder <> ''
        AND NOT EXISTS (SELECT FROM holders WHERE holders.holder = left_over.holder) FOR UPDATE SKIP LOCKED
    ) RETURNING number
)
UPDATE writers SET number = number + (SELECT sum(number) FROM gone) WHERE writer = '' AND EXISTS (SELECT FROM gone)
"""


def holder_name(machine: Machine) -> str:
    """Return a new name, which tells where its process is."""
    place = machine.processes.place()[0]
    return f"{machine.processes.number()}@{place}/{machine.new_name()[:12]}"


def process_of(name: str) -> str:
    """Return which process bears this name, for its user to find it."""
    number, _, place = name.partition("/")[0].partition("@")
    return f"process {number} on {place}"


class SignsOfLife:
    """Registers this process in the database, and gives signs of life from then on, in a thread of its own.

    They go on while the database is away: after that the process is alive again, if it was not taken for dead.
    """

    def __init__(self, session: Session, store_id: int, seconds: float = SECONDS_BETWEEN_SIGNS) -> None:
        self._session, self._store_id, self._seconds = session, store_id, seconds
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._is_working = False

    def begin(self, *, is_working: bool) -> None:
        """Register the process, if it is not. Raises ``psycopg.Error``."""
        if self._is_begun(is_working):  # the lock may be held for long, while the database is away
            return
        with self._lock:
            if self._is_begun(is_working):
                return
            self._is_working |= is_working
            self._session.patiently(self._begin)
            if self._thread is None:
                self._thread = threading.Thread(target=self._go_on, name="marketpipe-signs-of-life", daemon=True)
                self._thread.start()

    def _is_begun(self, is_working: bool) -> bool:
        return self._thread is not None and self._is_working >= is_working

    def _begin(self, connection: Native) -> None:
        with connection.transaction():
            connection.execute(FORGET_OTHERS)
            connection.execute(FOLD_WRITERS)
            self._register(connection)

    def _register(self, connection: Native) -> None:
        connection.execute(REGISTER, (self._session.holder, self._store_id, self._is_working))

    def _go_on(self) -> None:
        while not self._end.wait(self._seconds):
            with self._lock:
                if self._end.is_set():
                    return
                try:
                    self._register(self._session.connected())
                    self._session.outage.is_over()
                except psycopg.Error:  # it is away, and tried again in a few seconds
                    self._session.disconnect()

    def end(self) -> None:
        """Leave the database with all leases. In a forked child it does nothing: there the thread does not run."""
        self._end.set()
        with self._lock:
            if self._thread is not None:
                with suppress(psycopg.Error):
                    connection = self._session.connected()
                    with connection.transaction():
                        for statement in (FORGET_LEASES, FORGET):
                            connection.execute(statement, (self._session.holder,))
                        connection.execute(FOLD_WRITERS)
            self._session.disconnect()
