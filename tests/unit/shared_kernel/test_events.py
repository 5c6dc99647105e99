from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from marketpipe.shared_kernel import events
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    BarsStored,
    BarsValidated,
    Event,
    JobStarted,
    RequestCompleted,
    RuleFinding,
    StoredBarsRead,
    StoredSymbolDay,
    SymbolDaysRecorded,
)
from marketpipe.testing import bar, bars_request
from tests.support.builders import columnar, day

REQUEST = bars_request(["AAPL"], "2024-01-02", "2024-01-02")
DAY = day("AAPL", "2024-01-02")
BARS = columnar((DAY, [bar(f"2024-01-02T14:{minute}:00Z", 987.654321) for minute in range(10, 60)]))
PAST_TENSE = ("ed", "Read", "Found", "Damaged", "Lost")


def all_events() -> Iterator[type[Event]]:
    for kind in vars(events).values():
        if isinstance(kind, type) and issubclass(kind, Event):
            yield kind


EVENTS = [kind for kind in all_events() if kind is not Event]


def test_events_are_these() -> None:
    assert sorted(kind.__name__ for kind in EVENTS) == [
        "AggregatesPrepared",
        "AggregatesRefreshed",
        "AttemptLost",
        "AuditFinished",
        "AuditStarted",
        "BarsCompared",
        "BarsExhausted",
        "BarsFetched",
        "BarsRequested",
        "BarsStored",
        "BarsValidated",
        "FilesSynced",
        "JobFinished",
        "JobStarted",
        "LeasesAwaited",
        "MetricsNotDelivered",
        "MetricsNotServed",
        "MetricsServed",
        "OfficialDaysChanged",
        "OfficialDaysFetched",
        "OfficialDaysRequested",
        "OfficialDaysStored",
        "OfficialDaysValidated",
        "PartitionFoundDamaged",
        "RateLimitWaited",
        "RequestCompleted",
        "RequestRetried",
        "RestatementsAdopted",
        "RestatementsFound",
        "RunFinished",
        "StoredBarsRead",
        "StoredBarsValidated",
        "SymbolDaysRecorded",
    ]


@pytest.mark.parametrize("kind", EVENTS)
def test_event_is_a_frozen_fact_in_the_past_tense(kind: type[Event]) -> None:
    assert attrs.has(kind)
    assert kind.__setattr__ is not object.__setattr__
    assert kind.__name__.endswith(PAST_TENSE)


def test_published_event_cannot_be_changed() -> None:
    event = RequestCompleted("alpaca", 0.1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.seconds = 0.2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (BarsFetched(REQUEST, BARS), "bars=<50 bars of 1 symbol-days>"),
        (BarsValidated(REQUEST, BARS, columnar((DAY, []))), "accepted=<50 bars of 1 symbol-days>"),
        (BarsValidated(REQUEST, BARS, columnar((DAY, []))), "rejected=<0 bars of 1 symbol-days>"),
        (BarsStored(REQUEST, (StoredSymbolDay(DAY, 50, 0, True),) * 3), "days=<3 symbol-days>"),
        (StoredBarsRead(BARS), "bars=<50 bars of 1 symbol-days>"),
        (
            SymbolDaysRecorded(1, "alpaca", (SymbolDayOutcome(DAY, Outcome.COMPLETE),) * 9),
            "outcomes=<9 symbol-days>",
        ),
    ],
)
def test_bulk_data_is_counted_and_not_shown(event: Event, shown: str) -> None:
    assert shown in repr(event)
    assert "987.65" not in repr(event)
    assert len(repr(event)) < 400


def test_request_of_many_symbols_shows_no_sessions() -> None:
    assert "<252 sessions>" in repr(BarsRequested(bars_request(["AAPL"], "2024-01-02", "2024-12-31")))


def test_optional_facts_are_absent_by_default() -> None:
    assert BarsValidated(REQUEST, BARS, BARS).findings == ()
    assert (BarsExhausted(REQUEST).refused, BarsExhausted(REQUEST).unrequested) == ((), 0)
    completed = RequestCompleted("alpaca", 0.25)
    assert (completed.bars, completed.error_kind, completed.rate_limit_remaining) == (0, None, None)
    stored = StoredSymbolDay(DAY, rows=0, rejected=0, final=True)
    assert (stored.first, stored.last, stored.size_bytes, stored.sha256, stored.error) == (None, None, 0, None, None)


def test_equal_facts_are_equal() -> None:
    finding = RuleFinding(DAY, "high_is_highest", Severity.ERROR, 2)
    assert finding == RuleFinding(day("AAPL", "2024-01-02"), "high_is_highest", Severity.ERROR, 2)
    assert JobStarted(1, "alpaca", 10, 5, 2) == JobStarted(1, "alpaca", 10, 5, 2)
    assert JobStarted(1, "alpaca", 10, 5, 2) != JobStarted(2, "alpaca", 10, 5, 2)
