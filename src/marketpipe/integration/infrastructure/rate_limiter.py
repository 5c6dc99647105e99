from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from marketpipe.integration.infrastructure.local_turns import LocalTurns
from marketpipe.integration.infrastructure.rate_window import LONGEST_PAUSE, RateWindow
from marketpipe.integration.infrastructure.shared_turns import SharedTurns
from marketpipe.shared_kernel.domain.clock import Clock

__all__ = ["LONGEST_PAUSE", "RateLimiter", "RateWindow"]


class RateLimiter:
    """Lets callers through no faster than every window allows and the provider has asked; threads and tasks share it.

    With ``shared_in``, a file, all processes of the machine that name the same file share it. Time is the injected
    clock's. ``on_wait`` hears of every wait. Raises ``ConfigurationError`` for windows of which one makes another
    pointless.
    """

    def __init__(
        self,
        windows: Sequence[RateWindow],
        clock: Clock,
        on_wait: Callable[[float], None] = lambda _: None,
        *,
        shared_in: Path | None = None,
    ) -> None:
        self._clock, self._on_wait = clock, on_wait
        local = LocalTurns(windows, clock)
        self._turns = local if shared_in is None else SharedTurns(shared_in, windows, clock)

    def acquire(self) -> None:
        """Waits for its turn. Raises ``IngestionInterrupted`` when the clock's owner is asked to stop.

        Raises ``StateError`` where what is shared cannot be read or written.
        """
        while (delay := self._turns.claim()) > 0:
            self._on_wait(delay)
            self._clock.sleep(delay)

    async def acquire_async(self) -> None:
        while (delay := self._turns.claim()) > 0:
            self._on_wait(delay)
            await self._clock.sleep_async(delay)

    def pause(self, seconds: float) -> None:
        """The provider asked for quiet: nobody gets through before that, five minutes at the most."""
        self._turns.pause(min(seconds, LONGEST_PAUSE))

    def close(self) -> None:
        self._turns.close()
