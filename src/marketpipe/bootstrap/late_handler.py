from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Handler = Callable[[Any], None]


class LateHandler:
    """A handler that is made when its first event comes: a run that asks for nothing needs few of them."""

    def __init__(self, make: Callable[[], Handler]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: Handler | None = None

    def __call__(self, event: Any) -> None:
        if self._made is None:
            with self._lock:
                self._made = self._made or self._make()
        self._made(event)
