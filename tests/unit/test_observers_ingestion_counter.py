from __future__ import annotations

from marketpipe.observers import IngestionCounter, LoggedIsolation
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import RateLimitWaited, RequestCompleted, RequestRetried
from marketpipe.testing import FakeClock


def test_what_went_wrong_with_requests_is_counted_by_kind_until_the_next_reset() -> None:
    counter, bus = IngestionCounter(), EventBus(LoggedIsolation)
    counter.observe(bus)
    for kind in ("unavailable", "unavailable", "timeout", None):
        bus.publish(RequestCompleted("p", 0.1, error_kind=kind))
    bus.publish(RequestRetried("p", 1, 0.5, "alpaca answered 503"))
    assert (counter.requests, counter.retries, counter.faults) == (4, 1, {"unavailable": 2, "timeout": 1})
    counter.reset()
    assert (counter.requests, counter.retries, counter.faults) == (0, 0, {})


def test_waits_of_several_requests_at_the_same_time_count_once() -> None:
    clock = FakeClock()
    counter, bus = IngestionCounter(clock.monotonic), EventBus(LoggedIsolation)
    counter.observe(bus)
    bus.publish(RateLimitWaited("p", 42.0))
    clock.advance(2)
    bus.publish(RateLimitWaited("p", 41.0))
    clock.advance(100)
    bus.publish(RateLimitWaited("p", 7.0))
    assert counter.rate_limit_seconds == 50.0
