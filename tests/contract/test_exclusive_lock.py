"""The contract of the port ``ExclusiveLock``, for the lock on a file and for the fake in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe.ingestion.application.ports import ExclusiveLock
from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
from marketpipe.shared_kernel.domain.errors import StoreBusyError
from tests.simulation.disk.model import PLACE
from tests.simulation.modelled_states import ModelledComputer
from tests.support.in_memory_exclusive_lock import InMemoryExclusiveLock

NewLock = Callable[[bool], ExclusiveLock]
"""Make another lock on the same resource; it waits if the argument is true."""
TIMEOUT_SECONDS = 20
A_MOMENT = 0.2
HOLDER = "a collection of this store"
"""What every lock calls its holder."""


def _on_a_file(folder: Path) -> NewLock:
    return lambda waits: ExclusiveFileLock(folder / "lock", waits=waits, holder=HOLDER)


def _on_a_modelled_file(_: Path) -> NewLock:
    """Each lock is one of another process."""
    computer, path = ModelledComputer(), Path(PLACE) / "lock"
    computer.close()  # it has no databases, and keeps its disk
    return lambda waits: ExclusiveFileLock(path, waits=waits, holder=HOLDER, machine=computer.process()[0])


def _in_memory(_: Path) -> NewLock:
    shared = threading.Lock()
    return lambda waits: InMemoryExclusiveLock(shared, waits=waits, holder=HOLDER)


@pytest.fixture(params=[_on_a_file, _on_a_modelled_file, _in_memory])
def new_lock(request: pytest.FixtureRequest, tmp_path: Path) -> NewLock:
    made: NewLock = request.param(tmp_path)
    return made


def test_a_lock_that_does_not_wait_refuses_at_once_while_it_is_held(new_lock: NewLock) -> None:
    lock, other = new_lock(False), new_lock(False)

    with lock.acquired():
        for refused in (lock, other):
            with pytest.raises(StoreBusyError, match=f"{HOLDER} is running"), refused.acquired():
                pytest.fail("two holders at once")


@pytest.mark.parametrize("waits", [False, True])
def test_a_released_lock_can_be_held_again(new_lock: NewLock, waits: bool) -> None:
    lock = new_lock(waits)

    for holder in (lock, new_lock(waits), lock):
        with holder.acquired():
            """Free again."""


@pytest.mark.parametrize("waits", [False, True])
def test_an_error_releases_the_lock(new_lock: NewLock, waits: bool) -> None:
    with pytest.raises(KeyError), new_lock(waits).acquired():
        raise KeyError

    with new_lock(False).acquired():
        """Free again."""


def test_a_lock_that_waits_is_held_as_soon_as_it_is_released(new_lock: NewLock) -> None:
    held = threading.Event()

    def wait() -> None:
        with new_lock(True).acquired():
            held.set()

    waiting = threading.Thread(target=wait)
    with new_lock(False).acquired():
        waiting.start()
        assert not held.wait(A_MOMENT)

    assert held.wait(TIMEOUT_SECONDS)
    waiting.join(TIMEOUT_SECONDS)


def test_locks_that_wait_let_one_in_at_a_time(new_lock: NewLock) -> None:
    inside, most = list[int](), list[int]()

    def work(number: int) -> None:
        for _ in range(20):
            with new_lock(True).acquired():
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_SECONDS)

    assert (max(most), len(most)) == (1, 80)
