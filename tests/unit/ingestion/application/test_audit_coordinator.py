from __future__ import annotations

from datetime import timedelta

import pytest

from marketpipe.ingestion.application.audit_coordinator import AuditCoordinator
from marketpipe.ingestion.application.batch_runner import BatchRunner
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import JobScheduler
from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsExhausted, BarsRequested
from marketpipe.testing import FakeClock
from tests.support.builders import CALENDAR
from tests.support.checkpoints import answer, record
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory
from tests.support.inline_executor import InlineExecutor

REGULAR, EXTENDED = SessionHours.REGULAR, SessionHours.EXTENDED
FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05")


def audited(state: InMemoryIngestionState, kind: SessionKind) -> dict[str, int]:
    """The symbol-days that an audit requests, with the bars that it finds removed: the provider has none."""
    bus, clock = EventBus(LoggedIsolation), FakeClock()
    scheduler = JobScheduler(CALENDAR, SessionFinality(timedelta()), PackingLimits(10_000, symbols_per_request=200))
    inventory = InMemoryInventory(state.checkpoints)
    planner = IngestionPlanner(scheduler, state.checkpoints, state.statistics, inventory, clock)
    auditor = AuditCoordinator(planner, state.checkpoints, bus, clock, BatchRunner(clock, InlineExecutor))
    bus.subscribe(BarsRequested, lambda event: bus.publish(BarsExhausted(event.request)))
    bus.subscribe(BarsExhausted, auditor.on_bars_exhausted)
    findings = auditor.audit(IngestionScope(["AAPL"], FIRST, LAST, kind))
    return {str(day): found.removed for day, found in findings.compared.items()}


@pytest.fixture
def state() -> InMemoryIngestionState:
    made = InMemoryIngestionState()
    record(made, [answer("AAPL", "2024-01-02", rows=7, hours=EXTENDED), answer("AAPL", "2024-01-03", hours=REGULAR)])
    record(made, [answer("AAPL", "2024-01-04", Outcome.EMPTY, 0), answer("AAPL", "2024-01-05", Outcome.FAILED, 0)])
    return made


def test_days_that_were_settled_for_fewer_hours_are_not_audited(state: InMemoryIngestionState) -> None:
    assert audited(state, SessionKind.EXTENDED) == {"AAPL 2024-01-02": 7, "AAPL 2024-01-04": 0}


def test_days_that_were_settled_for_more_hours_are_audited(state: InMemoryIngestionState) -> None:
    found = audited(state, SessionKind.REGULAR)

    assert found == {"AAPL 2024-01-02": 7, "AAPL 2024-01-03": 390, "AAPL 2024-01-04": 0}
