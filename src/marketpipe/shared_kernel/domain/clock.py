from __future__ import annotations

from typing import Protocol

from marketpipe.shared_kernel.domain.timestamp import Timestamp


class Clock(Protocol):
    """The only way to know or to spend time."""

    def now(self) -> Timestamp: ...

    def monotonic(self) -> float:
        """Seconds from some fixed moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Raises ``IngestionInterrupted`` at once when interrupted, before or while sleeping."""
        ...

    async def sleep_async(self, seconds: float) -> None: ...

    def interrupt(self) -> None:
        """Wakes every sleeper, and lets nobody sleep until ``resume``. Safe from any thread."""
        ...

    def resume(self) -> None: ...
