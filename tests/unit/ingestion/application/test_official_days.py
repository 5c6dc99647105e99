from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import pytest
from attrs import define, field

from marketpipe.ingestion.application.batch_runner import FAILURES_IN_A_ROW, RequestBisection
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import JobScheduler
from marketpipe.ingestion.application.official_days import MOST_WAITS, OfficialDaysCoordinator, OfficialDaysPlanner
from marketpipe.ingestion.domain.batch_packing import PackingLimits
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, SessionFinality
from marketpipe.ingestion.domain.official_days import OfficialDaysReport, OfficialLimits
from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    BadRequestError,
    CredentialsError,
    EndlessPagingError,
    EntitlementError,
    IngestionInterrupted,
    MalformedResponseError,
    ProviderUnavailableError,
    StoreBusyError,
)
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    Event,
    LeasesAwaited,
    OfficialDayChange,
    OfficialDaysChanged,
    OfficialDaysRequested,
    OfficialDaysStored,
    StoredOfficialYear,
)
from marketpipe.testing import FakeClock
from tests.support.builders import CALENDAR, day
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.in_memory_inventory import InMemoryInventory
from tests.support.in_memory_official_days import InMemoryOfficialDays

FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05")
DATES = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05")
LIMITS = OfficialLimits(10_000, 2_000)
BAR = OfficialDay(1.0, 2.0, 0.5, 1.5, 100.0)


@define
class Asking:
    """A coordinator on fakes, and one handler that stores what is requested unless ``happens`` raises."""

    happens: Callable[[BarsRequest], None] = lambda _: None
    limits: OfficialLimits = LIMITS
    clock: FakeClock = field(factory=FakeClock)
    stored: InMemoryOfficialDays = field(factory=InMemoryOfficialDays)
    disagreeing: Collection[SymbolDay] = ()
    turn: Callable[[], AbstractContextManager[None]] = nullcontext
    requests: list[BarsRequest] = field(factory=list)
    state: InMemoryIngestionState = field(factory=InMemoryIngestionState)
    planner: OfficialDaysPlanner = field(init=False)
    coordinator: OfficialDaysCoordinator = field(init=False)
    _bus: EventBus = field(init=False, factory=lambda: EventBus(LoggedIsolation))

    def __attrs_post_init__(self) -> None:
        finality = SessionFinality(timedelta(minutes=15))
        scheduler = JobScheduler(CALENDAR, finality, PackingLimits(10_000, 200))
        minutes = IngestionPlanner(
            scheduler,
            self.state.checkpoints,
            self.state.statistics,
            InMemoryInventory(self.state.checkpoints),
            self.clock,
        )
        self.planner = OfficialDaysPlanner(CALENDAR, finality, self.stored, self.limits, self.clock)
        bisection = RequestBisection(minutes)
        self.coordinator = OfficialDaysCoordinator(
            self.planner, self.state, self._bus, self.clock, bisection, lambda _: self.disagreeing, lambda: self.turn()
        )
        self._bus.subscribe(OfficialDaysRequested, self._on_requested)
        self._bus.subscribe(OfficialDaysStored, self.coordinator.on_official_days_stored)

    def ask(self, *symbols: str, recheck: str | None = None) -> OfficialDaysReport:
        scope = IngestionScope(symbols, FIRST, LAST)
        return self.coordinator.ask(scope, None if recheck is None else TradingDate.parse(recheck))

    def observed(self, kind: type[Event]) -> list[Event]:
        """Return a list that gets the events of this kind from now on."""
        found = list[Event]()
        self._bus.observe(kind, found.append)
        return found

    def _on_requested(self, event: OfficialDaysRequested) -> None:
        self.requests.append(event.request)
        self.happens(event.request)
        answered = DaysOfYear.of(2024, (asked.trading_date for asked in event.request.sessions))
        years = tuple(StoredOfficialYear(symbol, 2024, answered) for symbol in event.request.symbols)
        self._bus.publish(OfficialDaysStored(event.request, years))


def raising(error: Exception, symbol: str | None = None, date: str | None = None) -> Callable[[BarsRequest], None]:
    """Return what fails with every request, or with those that have the symbol on the date."""

    def happen(request: BarsRequest) -> None:
        if symbol is None or day(symbol, str(date)) in request.symbol_days:
            raise error

    return happen


