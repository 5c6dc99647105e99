from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from marketpipe.shared_kernel.events import Event

E = TypeVar("E", bound=Event)
Reaction = Callable[[Any], None]
Isolation = Callable[[Event, Reaction], AbstractContextManager[object]]


class EventBus:
    """Synchronous and in-process: ``publish`` returns when every handler is done, on the caller's thread.

    Handlers carry the pipeline: they run in subscription order, and what they raise reaches the publisher. Observers
    only look on: they run first, so that they see facts in the order in which these came about, each inside
    ``isolation``, which keeps their errors from the pipeline. Subscribe before the first ``publish``.
    """

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._handlers: defaultdict[type[Event], list[Reaction]] = defaultdict(list)
        self._observers: defaultdict[type[Event], list[Reaction]] = defaultdict(list)

    def subscribe(self, event_type: type[E], handler: Callable[[E], None]) -> None:
        self._handlers[event_type].append(handler)

    def observe(self, event_type: type[E], observer: Callable[[E], None]) -> None:
        """``Event`` itself stands for every type."""
        self._observers[event_type].append(observer)

    def branch(self) -> EventBus:
        """Another bus with handlers of its own and the same observers, for work that goes another way round."""
        other = EventBus(self._isolation)
        other._observers = self._observers
        return other

    def publish(self, event: Event) -> None:
        for kind in (type(event), Event):
            for observer in self._observers.get(kind, ()):
                with self._isolation(event, observer):
                    observer(event)
        for handler in self._handlers.get(type(event), ()):
            handler(event)
