from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from marketpipe.ingestion.application.ports import SymbolDayClaims
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import StoreBusyError
from marketpipe.shared_kernel.events.bar_events import BarsValidated

LEASE = timedelta(minutes=10)
"""Longer than a provider may ask for quiet. It matters only where a holder hangs: a dead one's claims end at once."""


class ClaimFence:
    """Of a symbol-day nothing is written but by whoever holds it. See ADR 0012."""

    def __init__(self, claims: SymbolDayClaims, clock: Clock) -> None:
        self._claims, self._clock = claims, clock

    def on_bars_validated(self, event: BarsValidated) -> None:
        """Before they are stored; what is stored is recorded before anybody may take it over."""
        self.hold(event.request)

    def hold(self, request: BarsRequest) -> None:
        """Until ``ease`` nobody takes the days over, however long that is: they are being written.

        Raises ``StoreBusyError`` where they have passed into other hands: then nothing of them may be written.
        """
        if request.claim is None or not self._claims.hold(request.claim, self._clock.now().plus(LEASE)):
            raise StoreBusyError(f"{request}: the claim ran out, and somebody else took it")

    def ease(self, request: BarsRequest) -> None:
        if request.claim is not None:
            self._claims.ease(request.claim, self._clock.now().plus(LEASE))

    @contextmanager
    def held(self, request: BarsRequest) -> Iterator[None]:
        """Where it ends in an error the batch has ended too, and its lease with it."""
        self.hold(request)
        yield
        self.ease(request)
