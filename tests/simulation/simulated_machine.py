"""What a simulated process has of its machine: the ports of the product, carried out by the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from tests.simulation.pool import SimulatedThreads
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

PROCESSORS = 2


class SimulatedProcesses:
    """The ``Processes`` of one process: who lives on this machine, since when, and which boot this is."""

    def __init__(self, process: Process, boot: int, living: Callable[[], Iterable[Process]]) -> None:
        self._process, self._boot, self._living = process, boot, living

    def number(self) -> int:
        return self._process.number

    def place(self) -> tuple[str, str, str]:
        return "5eed5eed", f"b007{self._boot:04x}", "f00d"

    def start_of(self, number: int, /) -> int | None:
        self._process.call("process", str(number))
        return next((other.started for other in self._living() if other.number == number and not other.dead), None)

    def file_system_of(self, path: Path, /) -> str | None:
        return "ext4"


def machine_of(world: World, process: Process, seed: str) -> Machine:
    """Return the machine for a process; its names and its jitter depend on this seed alone."""
    names, jitter = Random(f"{seed}/names"), Random(f"{seed}/jitter")

    def pause(seconds: float) -> None:
        process.call("pause", f"{seconds:.6f}")
        process.scheduler.sleep(seconds)

    return Machine(
        disk=world.disk.of(process),
        threads=SimulatedThreads(world.scheduler, process),
        processes=SimulatedProcesses(process, world.boot, world.processes),
        connect=world.databases.connect(process),
        monotonic=lambda: world.scheduler.now,
        pause=pause,
        uniform=jitter.uniform,
        new_name=lambda: f"{names.getrandbits(128):032x}",
        processors=PROCESSORS,
        numbers=count(1),
    )
