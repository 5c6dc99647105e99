from __future__ import annotations

import logging

import pytest
from attrs import frozen

from marketpipe.observers import LoggedIsolation
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import Event


@frozen
class Opened(Event):
    number: int


def fails(event: Opened) -> None:
    raise ZeroDivisionError(f"event {event.number}")


def interrupts(event: Opened) -> None:
    raise KeyboardInterrupt


def exits(event: Opened) -> None:
    raise SystemExit(3)


def test_error_of_an_observer_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus(LoggedIsolation)
    bus.observe(Opened, fails)
    bus.publish(Opened(7))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("marketpipe.observers", logging.ERROR)
    assert "fails" in record.getMessage()
    assert record.getMessage().endswith("failed on Opened(number=7)")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert "in fails" in caplog.text


def test_pipeline_goes_on_after_each_failing_observer(caplog: pytest.LogCaptureFixture) -> None:
    bus, handled = EventBus(LoggedIsolation), list[int]()
    for kind in (Opened, Event):
        bus.observe(kind, fails)
    bus.subscribe(Opened, lambda event: handled.append(event.number))
    bus.publish(Opened(1))
    bus.publish(Opened(2))
    assert handled == [1, 2]
    assert len(caplog.records) == 4


@pytest.mark.parametrize(("observer", "error"), [(interrupts, KeyboardInterrupt), (exits, SystemExit)])
def test_wish_to_stop_is_no_error_to_be_isolated(
    observer: object, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    bus = EventBus(LoggedIsolation)
    bus.observe(Opened, observer)  # type: ignore[arg-type]
    with pytest.raises(error):
        bus.publish(Opened(1))
    assert caplog.records == []


def test_nothing_is_logged_where_nothing_fails(caplog: pytest.LogCaptureFixture) -> None:
    bus, seen = EventBus(LoggedIsolation), list[Opened]()
    bus.observe(Opened, seen.append)
    bus.publish(Opened(1))
    assert seen == [Opened(1)]
    assert caplog.records == []


def test_error_of_a_handler_is_not_isolated(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus(LoggedIsolation)
    bus.subscribe(Opened, fails)
    with pytest.raises(ZeroDivisionError):
        bus.publish(Opened(1))
    assert caplog.records == []
