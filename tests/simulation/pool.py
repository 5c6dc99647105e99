"""``SimulatedThreads``: executors, futures, locks and conditions whose waiting is the scheduler's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Self, TypeVar

from tests.simulation.scheduler import Owner, Scheduler, SimulatedThread

T = TypeVar("T")
Task = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class SimulatedFuture(Future[T]):
    """A ``Future`` whose ``result`` and ``exception`` let other threads of the world run. They wait without a bound."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def result(self, timeout: float | None = None) -> T:
        self._scheduler.block(self.done)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._scheduler.block(self.done)
        return super().exception(0)


class SimulatedExecutor(Executor):
    """Starts a thread for each task while fewer than ``workers`` run; each takes further tasks until there is none."""

    def __init__(self, scheduler: Scheduler, process: Owner, workers: int, name: str) -> None:
        self._scheduler, self._process, self._name = scheduler, process, name
        self._free = list(range(workers, 0, -1))
        self._workers, self._tasks, self._is_open = workers, deque[Task](), True

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if not self._is_open:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = SimulatedFuture[T](self._scheduler)
        self._tasks.append((future, fn, args, kwargs))
        if self._free:
            number = self._free.pop()
            self._scheduler.start(self._process, f"{self._name}-{number}", lambda: self._work(number))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._is_open = False
        if cancel_futures:
            for future, *_ in self._tasks:
                future.cancel()
        if wait and self._scheduler.is_inside:
            self._scheduler.block(lambda: len(self._free) == self._workers)

    def _work(self, number: int) -> None:
        try:
            while self._tasks:
                _carry_out(self._tasks.popleft())
                self._scheduler.turn()
        finally:
            self._free.append(number)


def _carry_out(task: Task) -> None:
    future, function, args, kwargs = task
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  (as ThreadPoolExecutor does: the caller of ``result`` gets it)
        future.set_exception(error)
    else:
        future.set_result(result)


class SimulatedLock:
    """A lock, or with ``reentrant`` one that its owner may take again."""

    def __init__(self, scheduler: Scheduler, *, reentrant: bool = False) -> None:
        self._scheduler, self._reentrant = scheduler, reentrant
        self._owner: SimulatedThread | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = self._scheduler.me
        if not (self._reentrant and self._owner is me):
            self._scheduler.turn()
            if not blocking and self._owner is not None:
                return False
            if not self._became_free(timeout):
                return False
        self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        me = self._scheduler.me
        if self._reentrant and self._owner is not me:
            if self._scheduler.is_ending(me):  # it was killed while it waited in a condition
                return
            raise RuntimeError("cannot release un-acquired lock")
        self._depth -= 1
        if self._depth <= 0:
            self._owner, self._depth = None, 0

    def locked(self) -> bool:
        return self._owner is not None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _became_free(self, timeout: float) -> bool:
        if timeout < 0:
            self._scheduler.block(self._is_free)
        else:
            deadline = self._scheduler.now + timeout
            while self._owner is not None and self._scheduler.now < deadline:
                self._scheduler.sleep(deadline - self._scheduler.now, self._is_free)
        return self._is_free()

    def _is_free(self) -> bool:
        return self._owner is None


class SimulatedCondition(SimulatedLock):
    """A ``Condition`` with a reentrant lock of its own. Who waits goes on only if notified, as with a real one."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler, reentrant=True)
        self._waiting: list[list[bool]] = []

    def wait(self, timeout: float | None = None) -> bool:
        me, depth, notified = self._scheduler.me, self._depth, [False]
        self._waiting.append(notified)
        self._owner, self._depth = None, 0
        if timeout is None:
            self._scheduler.block(lambda: notified[0])
        else:
            self._scheduler.sleep(timeout, lambda: notified[0])
        self._scheduler.block(self._is_free)
        self._owner, self._depth = me, depth
        return notified[0]

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        deadline = None if timeout is None else self._scheduler.now + timeout
        while not (result := predicate()):
            if deadline is not None and self._scheduler.now >= deadline:
                break
            self.wait(None if deadline is None else deadline - self._scheduler.now)
        return result

    def notify(self, n: int = 1) -> None:
        for notified in self._waiting[:n]:
            notified[0] = True
        del self._waiting[:n]

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class SimulatedThreads:
    """The ``Threads`` of one process."""

    def __init__(self, scheduler: Scheduler, process: Owner) -> None:
        self._scheduler, self._process = scheduler, process

    def lock(self) -> SimulatedLock:
        return SimulatedLock(self._scheduler)

    def reentrant_lock(self) -> SimulatedLock:
        return SimulatedLock(self._scheduler, reentrant=True)

    def condition(self) -> SimulatedCondition:
        return SimulatedCondition(self._scheduler)

    def executor(self, workers: int, name: str) -> Executor:
        return SimulatedExecutor(self._scheduler, self._process, workers, name)

    def wait(self, futures: Collection[Future[Any]]) -> None:
        """Return when all are done."""
        self._scheduler.block(lambda: all(future.done() for future in futures))

    def as_completed(self, futures: Collection[Future[T]]) -> Iterator[Future[T]]:
        """Yield each when it is done."""
        left = list(futures)
        while left:
            done = self._some_done(left)
            left = [future for future in left if future not in done]
            yield from done

    def _some_done(self, futures: list[Future[T]]) -> list[Future[T]]:
        self._scheduler.block(lambda: any(future.done() for future in futures))
        return [future for future in futures if future.done()]
