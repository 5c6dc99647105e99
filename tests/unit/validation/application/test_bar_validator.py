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
    StoredBarsJudged,
    StoredBarsRead,
)
from marketpipe.validation.application.bar_validator import BarValidator
from marketpipe.validation.domain.validation_rule import ValidationResult
from tests.support.builders import bar, columnar, day, request
from tests.support.fake_clock import FakeClock

DAY = day("AAPL", "2024-01-02")
BARS = columnar((DAY, [bar("2024-01-02T15:00:00Z"), bar("2024-01-02T15:01:00Z")]), (day("MSFT", "2024-01-02"), []))
ACCEPTED = columnar((DAY, [bar("2024-01-02T15:00:00Z")]))
REJECTED = columnar((DAY, [bar("2024-01-02T15:01:00Z")]))
FINDINGS = (RuleFinding(DAY, "no_jump", Severity.ERROR, 1),)


@define
class FakeJudge:
    """Says what it was told to say; ``asked`` remembers what it was asked, and when that was."""

    verdict: ValidationResult = field(factory=lambda: ValidationResult(ACCEPTED, REJECTED, FINDINGS))
    asked: list[tuple[ColumnarBars, Timestamp]] = field(factory=list)

    def judge(self, bars: ColumnarBars, now: Timestamp) -> ValidationResult:
        self.asked.append((bars, now))
        return self.verdict


@define
class FailingJudge:
    def judge(self, bars: ColumnarBars, now: Timestamp) -> ValidationResult:
        raise ConfigurationError("the trading calendar does not reach so far")


@define
class Ring:
    """A bus with the validator on it; ``published`` are the facts that came of it."""

    judge: FakeJudge | FailingJudge = field(factory=FakeJudge)
    clock: FakeClock = field(factory=FakeClock)
    bus: EventBus = field(factory=lambda: EventBus(LoggedIsolation))
    published: list[Event] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        validator = BarValidator(self.judge, self.bus, self.clock)
        self.bus.subscribe(BarsFetched, validator.on_bars_fetched)
        self.bus.subscribe(StoredBarsRead, validator.on_stored_bars_read)
        self.bus.observe(BarsValidated, self.published.append)
        self.bus.observe(StoredBarsJudged, self.published.append)


def test_fetched_bars_are_judged_and_published_under_the_same_request() -> None:
    ring, asked = Ring(), request(["AAPL", "MSFT"], "2024-01-02", "2024-01-02", batch_id=7)
    ring.bus.publish(BarsFetched(asked, BARS))
    (validated,) = ring.published
    assert isinstance(validated, BarsValidated)
    assert validated.request is asked
    assert validated.accepted is ACCEPTED
    assert validated.rejected is REJECTED
    assert validated.findings == FINDINGS


def test_stored_bars_are_judged_again_and_counted_as_they_were_read() -> None:
    ring = Ring()
    ring.bus.publish(StoredBarsRead(BARS))
    assert ring.published == [StoredBarsJudged(bars=2, symbol_days=2, findings=FINDINGS)]


def test_bars_are_judged_at_the_time_of_the_clock_each_time_anew() -> None:
    judge, clock = FakeJudge(), FakeClock("2024-01-02T15:00:00Z")
    ring = Ring(judge, clock)
    ring.bus.publish(StoredBarsRead(BARS))
    clock.advance(90)
    ring.bus.publish(BarsFetched(request(["AAPL"], "2024-01-02", "2024-01-02"), REJECTED))
    assert judge.asked == [
        (BARS, Timestamp.parse("2024-01-02T15:00:00Z")),
        (REJECTED, Timestamp.parse("2024-01-02T15:01:30Z")),
    ]


def test_an_error_of_the_judge_reaches_the_publisher_and_nothing_is_published() -> None:
    ring = Ring(FailingJudge())
    with pytest.raises(ConfigurationError):
        ring.bus.publish(BarsFetched(request(["AAPL"], "2024-01-02", "2024-01-02"), BARS))
    assert ring.published == []
