"""``Process``: one simulated process of the machine. Every call of a port by it goes through ``Process.call``."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from tests.simulation.scheduler import Killed, Scheduler
from tests.simulation.story import Fault

LONGEST_PAUSE = 7200.0


class ProcessClock:
    """The ``Clock`` of one process: the true time plus ``skew``; ``monotonic`` is always right.

    ``standing`` holds ``now`` where it is.
    """

    def __init__(self, process: Process, start: Timestamp, skew: float = 0.0) -> None:
        self._process, self._start, self.skew = process, start, skew
        self.standing: Timestamp | None = None
        self._interrupted = False

    def true_now(self) -> Timestamp:
        return self._start.plus(timedelta(seconds=self._process.scheduler.now))

    def now(self) -> Timestamp:
        return self.standing or self.true_now().plus(timedelta(seconds=self.skew))

    def monotonic(self) -> float:
        return self._process.scheduler.now

    def sleep(self, seconds: float) -> None:
        """Let time pass. Raises ``IngestionInterrupted`` if ``interrupt`` was or is called."""
        self._process.call("sleep", f"{seconds:.6f}")
        if not self._interrupted:
            self._process.scheduler.sleep(seconds, lambda: self._interrupted)
        if self._interrupted:
            raise IngestionInterrupted("asked to stop")

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def interrupt(self) -> None:
        self._interrupted = True

    def resume(self) -> None:
        self._interrupted = False


class Process:
    """One process: a number, a start, a clock, whether it lives, and the faults that wait for its calls.

    ``on_stop`` is what a signal handler would do.
    """

    def __init__(self, scheduler: Scheduler, number: int, start: Timestamp, skew: float = 0.0) -> None:
        self.scheduler, self.number, self.name = scheduler, number, f"p{number}"
        self.started = int(scheduler.now * 100)
        self.clock = ProcessClock(self, start, skew)
        self.dead = self.was_killed = False
        self._machine: Machine | None = None
        self.faults: list[Fault] = []
        self.happened: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.on_stop: Callable[[], None] = lambda: None
        self.at_death: list[Callable[[Process], None]] = []
        self.resumes: float = 0.0

    def runs_on(self, machine: Machine) -> None:
        self._machine = machine

    def machine(self) -> Machine:
        """Return the machine that it runs on. Raises ``AssertionError`` if it runs on none."""
        assert self._machine is not None
        return self._machine

    def with_faults(self, faults: Sequence[Fault]) -> Process:
        self.faults = list(faults)
        return self

    def call(self, kind: str, target: str = "") -> Fault | None:
        """Count the call, carry out the fault that is due, and let others run before it.

        Returns a due fault that only the caller can carry out. Raises ``Killed`` in a dead process, and ``OSError`` for
        a fault of the kind "errno".
        """
        self.scheduler.call(self, kind, target)
        name = f"{kind} {target}" if kind == "sql" else kind
        self.calls[name] += 1
        return self._due(name, target) if self.faults else None

    def _due(self, name: str, target: str) -> Fault | None:
        for fault in self.faults:
            if fault.call == name and fault.nth == self.calls[name]:
                self.faults.remove(fault)
                self.happened.append(fault)
                return self._carry_out(fault, target)
        return None

    def _carry_out(self, fault: Fault, target: str) -> Fault | None:
        kind, _, which = fault.kind.partition(":")
        if kind == "kill":
            self.kill()
            raise Killed(f"{self.name} was killed")
        if kind == "errno":
            raise OSError(code := getattr(errno, which), os.strerror(code), target)
        if kind not in ("stop", "pause", "clock"):
            return fault
        if kind == "stop":
            self._stop()
        elif kind == "pause":
            self.resumes = self.scheduler.now + float(fault.detail or LONGEST_PAUSE)
            self.scheduler.turn()
        else:
            self.clock.skew += float(fault.detail)
        return None

    def _stop(self) -> None:
        """Call ``on_stop`` as a signal handler on the main thread, or else on a thread of its own."""
        if self.scheduler.me.name == "main":
            self.on_stop()
        else:
            self.scheduler.start(self, "stop", self.on_stop)

    def kill(self) -> None:
        """Let every further call of this process raise ``Killed``; its threads end as they are scheduled."""
        self.dead = self.was_killed = True

    def end(self) -> None:
        """Release what the system releases when the last thread of a process has ended."""
        self.dead = True
        for act in self.at_death:
            act(self)
