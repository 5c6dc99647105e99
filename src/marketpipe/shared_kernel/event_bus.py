"""The bus on which the contexts meet: synchronous, in-process, and without knowledge of what it carries.

Storing is the back-pressure of the pipeline: ``publish`` returns only when every handler is done, so a provider is
never asked for more than can be validated and written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from attrs import frozen

from marketpipe.shared_kernel.events import Event

E = TypeVar("E", bound=Event)
Handler = Callable[[E], None]
Subscriber = Callable[[Any], None]
Isolation = Callable[[Event, Subscriber], AbstractContextManager[object]]
"""A context manager around each call of an observer, which keeps the observer's errors from the pipeline."""


@frozen
class _LazyHandler:
    make: Callable[[], Subscriber]


class EventBus:
    """Call handlers and observers of an event, on the publisher's thread.

    Handlers carry the pipeline: they run in the order of subscription, and an error in one reaches the publisher, who
    knows what to do about it; the bus catches nothing. Observers only watch (metrics, progress, a user's own). They run
    before the handlers: a handler publishes the next event of the ring, and an observer must see the events in the
    order in which they happened. Subscribe before the first ``publish``: only then may many threads publish at once.
    """

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._handlers: defaultdict[type[Event], list[Subscriber | _LazyHandler]] = defaultdict(list)
        self._observers: defaultdict[type[Event], list[Subscriber]] = defaultdict(list)

    def subscribe(self, event_type: type[E], handler: Handler[E]) -> None:
        self._handlers[event_type].append(handler)

    def subscribe_lazily(self, event_type: type[E], make: Callable[[], Handler[E]]) -> None:
        """Subscribe the handler that ``make`` returns when the first such event is published.

        Threads that publish the first events at the same time may each call ``make``: it has to return the same handler
        to all of them.
        """
        self._handlers[event_type].append(_LazyHandler(make))

    def observe(self, event_type: type[E], observer: Handler[E]) -> None:
        """Subscribe an observer to one type of event; ``Event`` means every type."""
        self._observers[event_type].append(observer)

    def branch(self) -> EventBus:
        """Return a bus with the same observers and no handlers yet, for a pipeline with other handlers (an audit)."""
        other = EventBus(self._isolation)
        other._observers = self._observers
        return other

    def publish(self, event: Event) -> None:
        """Call the observers of the event's type and of ``Event``, then its handlers; return when all are done."""
        for kind in (type(event), Event):
            for observer in self._observers.get(kind, ()):
                with self._isolation(event, observer):
                    observer(event)
        handlers = self._handlers.get(type(event), [])
        for number, handler in enumerate(handlers):
            if isinstance(handler, _LazyHandler):  # replaced by what it makes: a wrapper would be a frame of every call
                handlers[number] = handler = handler.make()
            handler(event)
