from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

from attrs import frozen

from marketpipe.shared_kernel.events.event import Event

logger = logging.getLogger("marketpipe.observers")


@frozen
class LoggedIsolation:
    """Keeps an observer's error from the pipeline: it is logged with its traceback, and the pipeline goes on."""

    event: Event
    observer: Callable[[Any], None]

    def __enter__(self) -> LoggedIsolation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        logger.error("the observer %r failed on %r", self.observer, self.event, exc_info=error)
        return True
