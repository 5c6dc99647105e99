from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.ports import SymbolDayClaims
from marketpipe.ingestion.domain.batch_progress import hours_asked
from marketpipe.ingestion.domain.claimed_days import ClaimedDays
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted, StoreBusyError
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_session import SessionHours

LEASE = timedelta(minutes=10)
"""Longer than a provider may ask for quiet. It matters only where a holder hangs: a dead one's claims end at once."""
LOOK_AGAIN_SECONDS = 0.25


class SharedBatches:
    """The batches of one job, on some of whose symbol-days others may be at work: what they hold is left for later."""

    def __init__(self, claims: SymbolDayClaims, planner: IngestionPlanner, clock: Clock) -> None:
        self._claims, self._planner, self._clock = claims, planner, clock
        self._since: int | None = None
        self._left: list[BarsRequest] = []
        self._lease_of: dict[int, int] = {}

    def begin(self, *, again: bool = False) -> None:
        """Before the job is planned. ``again``: what others find out meanwhile does not count."""
        self._since = None if again else self._claims.position()
        self._left.clear()

    @contextmanager
    def taken(self, request: BarsRequest) -> Iterator[tuple[ClaimedDays, tuple[BarsRequest, ...]]]:
        """For as long as it lasts the days are ours. With the requests for just those, none where that are none."""
        now = self._clock.now()
        days = self._claims.take(_wanted(request), self._since, now, now.plus(LEASE))
        try:
            self.leave(request, days.held)
            yield days, self._parts(request, days)
        finally:
            self._claims.release(days.lease)

    def hold(self, request: BarsRequest) -> None:
        """Until ``ease`` nobody takes the days over, however long that is: they are being written.

        Raises ``StoreBusyError`` where they have passed into other hands: then nothing of them may be written.
        """
        if not self._claims.hold(self._lease_of[request.batch_id], self._clock.now().plus(LEASE)):
            raise StoreBusyError(f"{request}: the claim ran out, and somebody else took it")

    def ease(self, request: BarsRequest) -> None:
        self._claims.ease(self._lease_of[request.batch_id], self._clock.now().plus(LEASE))

    @contextmanager
    def held(self, request: BarsRequest) -> Iterator[None]:
        """Where it ends in an error the batch has ended too, and its lease with it."""
        self.hold(request)
        yield
        self.ease(request)

    def leave(self, request: BarsRequest, days: Collection[SymbolDay]) -> None:
        """For later."""
        if days:
            self._left.extend(self._planner.narrowed(request, days))

    def divide(self, request: BarsRequest, parts: Collection[BarsRequest]) -> None:
        """From now on the parts stand for the request."""
        lease = self._lease_of[request.batch_id]
        self._lease_of.update((part.batch_id, lease) for part in parts)

    def left(self) -> tuple[BarsRequest, ...]:
        """What was left for later, once those who hold it have had a moment; nothing where nobody is to wait."""
        left, self._left = tuple(self._left), []
        self._lease_of.clear()
        if left:
            try:
                self._clock.sleep(LOOK_AGAIN_SECONDS)
            except IngestionInterrupted:
                return ()
        return left

    def _parts(self, request: BarsRequest, days: ClaimedDays) -> tuple[BarsRequest, ...]:
        whole = not days.held and not days.settled
        parts = (request,) if whole else self._planner.narrowed(request, days.ours)
        self._lease_of.update((part.batch_id, days.lease) for part in parts)
        return parts


def _wanted(request: BarsRequest) -> Mapping[SymbolDay, SessionHours]:
    return {
        SymbolDay(symbol, asked.trading_date): hours_asked(request, asked)
        for symbol in request.symbols
        for asked in request.sessions
    }