def names(count: int) -> list[str]:
    return [f"S{number:04d}" for number in range(count)]


def test_what_is_answered_is_recorded_and_counted() -> None:
    asking = Asking()
    report = asking.ask("AAPL", "MSFT")
    assert (report.requested, report.answered, report.left, dict(report.failures)) == (8, 8, 0, {})
    assert len(asking.requests) == 1
    known = asking.state.official_years.years(Symbol("AAPL"), 2024, 2024)[2024]
    assert [str(date) for date in known.answered.dates] == list(DATES)


def test_a_changed_day_is_not_answered_until_it_is_stored() -> None:
    """A process may be killed between the two: the next one would not request the official day again."""
    asking = Asking()
    asking.ask("AAPL", "MSFT")
    (request,) = asking.requests
    changes = tuple(OfficialDayChange(day("AAPL", date), BAR, None) for date in DATES[1:3])
    asking.coordinator.on_official_days_changed(OfficialDaysChanged(request, changes))
    years = {symbol: asking.state.official_years.years(symbol, 2024, 2024)[2024] for symbol in request.symbols}
    assert [[str(date) for date in known.answered.dates] for known in years.values()] == [
        [DATES[0], DATES[3]],
        [*DATES],
    ]


def test_days_that_are_known_are_not_requested() -> None:
    asking = Asking()
    for date in DATES[:3]:
        asking.stored.put("AAPL", date, BAR if date != DATES[1] else None)
    assert [str(one) for request in asking.planner.plan(_scope("AAPL")).requests for one in request.symbol_days] == [
        f"AAPL {DATES[3]}"
    ]


def test_known_days_are_requested_again_from_the_date_of_a_recheck_on() -> None:
    asking = Asking()
    for date in DATES:
        asking.stored.put("AAPL", date, BAR)
    assert asking.planner.plan(_scope("AAPL")).requests == ()
    asking.ask("AAPL", recheck=DATES[2])
    assert [str(one) for request in asking.requests for one in request.symbol_days] == [
        f"AAPL {date}" for date in DATES[2:]
    ]


def test_just_the_wanted_dates_are_requested_again() -> None:
    asking = Asking()
    asking.ask("AAPL")
    asking.requests.clear()
    wanted = {Symbol("AAPL"): [FIRST, LAST], Symbol("MSFT"): [LAST]}
    report = asking.coordinator.ask_again(IngestionScope(("AAPL", "MSFT"), FIRST, LAST), wanted)
    requested = {day for request in asking.requests for day in request.symbol_days}
    assert requested == {day("AAPL", DATES[0]), day("AAPL", DATES[-1]), day("MSFT", DATES[-1])}
    assert (report.requested, report.answered, report.left) == (3, 3, 0)


def test_a_symbol_that_is_wanted_from_a_later_date_on_is_requested_from_there() -> None:
    asking = Asking()
    scope = IngestionScope(["AAPL"], FIRST, LAST, since={Symbol("AAPL"): TradingDate.parse(DATES[1])})
    (request,) = asking.planner.plan(scope).requests
    assert str(request.sessions[0].trading_date) == DATES[1]


@pytest.mark.parametrize("now", ["2024-01-05T00:59:59Z", "2024-01-05T01:14:59Z"])
def test_a_session_that_is_not_final_is_not_requested(now: str) -> None:
    asking = Asking(clock=FakeClock(now))
    asking.ask("AAPL")
    assert str(asking.requests[0].sessions[-1].trading_date) == "2024-01-03"


@pytest.mark.parametrize(
    "error", [MalformedResponseError("?"), ProviderUnavailableError("down"), EndlessPagingError("circle")]
)
def test_a_failing_symbol_day_is_found_and_fails_alone(error: Exception) -> None:
    asking = Asking(raising(error, "MSFT", DATES[1]))
    report = asking.ask("AAPL", "IBM", "MSFT", "TSLA")
    assert dict(report.failures) == {day("MSFT", DATES[1]): str(error)}
    assert report.answered == 15


@pytest.mark.parametrize("error", [ProviderUnavailableError("down"), EntitlementError("plan"), BadRequestError("?")])
def test_a_provider_that_fails_whatever_is_requested_is_given_up_soon(error: Exception) -> None:
    asking = Asking(raising(error), limits=OfficialLimits(100, 40))
    report = asking.ask(*names(400))
    assert len(report.failures) == 1_600
    assert report.answered == report.left == 0
    assert len(asking.requests) <= FAILURES_IN_A_ROW + 1


