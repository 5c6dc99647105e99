from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marketpipe.integration.infrastructure.rate_window import LONGEST_PAUSE, RateWindow
from marketpipe.integration.infrastructure.shared_turns import SharedTurns
from marketpipe.shared_kernel.domain.clock import Clock

if TYPE_CHECKING:
    from marketpipe.integration.infrastructure.local_turns import LocalTurns

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
        self._turns: LocalTurns | SharedTurns
        if shared_in is None or len(windows) > 1:  # one window alone makes no other pointless
            from marketpipe.integration.infrastructure.local_turns import LocalTurns

            self._turns = LocalTurns(windows, clock)
        if shared_in is not None:
            self._turns = SharedTurns(shared_in, windows, clock)

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
