from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import pytest
from attrs import frozen

from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import Event


@frozen
class Opened(Event):
    number: int = 0


@frozen
class Closed(Event):
    number: int = 0


@frozen
class Reopened(Opened):
    pass


def plain_bus() -> EventBus:
    return EventBus(lambda *_: nullcontext())


def swallowing_bus() -> EventBus:
    return EventBus(lambda *_: suppress(ArithmeticError))


def appending(name: str, calls: list[str]) -> Callable[[Event], None]:
    return lambda event: calls.append(f"{name} {type(event).__name__}")


def fails(event: Event) -> None:
    raise ZeroDivisionError(f"on {event}")


def test_handlers_run_in_the_order_of_their_subscription() -> None:
    bus, calls = plain_bus(), list[str]()
    for name in ("first", "second", "third"):
        bus.subscribe(Opened, appending(name, calls))
    bus.publish(Opened())
    assert calls == ["first Opened", "second Opened", "third Opened"]


def test_observers_see_an_event_before_its_handlers_in_any_order_of_subscription() -> None:
    bus, calls = plain_bus(), list[str]()
    bus.subscribe(Opened, appending("handler", calls))
    bus.observe(Event, appending("observer of all", calls))
    bus.observe(Opened, appending("observer", calls))
    bus.publish(Opened())
    assert calls == ["observer Opened", "observer of all Opened", "handler Opened"]


def test_observers_see_events_in_the_order_in_which_they_happened() -> None:
    bus, calls = plain_bus(), list[str]()
    bus.subscribe(Opened, lambda _: bus.publish(Closed()))
    bus.observe(Event, appending("observer", calls))
    bus.publish(Opened())
    assert calls == ["observer Opened", "observer Closed"]


def test_publish_returns_when_the_whole_ring_is_done() -> None:
    bus, calls = plain_bus(), list[str]()
    bus.subscribe(Opened, lambda event: bus.publish(Closed(event.number)))
    bus.subscribe(Closed, appending("inner", calls))
    bus.subscribe(Opened, appending("outer", calls))
    bus.publish(Opened())
    assert calls == ["inner Closed", "outer Opened"]


def test_only_subscribers_of_exactly_that_type_are_called() -> None:
    bus, calls = plain_bus(), list[str]()
    bus.subscribe(Closed, appending("handler", calls))
    bus.observe(Closed, appending("observer", calls))
    bus.subscribe(Opened, appending("handler", calls))
    bus.publish(Reopened())
    assert calls == []


def test_event_itself_observes_every_type() -> None:
    bus, seen = plain_bus(), list[Event]()
    bus.observe(Event, seen.append)
    for event in (Opened(1), Closed(2), Reopened(3)):
        bus.publish(event)
    assert seen == [Opened(1), Closed(2), Reopened(3)]


def test_publishing_an_event_without_subscribers_does_nothing() -> None:
    plain_bus().publish(Opened())


def test_error_of_a_handler_reaches_the_publisher_and_stops_the_later_ones() -> None:
    bus, calls = swallowing_bus(), list[str]()
    bus.subscribe(Opened, appending("first", calls))
    bus.subscribe(Opened, fails)
    bus.subscribe(Opened, appending("third", calls))
    with pytest.raises(ZeroDivisionError, match=r"on Opened\(number=7\)"):
        bus.publish(Opened(7))
    assert calls == ["first Opened"]


def test_error_of_a_handler_far_down_the_ring_reaches_the_first_publisher() -> None:
    bus = swallowing_bus()
    bus.subscribe(Opened, lambda event: bus.publish(Closed(event.number)))
    bus.subscribe(Closed, fails)
    with pytest.raises(ZeroDivisionError, match=r"on Closed\(number=3\)"):
        bus.publish(Opened(3))


def test_error_of_an_observer_breaks_neither_pipeline_nor_other_observers() -> None:
    bus, calls = swallowing_bus(), list[str]()
    bus.observe(Opened, fails)
    bus.observe(Opened, appending("observer", calls))
    bus.observe(Event, appending("observer of all", calls))
    bus.subscribe(Opened, appending("handler", calls))
    bus.publish(Opened())
    assert calls == ["observer Opened", "observer of all Opened", "handler Opened"]