def test_a_request_that_is_too_long_for_a_proxy_is_halved() -> None:
    def refuse(request: BarsRequest) -> None:
        if len(request.symbols) > 300:
            raise BadRequestError("alpaca answered 414: URI Too Long")

    asking = Asking(refuse)
    report = asking.ask(*names(1_000))
    assert report.answered == 4_000
    assert [len(request.symbols) for request in asking.requests] == [1_000, 500, 250, 250, 500, 250, 250]


def test_refused_keys_are_raised() -> None:
    with pytest.raises(CredentialsError):
        Asking(raising(CredentialsError("no"))).ask("AAPL")


def test_an_interruption_leaves_the_rest() -> None:
    asking = Asking(raising(IngestionInterrupted("stop")))
    report = asking.ask("AAPL")
    assert (report.left, dict(report.failures)) == (4, {})
    assert not report.ok


def test_nothing_is_requested_once_the_job_is_stopping() -> None:
    asking = Asking()
    report = asking.coordinator.ask(_scope("AAPL"), None, lambda: True)
    assert (asking.requests, report.left) == ([], 4)


def test_days_that_disagree_are_asked_of_the_dates_of_the_recheck() -> None:
    asking = Asking(disagreeing=[day("AAPL", DATES[3])])
    assert list(asking.coordinator.disagreeing(_scope("AAPL"), FIRST)) == [day("AAPL", DATES[3])]
    assert list(asking.coordinator.disagreeing(_scope("AAPL"), LAST.plus_days(1))) == []


def _scope(*symbols: str) -> IngestionScope:
    return IngestionScope(symbols, FIRST, LAST)


@define
class Turn:
    """A turn that another process has, so many times it is waited for; ``then`` is called when it is free."""

    busy: int = 0
    then: Callable[[], None] = lambda: None
    waits: int = 0
    ended: int = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        self.waits += 1
        if self.waits <= self.busy:
            raise StoreBusyError("another process has it")
        self.then()
        yield
        self.ended += 1


def test_what_another_process_has_requested_meanwhile_is_not_requested_again() -> None:
    asking = Asking()

    def others() -> None:
        for date in DATES:
            asking.stored.put("AAPL", date, BAR)

    turn = Turn(busy=3, then=others)
    asking.turn = turn.take
    waits = asking.observed(LeasesAwaited)
    report = asking.ask("AAPL", "MSFT")
    assert waits == [LeasesAwaited(8, 0.0, official=True)]
    assert {str(symbol) for request in asking.requests for symbol in request.symbols} == {"MSFT"}
    assert (report.requested, report.answered, report.left) == (4, 4, 0)
    assert (turn.waits, turn.ended) == (4, 1)


def test_no_turn_is_taken_if_nothing_is_missing() -> None:
    asking, turn = Asking(), Turn()
    asking.turn = turn.take
    for date in DATES:
        asking.stored.put("AAPL", date, BAR)
    assert asking.ask("AAPL") == OfficialDaysReport()
    assert turn.waits == 0


def test_a_process_that_hangs_with_its_turn_holds_up_no_other_for_ever() -> None:
    asking, turn = Asking(), Turn(busy=MOST_WAITS + 1)
    asking.turn = turn.take
    assert asking.ask("AAPL").answered == 4
    assert turn.waits == MOST_WAITS


def test_a_wait_for_a_turn_ends_when_the_job_is_stopped() -> None:
    asking, turn = Asking(), Turn(busy=MOST_WAITS)
    asking.turn = turn.take
    report = asking.coordinator.ask(_scope("AAPL"), stopping=lambda: turn.waits >= 2)
    assert (turn.waits, asking.requests, report.left) == (2, [], 4)


def test_a_failing_request_gives_the_turn_back() -> None:
    asking, turn = Asking(raising(CredentialsError("no"))), Turn()
    asking.turn = lambda: closing_turn(turn)
    with pytest.raises(CredentialsError):
        asking.ask("AAPL")
    assert turn.ended == 1


@contextmanager
def closing_turn(turn: Turn) -> Iterator[None]:
    try:
        yield
    finally:
        turn.ended += 1
