"""A coordinator with everything it needs, on fakes; each symbol is a batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from attrs import define, field

from marketpipe.ingestion.application.batch_runner import BatchRunner
from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import JobScheduler
from marketpipe.ingestion.application.leases import LeaseGuard
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.application.recovery import OrphanAdopter
from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.ingestion_job import IngestionJob
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality
from marketpipe.ingestion.domain.store_status import JobRecord
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsExhausted, BarsRequested, BarsStored, Event, StoredSymbolDay
from marketpipe.testing import FakeClock
from tests.support.builders import CALENDAR
from tests.support.fake_ring import FakeRing
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory
from tests.support.inline_executor import InlineExecutor

EXECUTORS: dict[str, Callable[[], Executor]] = {
    "inline": InlineExecutor,
    "two threads": lambda: ThreadPoolExecutor(2),
}
FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-03")


@define
class InMemoryOrphanFiles:
    """A fake of ``OrphanFiles`` that reports what the test put into ``found``."""

    found: list[StoredSymbolDay] = field(factory=list)

    def of(self, symbol: Symbol, dates: Collection[TradingDate]) -> Sequence[StoredSymbolDay]:
        days = (day for day in self.found if day.symbol_day.symbol == symbol)
        return [day for day in days if day.symbol_day.trading_date in dates]


@define
class Coordination:
    """A coordinator and its fakes. ``events`` has all published events, in order."""

    coordinator: IngestionCoordinator
    ring: FakeRing
    state: InMemoryIngestionState
    clock: FakeClock
    guard: LeaseGuard
    bus: EventBus
    inventory: InMemoryInventory
    orphans: InMemoryOrphanFiles
    withdrawn: list[SymbolDay]
    events: list[Event] = field(factory=list)

    def ingest(self, *symbols: str) -> IngestionJob:
        self.coordinator.go()
        return self.coordinator.ingest(IngestionScope(symbols, FIRST, LAST))

    @property
    def latest_job(self) -> JobRecord:
        return self.state.jobs.latest(1)[0]

    def recorded(self) -> dict[str, str]:
        """Return the outcomes by symbol-day, such as "AAPL 2024-01-02"."""
        return {str(day): str(found.outcome) for day, found in sorted(self.state.known.items())}


def coordination(
    new_executor: Callable[[], Executor] = InlineExecutor,
    state: IngestionState | None = None,
    clock: FakeClock | None = None,
    **ring: Any,
) -> Coordination:
    """Return a coordinator; ``ring`` has the arguments of its ``FakeRing``."""
    bus, clock = EventBus(LoggedIsolation), clock or FakeClock()
    kept: Any = state or InMemoryIngestionState()
    scheduler = JobScheduler(CALENDAR, SessionFinality(timedelta()), PackingLimits(10_000, symbols_per_request=1))
    inventory = InMemoryInventory(kept.checkpoints)
    planner = IngestionPlanner(scheduler, kept.checkpoints, kept.statistics, inventory, clock)
    identity, runner = DatasetIdentity("fake", "none", "raw"), BatchRunner(clock, new_executor)
    finality = SessionFinality(timedelta())
    orphans = InMemoryOrphanFiles()
    guard = LeaseGuard(kept.leases, clock)
    adopter = OrphanAdopter(kept, orphans, CALENDAR, finality, clock)
    withdrawn = list[SymbolDay]()
    steps = runner, adopter, guard, withdrawn.extend
    coordinator = IngestionCoordinator(identity, planner, kept, inventory, bus, clock, *steps, confirmations=2)
    parts = Coordination(coordinator, FakeRing(bus, **ring), kept, clock, guard, bus, inventory, orphans, withdrawn)
    bus.observe(Event, parts.events.append)
    bus.subscribe(BarsRequested, parts.ring.on_bars_requested)
    bus.subscribe(BarsStored, coordinator.on_bars_stored)
    bus.subscribe(BarsExhausted, coordinator.on_bars_exhausted)
    return parts
