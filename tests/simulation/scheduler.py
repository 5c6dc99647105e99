"""``Scheduler``: real threads, of which exactly one runs at any moment; the seed picks the next one at each call."""

from __future__ import annotations

import hashlib
import sys
import threading
import traceback
from collections.abc import Callable
from math import inf
from random import Random
from typing import Protocol

from attrs import define, field

CALL_SECONDS = 0.000_05
"""What one call takes on the world's clock."""
MOST_CALLS = 200_000
MOST_SECONDS = 12 * 3600.0


class Killed(BaseException):
    """The process has died at this call. Nothing of the product catches it."""


class Stuck(BaseException):
    """No thread of the world can go on and none sleeps, or they go on for longer than any command may."""


class Owner(Protocol):
    """What the scheduler needs to know of a process. It is not run before ``resumes``."""

    name: str
    dead: bool
    resumes: float

    def end(self) -> None:
        """Release what it holds. Called once, when its last thread has ended."""


def _held() -> threading.Lock:
    gate = threading.Lock()
    gate.acquire()
    return gate


@define(eq=False)
class _Carrier:
    """A real thread, which carries one simulated thread after the other. ``gate`` opens when it may go on."""

    gate: threading.Lock = field(factory=_held)
    carried: SimulatedThread | None = None


@define(eq=False)
class SimulatedThread:
    """What one thread waits for: ``until`` is true, or the time ``wakes``."""

    process: Owner
    name: str
    act: Callable[[], None]
    carrier: _Carrier
    until: Callable[[], bool] | None = None
    wakes: float | None = None

    def earliest(self, now: float, *, stuck: bool) -> float:
        """Return when it can go on: ``now`` or earlier means at once, infinity only if others do something."""
        if stuck or self.process.dead:
            return 0.0
        if self.until is not None and self.until():
            return self.process.resumes
        if self.wakes is not None:
            return max(self.wakes, self.process.resumes)
        return inf if self.until is not None else self.process.resumes


