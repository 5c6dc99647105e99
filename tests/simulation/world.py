"""``World``: one machine, one market, one store and the people who use it, carrying out one story."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.counts import Counts
from tests.simulation.databases import ModelledDatabases
from tests.simulation.disk.model import ModelledDisk
from tests.simulation.machine_events import EVENTS
from tests.simulation.outcome import Outcome
from tests.simulation.process import Process
from tests.simulation.scheduler import Killed, Scheduler, Stuck
from tests.simulation.simulated_machine import machine_of
from tests.simulation.story import Step, Story

if TYPE_CHECKING:
    from tests.simulation.pipelines import SimulatedPipeline

FIRST_NUMBER: Final = 1000
NUMBERS_OF_A_STEP: Final = 20
Act = Callable[["SimulatedPipeline"], Any]


class World:
    """Carries out the steps of a story, and asks the oracle after each.

    ``clock`` tells the true time. ``outcomes`` are those of all steps so far. ``skew`` is by how many seconds the clock
    of the machine is ahead, and ``standing`` whether it stands still; new processes have it. ``damaged`` has what
    somebody did to a file from outside, by path: "rotted", "removed" or "replaced".
    """

    def __init__(self, story: Story) -> None:
        from tests.simulation.ledger import Ledger
        from tests.simulation.market import Market
        from tests.simulation.oracle.oracle import Oracle

        self.story = story
        self.scheduler = Scheduler(f"{story.seed}/schedule", story.traits.patience)
        self.clock = WorldClock(self.scheduler, Timestamp.parse(story.traits.begins))
        self.counts, self.market, self.ledger = Counts(), Market(story), Ledger()
        self.skew, self.standing, self.boot = story.traits.skew, False, 1
        self.disk = ModelledDisk(story.traits.disk, self._file_time_ns, str(story.seed))
        self.databases = ModelledDatabases(self.disk)
        self.outcomes: list[Outcome] = []
        self.damaged: dict[str, str] = {}
        self._living: list[Process] = []
        self._step, self._started = Step(0, story.traits.begins, "begin"), 0
        self.oracle = Oracle(self)
        self.counts.begin(story)

    def close(self) -> None:
        """End the real threads and remove the real files of the world."""
        self.scheduler.close()
        self.databases.close()

    def carry_out(self, step: Step) -> Outcome:
        """Carry out a step and those beside it, when its time has come.

        Its kind is that of an event of the machine, of a command, ``COMMANDS[kind](world, pipeline, step)``, which
        returns what the command has returned, or of a change of the market.
        """
        from tests.simulation.people import COMMANDS

        self._begin(step)
        if step.kind in EVENTS:
            outcome = self._happened(step, partial(EVENTS[step.kind], self))
        elif step.kind in COMMANDS:
            outcome = self._ran([(each, partial(_acting, self, each)) for each in (step, *step.beside)])
        else:
            outcome = self._happened(step, self.market.change)
        self.outcomes.append(outcome)
        self.counts.add(outcome)
        return outcome

    def check(self, depth: Literal["step", "day"]) -> list[str]:
        """Return what the oracle finds, as sentences that begin with the name of their check."""
        if not self.scheduler.failures:
            found = self.oracle.check(self.outcomes[-1], depth)
            if found:
                return found
        return [f"ends: {failure}" for failure in self.scheduler.failures]

    def ask(self, act: Act) -> Outcome:
        """Let a new process without faults carry out ``act`` with a new pipeline. It is no step, and is not counted."""
        return self._ran([(Step(self._step.number, self._step.at, "ask"), act)])

    def processes(self) -> list[Process]:
        """Return the processes that live."""
        return [process for process in self._living if not process.dead]

    def new_process(self, step: Step) -> Process:
        """Start a process with the faults of the step."""
        self._started += 1
        number = FIRST_NUMBER + self._step.number * NUMBERS_OF_A_STEP + self._started
        process = Process(self.scheduler, number, self.clock.start, self.skew).with_faults(step.faults)
        if self.standing:
            process.clock.standing = process.clock.now()
        process.runs_on(machine_of(self, process, f"{self.story.seed}/{self._step.number}/{self._started}"))
        process.at_death += [self.disk.end, self.databases.end, self._living.remove]
        self._living.append(process)
        return process

    def lose_power(self, draw: Random) -> list[str]:
        """End all processes, lose what is not synced, and return what was lost, in words."""
        for process in self.processes():
            process.kill()
            process.end()
        self.boot += 1
        lost = [*self.disk.lose_power(draw), *self.databases.lose_power(draw)]
        self.counts.lost(lost)
        return lost

    def draw(self, what: str = "") -> Random:
        """Return a generator for the step that is carried out: it depends on no other step."""
        return Random(f"{self.story.seed}/{self._step.number}/{what}")

    def _file_time_ns(self) -> int:
        """Files get the time of the machine, be it right or not."""
        return self.clock.now_ns() + int(self.skew * 1e9)

    def _begin(self, step: Step) -> None:
        self._step, self._started = step, 0
        self.scheduler.now = max(self.scheduler.now, self.clock.seconds_to(Timestamp.parse(step.at)))
        self.scheduler.reseed(f"{self.story.seed}/{step.number}/schedule")

    def _happened(self, step: Step, act: Callable[[Step], str]) -> Outcome:
        began = self.clock.now()
        return Outcome(step, "happened", began, self.clock.now(), value=act(step))

    def _ran(self, acts: list[tuple[Step, Act]]) -> Outcome:
        """Run each act in a process of its own, all at once, until all have ended."""
        runs = [_Run(self, step, act, self.new_process(step)) for step, act in acts]
        for run in runs:
            self.scheduler.start(run.process, "main", run.main)
        self.scheduler.run()
        beside = tuple(run.outcome() for run in runs[1:])
        return runs[0].outcome(beside)


def _acting(world: World, step: Step, pipeline: SimulatedPipeline) -> Any:
    from tests.simulation.people import COMMANDS

    return COMMANDS[step.kind](world, pipeline, step)


class _Run:
    """One act in a process of its own."""

    def __init__(self, world: World, step: Step, act: Act, process: Process) -> None:
        self._world, self._step, self._act, self.process = world, step, act, process
        self._began = self._over = world.clock.now()
        self._ended, self._value = "stuck", None
        self._error: Exception | None = None

    def main(self) -> None:
        from tests.simulation.pipelines import new_pipeline

        try:
            with new_pipeline(self._world, self.process) as pipeline:
                self.process.on_stop = pipeline.stop
                self._value = self._act(pipeline)
            self._ended = "returned"
        except Killed:
            self._ended = "killed"
        except Stuck:
            self._ended = "stuck"
        except Exception as error:  # noqa: BLE001  (the oracle judges which errors may be raised)
            self._ended, self._error = "raised", error
        self._over = self._world.clock.now()

    def outcome(self, beside: tuple[Outcome, ...] = ()) -> Outcome:
        happened = tuple(fault.text() for fault in self.process.happened)
        ended = "killed" if self.process.was_killed else self._ended
        times = self._began, self._over
        calls, error = self.process.calls, self._error
        return Outcome(self._step, ended, *times, self.process.name, self._value, error, calls, happened, beside)


class WorldClock:
    """The true time of a world. ``start`` is when its story begins."""

    def __init__(self, scheduler: Scheduler, start: Timestamp) -> None:
        self._scheduler, self.start = scheduler, start

    def now(self) -> Timestamp:
        return self.start.plus(timedelta(seconds=self._scheduler.now))

    def now_ns(self) -> int:
        return self.start.epoch_micros * 1000 + int(self._scheduler.now * 1e9)

    def seconds_to(self, moment: Timestamp) -> float:
        """Return how many seconds after the beginning of the story this is."""
        return (moment.epoch_micros - self.start.epoch_micros) / 1e6
