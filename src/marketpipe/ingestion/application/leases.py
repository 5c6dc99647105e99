from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from attrs import evolve

from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.ports import SymbolDayLeases
from marketpipe.ingestion.domain.ingestion_checkpoint import LeasedDays
from marketpipe.ingestion.domain.ingestion_job import hours_asked
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted, StoreBusyError
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import SessionHours

LEASE = timedelta(minutes=10)
"""Longer than a provider may ask for quiet. It matters only where a holder hangs: a dead one's claims end at once."""


class LeaseGuard:
    """Of a symbol-day nothing is written but by whoever holds it. See ADR 0012."""

    def __init__(self, leases: SymbolDayLeases, clock: Clock) -> None:
        self._leases, self._clock = leases, clock

    def pin(self, request: BarsRequest) -> None:
        """Until ``ease`` nobody takes the days over, however long that is: they are being written.

        Raises ``StoreBusyError`` where they have passed into other hands: then nothing of them may be written.
        """
        if request.lease is None or not self._leases.pin(request.lease, self._clock.now().plus(LEASE)):
            raise StoreBusyError(f"{request}: the claim ran out, and somebody else took it")

    def unpin(self, request: BarsRequest) -> None:
        if request.lease is not None:
            self._leases.unpin(request.lease, self._clock.now().plus(LEASE))

    @contextmanager
    def pinned(self, request: BarsRequest) -> Iterator[None]:
        """Where it ends in an error the batch has ended too, and its lease with it."""
        self.pin(request)
        yield
        self.unpin(request)


LOOK_AGAIN_SECONDS = 0.25


class LeasedBatches:
    """The batches of one job, on some of whose symbol-days others may be at work: what they hold is left for later."""

    def __init__(self, leases: SymbolDayLeases, planner: IngestionPlanner, clock: Clock) -> None:
        self._leases, self._planner, self._clock = leases, planner, clock
        self._since: int | None = None
        self._left: list[BarsRequest] = []

    def begin(self, *, again: bool = False) -> None:
        """Before the job is planned. ``again``: what others find out meanwhile does not count."""
        self._since = None if again else self._leases.position()
        self._left.clear()

    @contextmanager
    def taken(self, request: BarsRequest) -> Iterator[tuple[LeasedDays, tuple[BarsRequest, ...]]]:
        """For as long as it lasts the days are ours. With the requests for just those, none where that are none."""
        now = self._clock.now()
        days = self._leases.take(_wanted(request), self._since, now, now.plus(LEASE))
        try:
            self.leave(request, days.busy)
            yield days, self._parts(request, days)
        finally:
            self._leases.release(days.lease)

    def leave(self, request: BarsRequest, days: Collection[SymbolDay]) -> None:
        """For later."""
        if days:
            self._left.extend(self._planner.narrowed(request, days))

    def left(self) -> tuple[BarsRequest, ...]:
        """What was left for later, once those who hold it have had a moment; nothing where nobody is to wait."""
        left, self._left = tuple(self._left), []
        if left:
            try:
                self._clock.sleep(LOOK_AGAIN_SECONDS)
            except IngestionInterrupted:
                return ()
        return left

    def _parts(self, request: BarsRequest, days: LeasedDays) -> tuple[BarsRequest, ...]:
        whole = not days.busy and not days.settled
        parts = (request,) if whole else self._planner.narrowed(request, days.ours)
        return tuple(evolve(part, lease=days.lease) for part in parts)


def _wanted(request: BarsRequest) -> Mapping[SymbolDay, SessionHours]:
    return {
        SymbolDay(symbol, asked.trading_date): hours_asked(request, asked)
        for symbol in request.symbols
        for asked in request.sessions
    }
