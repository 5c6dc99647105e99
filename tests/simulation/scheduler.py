"""``Scheduler``: real threads, of which exactly one runs at any moment; the seed picks the next one at each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Killed(BaseException):
    """The process has died at this call. Nothing of the product catches it."""


class Stuck(BaseException):
    """No thread of the world can go on, and none sleeps."""


class Owner(Protocol):
    """What the scheduler needs to know of a process."""

    name: str
    dead: bool
    resumes: float


class Scheduler:
    """``patience`` says how often the same thread goes on at a call; ``now`` are seconds since the world began."""

    now: float
    trace: str

    def __init__(self, seed: str, patience: float) -> None:
        raise NotImplementedError

    def start(self, process: Owner, name: str, act: Callable[[], None]) -> None:
        """Start a thread of the process, which begins when it is picked."""
        raise NotImplementedError

    def call(self, process: Owner, kind: str, target: str) -> None:
        """Let others run before this call. Raises ``Killed`` if the process is dead, and ``Stuck``."""
        raise NotImplementedError

    def block(self, until: Callable[[], bool]) -> None:
        """Let others run until it is true."""
        raise NotImplementedError

    def sleep(self, seconds: float, woken: Callable[[], bool] | None = None) -> None:
        """Let others run until the time has come, or until it is ``woken``."""
        raise NotImplementedError

    def has_died(self, process: Owner) -> None:
        raise NotImplementedError

    def run(self) -> None:
        """Run until no thread is left; if none can go on, all raise ``Stuck``."""
        raise NotImplementedError
