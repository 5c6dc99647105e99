from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from marketpipe.shared_kernel.domain.symbol_day import SymbolDay


class SymbolDaysInHand:
    """Lets nobody read, merge and write a symbol-day while another thread does."""

    def __init__(self) -> None:
        self._taken, self._changed = set[SymbolDay](), threading.Condition()

    @contextmanager
    def only(self, days: Iterable[SymbolDay]) -> Iterator[None]:
        """Waits until all of them are free, and takes them together: whoever waits holds none that others wait for."""
        wanted = frozenset(days)
        with self._changed:
            self._changed.wait_for(lambda: self._taken.isdisjoint(wanted))
            self._taken |= wanted
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._changed.notify_all()
