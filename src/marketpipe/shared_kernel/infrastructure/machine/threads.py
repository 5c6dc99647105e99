"""``Threads``: the port to locks, executors and waiting between threads, and its adapter for real threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed, wait
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")


class ALock(Protocol):
    """As ``threading.Lock``."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class ACondition(Protocol):
    """As ``threading.Condition``."""

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T: ...
    def notify_all(self) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class Threads(Protocol):
    """Locks under which a port is called, and threads that call one."""

    def lock(self) -> ALock: ...
    def reentrant_lock(self) -> ALock: ...
    def condition(self) -> ACondition: ...
    def executor(self, workers: int, name: str) -> Executor: ...

    def wait(self, futures: Collection[Future[Any]]) -> None:
        """Return when all are done."""

    def as_completed(self, futures: Collection[Future[T]]) -> Iterator[Future[T]]:
        """Yield each when it is done."""


class RealThreads:
    """The threads of Python."""

    __slots__ = ()
    lock = staticmethod(threading.Lock)
    reentrant_lock = staticmethod(threading.RLock)
    condition = staticmethod(threading.Condition)

    def executor(self, workers: int, name: str) -> Executor:
        return ThreadPoolExecutor(workers, name)

    def wait(self, futures: Collection[Future[Any]]) -> None:
        wait(futures)

    def as_completed(self, futures: Collection[Future[T]]) -> Iterator[Future[T]]:
        return as_completed(futures)


REAL_THREADS: Final[Threads] = RealThreads()
