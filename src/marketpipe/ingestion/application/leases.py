"""Leases of symbol-days while their bars are requested and written, so that several processes can share one store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
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
from marketpipe.shared_kernel.events import Event, LeasesAwaited

LEASE = timedelta(minutes=10)
"""Longer than a provider may ask to wait. It matters only if a holder hangs: the leases of a dead one end at once."""
RETRY_SECONDS = 0.25
"""How long to wait before busy symbol-days are tried again."""
SECONDS_BETWEEN_EVENTS = 10.0
"""Of a wait that goes on."""


class LeaseGuard:
    """Lets nothing be written of a symbol-day without its lease. See docs/adr/0012."""

    def __init__(self, leases: SymbolDayLeases, clock: Clock) -> None:
        self._leases, self._clock = leases, clock

    def pin(self, request: BarsRequest) -> None:
        """Keep the lease until ``unpin``, however long the writing takes.

        Raises ``StoreBusyError`` if another process has taken the days over: then nothing of them may be written.
        """
        if request.lease is None:
            raise StoreBusyError(f"{request}: no lease was taken on the symbol-days, so that nothing can be stored")
        if not self._leases.pin(request.lease, self._clock.now().plus(LEASE)):
            raise StoreBusyError(f"{request}: the lease ran out, and another process took the symbol-days over")

    def unpin(self, request: BarsRequest) -> None:
        if request.lease is not None:
            self._leases.unpin(request.lease, self._clock.now().plus(LEASE))

    @contextmanager
    def pinned(self, request: BarsRequest) -> Iterator[None]:
        # No finally: an error inside ends the batch, and releases its lease.
        self.pin(request)
        yield
        self.unpin(request)


@contextmanager
def leased_for_removal(leases: SymbolDayLeases, days: Collection[SymbolDay], clock: Clock) -> Iterator[None]:
    """Lease all of the days, however long their removal takes. Raises ``StoreBusyError`` if others have some leased."""
    now = clock.now()
    taken = leases.take(dict.fromkeys(days, SessionHours.EXTENDED), None, now, now.plus(LEASE))
    try:
        if taken.busy:
            day = min(taken.busy)
            raise StoreBusyError(
                f"another process works on {day}: nothing of {day.symbol} was dropped. Stop that ingestion, or let it "
                "end, and try again"
            )
        leases.pin(taken.lease, now.plus(LEASE))
        yield
    finally:
        leases.release(taken.lease)


@contextmanager
def leased_if_free(
    leases: SymbolDayLeases, days: Collection[SymbolDay], clock: Clock
) -> Iterator[tuple[frozenset[SymbolDay], Callable[[], None]]]:
    """Lease those of the days that no other process has leased, however long the work takes.

    Yield the others, and what raises ``StoreBusyError`` if the lease is lost all the same: as a part of the transaction
    that the work ends with, it lets a late one change nothing.
    """
    now = clock.now()
    taken = leases.take(dict.fromkeys(days, SessionHours.EXTENDED), None, now, now.plus(LEASE))

    def confirm() -> None:
        if not leases.pin(taken.lease, clock.now().plus(LEASE)):
            raise StoreBusyError("the lease ran out, and another process took the symbol-days over; try again")

    try:
        leases.pin(taken.lease, now.plus(LEASE))
        yield taken.busy, confirm
    finally:
        leases.release(taken.lease)


class WaitForOthers:
    """Publishes ``LeasesAwaited`` as a wait begins and while it goes on."""

    def __init__(self, clock: Clock, publish: Callable[[Event], None], *, official: bool = False) -> None:
        self._clock, self._publish, self._official = clock, publish, official
        self._began: float | None = None
        self._published = 0.0

    def go_on(self, symbol_days: int, holders: tuple[str, ...] = ()) -> None:
        """Begin to wait for so many symbol-days, or wait on."""
        now = self._clock.monotonic()
        if self._began is None:
            self._began = now
        elif now - self._published < SECONDS_BETWEEN_EVENTS:
            return
        self._published = now
        self._publish(LeasesAwaited(symbol_days, now - self._began, holders, self._official))

    def end(self) -> None:
        self._began = None


class LeasedBatches:
    """Leases the symbol-days of a job's batches; those that other processes have leased are postponed."""

    def __init__(
        self,
        leases: SymbolDayLeases,
        planner: IngestionPlanner,
        clock: Clock,
        publish: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._leases, self._planner, self._clock = leases, planner, clock
        self._since: int | None = None
        self._postponed: list[BarsRequest] = []
        self._holders, self._wait = set[str](), WaitForOthers(clock, publish)

    def begin(self, *, again: bool = False) -> None:
        """Call before the job is planned. ``again``: days that other processes settle meanwhile are requested too."""
        self._since = None if again else self._leases.position()
        self._postponed.clear()
        self._holders.clear()
        self._wait.end()

    @contextmanager
    def leased(self, request: BarsRequest) -> Iterator[tuple[LeasedDays, tuple[BarsRequest, ...]]]:
        """Lease the request's days; yield them, and the requests for those that are ours (none if there are none)."""
        now = self._clock.now()
        days = self._leases.take(_wanted(request), self._since, now, now.plus(LEASE))
        try:
            self.postpone(request, days.busy)
            self._holders.update(days.holders)
            if days.ours or days.settled:
                self._wait.end()
            all_ours = not days.busy and not days.settled
            parts = (request,) if all_ours else self._planner.narrowed(request, days.ours)
            yield days, tuple(evolve(part, lease=days.lease) for part in parts)
        finally:
            self._leases.release(days.lease)

    def postpone(self, request: BarsRequest, days: Collection[SymbolDay]) -> None:
        if days:
            self._postponed.extend(self._planner.narrowed(request, days))

    def take_postponed(self) -> tuple[BarsRequest, ...]:
        """Return what was postponed, after a short wait; nothing if the job is interrupted meanwhile."""
        postponed, self._postponed = tuple(self._postponed), []
        holders, self._holders = tuple(sorted(self._holders)), set()
        if postponed:
            self._wait.go_on(sum(len(request.symbol_days) for request in postponed), holders)
            try:
                self._clock.sleep(RETRY_SECONDS)
            except IngestionInterrupted:
                return ()
        return postponed


def _wanted(request: BarsRequest) -> Mapping[SymbolDay, SessionHours]:
    hours = {asked.trading_date: hours_asked(request, asked) for asked in request.sessions}
    return {SymbolDay(symbol, date): those for symbol in request.symbols for date, those in hours.items()}
