"""States and locks on a modelled machine, outside of a world: for the contracts that each adapter of a port keeps."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field

from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from tests.simulation.databases import ModelledDatabases
from tests.simulation.disk.failing import FailingProcess
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.traits import DiskTraits

STATE: Final = Path(PLACE) / "state" / "marketpipe.sqlite"


class _Unscheduled(FailingProcess):
    """A process that no scheduler interleaves with others: it waits in real time."""

    now = property(lambda _: time.monotonic())
    sleep = staticmethod(time.sleep)


class _OneAtATime:
    """A disk that real threads use: the model is made for one at a time."""

    def __init__(self, disk: Disk, lock: threading.RLock) -> None:
        self._disk, self._lock = disk, lock

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            with self._lock:
                return getattr(self._disk, name)(*values, **options)

        return call

    def flock(self, fd: int, operation: int, /) -> None:
        """Wait without the model: others have to release theirs meanwhile."""
        while True:
            try:
                with self._lock:
                    return self._disk.flock(fd, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if operation & fcntl.LOCK_NB:
                    raise
            time.sleep(0.001)


def processes_without_a_state() -> Iterator[Machine]:
    """Yield the machines of processes that share one modelled disk."""
    disk, lock, living = ModelledDisk(DiskTraits(), time.time_ns, "1"), threading.RLock(), dict[int, int]()
    while True:
        machine = _Unscheduled(living).machine(disk)
        shared: Any = _OneAtATime(machine.disk, lock)
        yield evolve(machine, disk=shared)


@define(eq=False)
class ModelledComputer:
    """One machine with processes that are not scheduled."""

    disk: ModelledDisk = field(factory=lambda: ModelledDisk(DiskTraits(), time.time_ns, "1"))
    databases: ModelledDatabases = field(init=False)
    _living: dict[int, int] = field(factory=dict)
    _lock: threading.RLock = field(factory=threading.RLock)

    @databases.default
    def _new_databases(self) -> ModelledDatabases:
        return ModelledDatabases(self.disk)

    def process(self) -> tuple[Machine, Callable[[], None]]:
        """Start a process. Return its machine, and what ends it as if it was killed."""
        process: Any = _Unscheduled(self._living)
        machine: Machine = process.machine(self.disk)
        disk: Any = _OneAtATime(machine.disk, self._lock)

        def end() -> None:
            process.end()
            self.disk.end(process)
            self.databases.end(process)

        return evolve(machine, disk=disk, connect=self.databases.connect(process)), end

    def close(self) -> None:
        self.databases.close()


class ModelledState(SQLiteState):
    """The real state, on a machine of its own that is gone when it is closed."""

    def __init__(self, location: str = "../data") -> None:
        self._computer = ModelledComputer()
        super().__init__(STATE, location, machine=self._computer.process()[0])

    def close(self) -> None:
        super().close()
        self._computer.close()
