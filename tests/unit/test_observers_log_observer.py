from __future__ import annotations

import logging

import pytest
from attrs import evolve

from marketpipe.observers import LoggedIsolation, log_event
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    Event,
    JobFinished,
    JobStarted,
    LeasesAwaited,
    OfficialDaysStored,
    RateLimitWaited,
    RequestRetried,
    StoredOfficialYear,
    SymbolDaysRecorded,
)
from marketpipe.testing import bars_request
from tests.support.builders import day

FAILED = SymbolDayOutcome(day("AAPL", "2024-01-02"), Outcome.FAILED, error="no answer in time")
WRONG = dict.fromkeys(
    (FAILED.symbol_day.trading_date, day("AAPL", "2024-01-03").trading_date), "its high is below its low"
)
YEAR = StoredOfficialYear(FAILED.symbol_day.symbol, 2024, DaysOfYear(2024), WRONG)
GOOD = SymbolDayOutcome(day("MSFT", "2024-01-02"), Outcome.COMPLETE, rows=390)


@pytest.mark.parametrize(
    ("event", "level", "words"),
    [
        (
            JobStarted(3, "alpaca", 20, 5, 2),
            "INFO",
            "job 3: 20 symbol-days to request from alpaca, in 2 batches",
        ),
        (JobFinished(3, "alpaca", "completed"), "INFO", "job 3: completed"),
        (
            SymbolDaysRecorded(3, "alpaca", (evolve(FAILED, symbol_day=day("AAPL", "2024-01-03")), GOOD, FAILED)),
            "WARNING",
            "job 3: AAPL 2024-01-02 to 2024-01-03 (2 sessions) failed: no answer",
        ),
        (SymbolDaysRecorded(3, "alpaca", (GOOD, FAILED)), "WARNING", "job 3: AAPL 2024-01-02 failed: no answer"),
        (
            OfficialDaysStored(bars_request(["AAPL"], "2024-01-02", "2024-01-03"), (YEAR,)),
            "WARNING",
            "AAPL 2024-01-02 to 2024-01-03 (2 sessions): its high is below its low",
        ),
        (RequestRetried("alpaca", 2, 0.5, "alpaca answered 500"), "INFO", "attempt 2 failed (alpaca answered 500)"),
        (
            LeasesAwaited(12, 20.0, ("process 4711", "process 4712", "process 4713")),
            "INFO",
            "waiting for 12 symbol-days, leased by process 4711 and 2 others, for 20 s by now",
        ),
        (
            LeasesAwaited(3, 0.0, official=True),
            "INFO",
            "waiting for 3 official days, requested by another process",
        ),
        (RateLimitWaited("alpaca", 12.25), "INFO", "waiting 12.2 s for the rate limit of alpaca"),
        (
            BarsExhausted(bars_request(["A"], "2024-01-02", "2024-01-02"), (), 7),
            "WARNING",
            "the provider returned 7 bars",
        ),
    ],
)
def test_what_an_operator_wants_to_know_is_logged_once(
    caplog: pytest.LogCaptureFixture, event: Event, level: str, words: str
) -> None:
    bus = EventBus(LoggedIsolation)
    bus.observe(Event, log_event)
    with caplog.at_level(logging.INFO, "marketpipe"):
        bus.publish(event)

    (entry,) = caplog.records
    assert (entry.levelname, entry.name) == (level, "marketpipe.ingestion")
    assert entry.getMessage().startswith(words)


def test_nothing_is_logged_of_an_ordinary_end(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus(LoggedIsolation)
    bus.observe(Event, log_event)
    with caplog.at_level(logging.DEBUG, "marketpipe"):
        bus.publish(BarsExhausted(bars_request(["A"], "2024-01-02", "2024-01-02")))
        bus.publish(SymbolDaysRecorded(1, "alpaca", (GOOD,)))
    assert caplog.records == []
