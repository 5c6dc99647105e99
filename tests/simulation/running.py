"""Runs one story in a world of its own, from its first step to its last or to the first that breaks a promise."""

from __future__ import annotations

import gc
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from attrs import field, frozen

from tests.simulation.machine_events import STORE
from tests.simulation.outcome import Outcome
from tests.simulation.story import Step, Story
from tests.simulation.watchdog import watched
from tests.simulation.world import World

Tell = Callable[[str], None]
CHECKED_AFTER_A_KILL: Final = 0.25
"""How often the full check follows a command that was killed."""


@frozen
class Result:
    """How a story ended. ``failures`` are sentences that begin with the name of a check; ``step`` is where it ended.

    ``weeks`` are those for which its store was kept current; ``seconds`` is the processor time that it took. ``trace``
    is a digest of all calls, ``files`` one of the bytes of all files at the end, but for those of the state.
    """

    story: Story
    failures: tuple[str, ...]
    step: int
    weeks: float
    calls: int
    trace: str
    seconds: float
    counts: Mapping[str, int] = field(factory=dict)
    files: str = ""

    @property
    def checks(self) -> frozenset[str]:
        """The names of the checks that failed."""
        return frozenset(failure.partition(":")[0] for failure in self.failures)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data, without the story, which its seed draws again."""
        return {
            "seed": self.story.seed,
            "failures": list(self.failures),
            "step": self.step,
            "weeks": self.weeks,
            "calls": self.calls,
            "trace": self.trace,
            "files": self.files,
            "seconds": round(self.seconds, 3),
            "counts": dict(sorted(self.counts.items())),
        }


def run(story: Story, tell: Tell | None = None, *, verbose: bool = False) -> Result:
    """Carry out a story and check it. ``tell`` gets a line for each step, and with ``verbose`` one for each call."""
    began = time.process_time()
    with undisturbed():
        world = World(story)
        if verbose and tell is not None:
            heard = tell
            world.scheduler.heard = lambda call: heard("        " + call.rstrip())
        try:
            with watched(lambda: world.scheduler.calls):
                failures, last = _carried_out(world, tell)
            calls, trace, counts = world.scheduler.calls, world.scheduler.trace, Counter(world.counts.counted)
            files = _digest_of(world.disk.files(STORE))
        finally:
            world.close()
    weeks = _weeks(story, last)
    return Result(story, tuple(failures), last, weeks, calls, trace, time.process_time() - began, counts, files)


def _carried_out(world: World, tell: Tell | None) -> tuple[list[str], int]:
    steps, last = world.story.steps, 0
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        last = step.number
        outcome = world.carry_out(step)
        failures = world.check("step")
        if not failures and _is_checked_fully(world.story, step, following, outcome):
            failures = world.check("day")
        if tell is not None:
            tell(_line_of(outcome, world.story.day_of(step)))
        if failures:
            return failures, last
    return [], last


def _is_checked_fully(story: Story, step: Step, following: Step | None, outcome: Outcome) -> bool:
    if following is None or following.at[:10] != step.at[:10]:
        return True
    killed = any(each.ended == "killed" for each in outcome.all())
    return killed and Random(f"{story.seed}/{step.number}/check").random() < CHECKED_AFTER_A_KILL


def _line_of(outcome: Outcome, day: int) -> str:
    ends = []
    for each in outcome.all():
        error = "" if each.error is None else f": {type(each.error).__name__}: {each.error}"
        value = f": {each.value}" if isinstance(each.value, str) else ""
        faults = f" ({', '.join(each.happened)})" if each.happened else ""
        ends.append(f"{each.ended}{error}{value}{faults}")
    return f"{outcome.step.number:>4} day {day}: {outcome.over} {outcome.step.text()} -> {' | '.join(ends)}"


def _digest_of(files: Mapping[str, bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(files):
        if not path.startswith(f"{STORE}/state/"):
            digest.update(f"{path} {len(files[path])}\n".encode("utf-8", "surrogateescape") + files[path])
    return digest.hexdigest()


def _weeks(story: Story, last: int) -> float:
    """Return for how many weeks of five sessions the store was kept current: days with an update, by five."""
    steps = (each for step in story.steps if step.number <= last for each in step.all())
    return len({step.at[:10] for step in steps if step.kind == "update"}) / 5


@contextmanager
def undisturbed() -> Iterator[None]:
    """Collect no garbage and log nothing inside: finalizers would close descriptors at moments that no seed draws."""
    collects, disabled = gc.isenabled(), logging.root.manager.disable
    gc.collect()
    gc.disable()
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        if collects:
            gc.enable()
        gc.collect()