def test_each_observer_is_isolated_by_itself_and_handlers_are_not() -> None:
    isolated: list[tuple[Event, object]] = []

    def isolation(event: Event, observer: Callable[[Any], None]) -> AbstractContextManager[object]:
        isolated.append((event, observer))
        return nullcontext()

    bus, calls = EventBus(isolation), list[str]()
    observers = [appending("one", calls), appending("two", calls)]
    for observer in observers:
        bus.observe(Opened, observer)
    bus.subscribe(Opened, appending("handler", calls))
    bus.publish(Opened(5))
    assert isolated == [(Opened(5), observers[0]), (Opened(5), observers[1])]


def test_two_buses_share_no_subscribers() -> None:
    one, other, calls = plain_bus(), plain_bus(), list[str]()
    one.subscribe(Opened, appending("one", calls))
    one.observe(Event, appending("observer of one", calls))
    other.subscribe(Opened, appending("other", calls))
    other.publish(Opened())
    assert calls == ["other Opened"]


def test_same_handler_subscribed_twice_is_called_twice() -> None:
    bus, calls = plain_bus(), list[str]()
    for _ in range(2):
        bus.subscribe(Opened, appending("handler", calls))
    bus.publish(Opened())
    assert calls == ["handler Opened", "handler Opened"]


def test_each_event_is_handled_on_the_thread_that_published_it() -> None:
    bus, threads, events = plain_bus(), 8, 50
    handled: list[tuple[int, int, int]] = []
    everyone_is_there = threading.Barrier(threads)
    bus.subscribe(Opened, lambda event: bus.publish(Closed(event.number)))
    bus.subscribe(Closed, lambda event: handled.append((event.number // events, event.number, threading.get_ident())))

    def publish(worker: int) -> None:
        everyone_is_there.wait(60)
        for number in range(events):
            bus.publish(Opened(worker * events + number))

    workers = [threading.Thread(target=publish, args=(worker,)) for worker in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(number for _, number, _ in handled) == list(range(threads * events))
    assert {(number, ident) for number, _, ident in handled} == {(i, w.ident) for i, w in enumerate(workers)}


def test_error_on_one_thread_stays_on_that_thread() -> None:
    bus, outcomes = plain_bus(), list[str]()
    first_is_failing = threading.Event()

    def handle(event: Opened) -> None:
        if event.number == 0:
            first_is_failing.set()
            raise ZeroDivisionError
        first_is_failing.wait(60)
        outcomes.append("handled")

    def publish(number: int) -> None:
        try:
            bus.publish(Opened(number))
        except ZeroDivisionError:
            outcomes.append(f"failed {number}")

    bus.subscribe(Opened, handle)
    workers = [threading.Thread(target=publish, args=(number,)) for number in (1, 0)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(outcomes) == ["failed 0", "handled"]


def test_a_branch_has_handlers_of_its_own_and_the_same_observers() -> None:
    bus, calls = plain_bus(), list[str]()
    bus.subscribe(Opened, appending("handler", calls))
    branch = bus.branch()
    branch.subscribe(Opened, appending("other handler", calls))
    bus.observe(Opened, appending("observer", calls))

    branch.publish(Opened())
    assert calls == ["observer Opened", "other handler Opened"]

    calls.clear()
    bus.publish(Opened())
    assert calls == ["observer Opened", "handler Opened"]


def test_a_lazy_handler_is_made_with_its_first_event_and_called_in_its_turn() -> None:
    bus, made, calls = plain_bus(), list[int](), list[str]()

    def make() -> Callable[[Event], None]:
        made.append(1)
        return appending("lazy", calls)

    bus.subscribe(Opened, appending("first", calls))
    bus.subscribe_lazily(Opened, make)
    bus.subscribe(Opened, appending("last", calls))
    assert made == []
    bus.publish(Opened())
    bus.publish(Opened())

    assert calls == ["first Opened", "lazy Opened", "last Opened"] * 2
    assert made == [1]


def test_a_lazy_handler_is_called_by_the_bus_itself() -> None:
    bus, stacks = plain_bus(), list[list[str]]()
    bus.subscribe_lazily(Opened, lambda: lambda _: stacks.append([f.function for f in inspect.stack()]))
    bus.publish(Opened())

    assert stacks[0][1] == "publish"
