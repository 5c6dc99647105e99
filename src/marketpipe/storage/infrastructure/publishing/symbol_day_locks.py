"""Locks of symbol-days between the threads of a process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.infrastructure.machine.threads import REAL_THREADS, Threads


class SymbolDayLocks:
    """Lets only one thread at a time read, merge and write a symbol-day."""

    def __init__(self, threads: Threads = REAL_THREADS) -> None:
        self._locked, self._changed = set[SymbolDay](), threads.condition()

    @contextmanager
    def locked(self, days: Iterable[SymbolDay]) -> Iterator[None]:
        """Wait until all days are free, then lock all at once: a thread that waits has none that others wait for."""
        wanted = frozenset(days)
        with self._changed:
            self._changed.wait_for(lambda: self._locked.isdisjoint(wanted))
            self._locked |= wanted
        try:
            yield
        finally:
            with self._changed:
                self._locked -= wanted
                self._changed.notify_all()