class Scheduler:
    """``patience`` says how often the same thread goes on at a call; ``now`` are seconds since the world began.

    ``heard`` is told every call, as text. After ``run``, ``failures`` say why the world was stuck, with the stacks of
    its threads, and which threads ended with an error that nobody has.
    """

    def __init__(self, seed: str, patience: float) -> None:
        self.now, self.patience, self.calls, self.choices = 0.0, patience, 0, 0
        self.heard: Callable[[str], None] | None = None
        self.failures: list[str] = []
        self._random, self._digest, self._local = Random(seed), hashlib.blake2b(digest_size=16), threading.local()
        self._threads: list[SimulatedThread] = []
        self._idle: list[_Carrier] = []
        self._over, self._stuck, self._last = _held(), False, (MOST_CALLS, MOST_SECONDS)

    @property
    def trace(self) -> str:
        """A digest of every call so far and who made it, in their order."""
        return self._digest.hexdigest()

    @property
    def me(self) -> SimulatedThread:
        """The thread that runs. Raises ``AttributeError`` in a thread that the scheduler has not started."""
        thread: SimulatedThread = self._local.me
        return thread

    @property
    def is_inside(self) -> bool:
        """Whether the caller is a thread of the world."""
        return getattr(self._local, "me", None) is not None

    def reseed(self, seed: str) -> None:
        """Let all further choices depend on this seed alone, whatever was chosen before."""
        self._random = Random(seed)

    def start(self, process: Owner, name: str, act: Callable[[], None]) -> None:
        """Start a thread of the process, which begins when it is picked."""
        carrier = self._idle.pop() if self._idle else self._new_carrier()
        carrier.carried = SimulatedThread(process, name, act, carrier)
        self._threads.append(carrier.carried)

    def call(self, process: Owner, kind: str, target: str) -> None:
        """Let others run before this call. Raises ``Killed`` if the process is dead, and ``Stuck``."""
        me: SimulatedThread = self._local.me
        self._check(me)
        self.calls += 1
        self.now += CALL_SECONDS
        said = f"{process.name}/{me.name} {kind} {target}\n"
        self._digest.update(said.encode("utf-8", "surrogateescape"))
        if self.heard is not None:
            self.heard(said)
        if self.calls > self._last[0] or self.now > self._last[1]:
            self._get_stuck(f"this goes on for too long: {self.calls} calls, {self.now:.0f} seconds")
        self.turn()

    def turn(self) -> None:
        """Let another thread run now, as often as ``patience`` says."""
        me: SimulatedThread = self._local.me
        if me.process.resumes > self.now or (len(self._threads) > 1 and self._random.random() >= self.patience):
            self._pass_on(me)
            self._check(me)

    def block(self, until: Callable[[], bool]) -> None:
        """Let others run until it is true."""
        me: SimulatedThread = self._local.me
        self._check(me)
        while not until():
            me.until = until
            self._pass_on(me)
            self._check(me)

    def sleep(self, seconds: float, woken: Callable[[], bool] | None = None) -> None:
        """Let others run until the time has come, or until it is ``woken``."""
        me: SimulatedThread = self._local.me
        self._check(me)
        me.wakes, me.until = self.now + max(seconds, 0.0), woken
        self._pass_on(me)
        self._check(me)

    def run(self) -> None:
        """Run until no thread is left; if none can go on, all raise ``Stuck``."""
        self._last, self._stuck = (self.calls + MOST_CALLS, self.now + MOST_SECONDS), False
        if self._threads:
            self._pass_on(None)
            self._over.acquire()

    def close(self) -> None:
        """End the real threads."""
        for carrier in self._idle:
            carrier.carried = None
            carrier.gate.release()
        self._idle.clear()

    def is_ending(self, me: SimulatedThread) -> bool:
        """Whether the thread is on its way out: it does nothing more than its ``finally`` blocks."""
        return self._stuck or me.process.dead

    def _check(self, me: SimulatedThread) -> None:
        if self._stuck:
            raise Stuck
        if me.process.dead:
            raise Killed

    def _get_stuck(self, why: str) -> None:
        self._stuck = True
        stacks = (traceback.format_stack(frame) for frame in sys._current_frames().values())
        carried = (lines[-14:] for lines in stacks if len(lines) > 5 and any(", in _carry\n" in line for line in lines))
        self.failures.append(f"{why}\n" + "\n--\n".join("".join(lines) for lines in carried))

    def _pass_on(self, me: SimulatedThread | None) -> None:
        """Pick the thread that goes on, and wait until ``me`` is picked again."""
        chosen = self._chosen()
        chosen.until = chosen.wakes = None
        if chosen is not me:
            chosen.carrier.gate.release()
            if me is not None:
                me.carrier.gate.acquire()

    def _chosen(self) -> SimulatedThread:
        now, stuck, first, ready = self.now, self._stuck, inf, list[SimulatedThread]()
        for thread in self._threads:
            earliest = thread.earliest(now, stuck=stuck)
            first = min(first, earliest)
            if earliest <= now:
                ready.append(thread)
        if len(ready) == 1:
            return ready[0]
        if ready:
            self.choices += 1
            return ready[self._random.randrange(len(ready))]
        if first == inf:
            self._get_stuck("no thread can go on")
        else:
            self.now = first
        return self._chosen()

    def _new_carrier(self) -> _Carrier:
        carrier = _Carrier()
        threading.Thread(target=self._carry, args=(carrier,), daemon=True).start()
        return carrier

    def _carry(self, carrier: _Carrier) -> None:
        while True:
            carrier.gate.acquire()
            thread, carrier.carried = carrier.carried, None
            if thread is None:
                return
            self._local.me = thread
            try:
                self._check(thread)
                thread.act()
            except (Killed, Stuck):
                pass
            except BaseException:  # noqa: BLE001  (whatever the thread has raised: nobody else would see it)
                self.failures.append(f"{thread.process.name}/{thread.name}: {traceback.format_exc()}")
            self._ended(thread)
            del thread

    def _ended(self, thread: SimulatedThread) -> None:
        self._threads.remove(thread)
        if not any(other.process is thread.process for other in self._threads):
            thread.process.end()
        self._local.me = None
        self._idle.append(thread.carrier)
        if self._threads:
            self._pass_on(None)
        else:
            self._over.release()
