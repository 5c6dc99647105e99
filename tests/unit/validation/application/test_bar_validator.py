from __future__ import annotations

import pytest
from attrs import define, field

from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsFetched,
    BarsValidated,
    Event,
    RuleFinding,
    StoredBarsRead,
    StoredBarsValidated,
)
from marketpipe.testing import FakeClock, bar, bars_request
from marketpipe.validation.application.bar_validator import BarValidator, Validate, ValidationResult
from tests.support.builders import columnar, day

DAY = day("AAPL", "2024-01-02")
BARS = columnar((DAY, [bar("2024-01-02T15:00:00Z"), bar("2024-01-02T15:01:00Z")]), (day("MSFT", "2024-01-02"), []))
ACCEPTED = columnar((DAY, [bar("2024-01-02T15:00:00Z")]))
REJECTED = columnar((DAY, [bar("2024-01-02T15:01:00Z")]))
FINDINGS = (RuleFinding(DAY, "no_jump", Severity.ERROR, 1),)


@define
class FakeValidation:
    """Return ``result`` for any bars; ``calls`` remembers the bars and the moments it was called with."""

    result: ValidationResult = field(factory=lambda: ValidationResult(ACCEPTED, REJECTED, FINDINGS))
    calls: list[tuple[ColumnarBars, Timestamp]] = field(factory=list)

    def __call__(self, bars: ColumnarBars, now: Timestamp) -> ValidationResult:
        self.calls.append((bars, now))
        return self.result


def failing(bars: ColumnarBars, now: Timestamp) -> ValidationResult:
    raise ConfigurationError("the trading calendar does not reach so far")


@define
class Ring:
    """A bus with the validator on it; ``published`` are the events that it published."""

    validate: Validate = field(factory=FakeValidation)
    clock: FakeClock = field(factory=FakeClock)
    bus: EventBus = field(factory=lambda: EventBus(LoggedIsolation))
    published: list[Event] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        validator = BarValidator(self.validate, self.bus, self.clock)
        self.bus.subscribe(BarsFetched, validator.on_bars_fetched)
        self.bus.subscribe(StoredBarsRead, validator.on_stored_bars_read)
        self.bus.observe(BarsValidated, self.published.append)
        self.bus.observe(StoredBarsValidated, self.published.append)


def test_fetched_bars_are_validated_and_published_under_the_same_request() -> None:
    ring, asked = Ring(), bars_request(["AAPL", "MSFT"], "2024-01-02", "2024-01-02", batch_id=7)
    ring.bus.publish(BarsFetched(asked, BARS))
    (validated,) = ring.published
    assert isinstance(validated, BarsValidated)
    assert validated.request is asked
    assert validated.accepted is ACCEPTED
    assert validated.rejected is REJECTED
    assert validated.findings == FINDINGS


def test_stored_bars_are_validated_again_and_counted_as_they_were_read() -> None:
    ring = Ring()
    ring.bus.publish(StoredBarsRead(BARS))
    assert ring.published == [StoredBarsValidated(bars=2, symbol_days=2, findings=FINDINGS)]


def test_bars_are_validated_at_the_current_time_of_the_clock() -> None:
    validation, clock = FakeValidation(), FakeClock("2024-01-02T15:00:00Z")
    ring = Ring(validation, clock)
    ring.bus.publish(StoredBarsRead(BARS))
    clock.advance(90)
    ring.bus.publish(BarsFetched(bars_request(["AAPL"], "2024-01-02", "2024-01-02"), REJECTED))
    assert validation.calls == [
        (BARS, Timestamp.parse("2024-01-02T15:00:00Z")),
        (REJECTED, Timestamp.parse("2024-01-02T15:01:30Z")),
    ]


def test_an_error_of_the_validation_reaches_the_publisher_and_nothing_is_published() -> None:
    ring = Ring(failing)
    with pytest.raises(ConfigurationError):
        ring.bus.publish(BarsFetched(bars_request(["AAPL"], "2024-01-02", "2024-01-02"), BARS))
    assert ring.published == []
