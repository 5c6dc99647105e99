from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from marketpipe.shared_kernel.domain.errors import StoreBusyError


@define
class InMemoryExclusiveLock:
    """An ``ExclusiveLock`` for all that share ``lock``."""

    lock: threading.Lock = field(factory=threading.Lock)
    waits: bool = field(default=False, kw_only=True)
    holder: str = field(default="another command of this store", kw_only=True)

    @contextmanager
    def acquired(self) -> Iterator[None]:
        if not self.lock.acquire(blocking=self.waits):
            raise StoreBusyError(f"{self.holder} is running")
        try:
            yield
        finally:
            self.lock.release()
