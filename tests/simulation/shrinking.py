"""``Shrinker``: makes a failing story shorter and simpler, as long as the same check fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import evolve

from tests.simulation.running import Result
from tests.simulation.story import Fault, Step, Story
from tests.simulation.traits import DiskTraits

MOST_RUNS: Final = 120
Run = Callable[[Story], Result]
SIMPLEST: Final[tuple[dict[str, object], ...]] = (
    {"patience": 1.0},
    {"skew": 0.0},
    {"disk": DiskTraits()},
    {"timeframes": ()},
    {"copies": "none"},
    {"workers": 1},
    {"session": "regular"},
    {"adjustment": "raw"},
)


class Shrinker:
    """``run`` carries out a story; ``tell`` is told what has become of it after each step that helped."""

    def __init__(self, run: Run, tell: Callable[[str], None] | None = None, most_runs: int = MOST_RUNS) -> None:
        self._run, self._tell, self._left = run, tell or _tell_nobody, most_runs

    def shrunk(self, failed: Result) -> Result:
        """Return the result of the shortest story found in which a check fails that has failed in this one."""
        best, before = failed, None
        while best is not before and self._left > 0:
            before = best
            for attempts in (_cut_off, _shorter, _alone, _without_faults, _without_symbols, _plain_traits, _earlier):
                best = self._improved(best, attempts)
        return best

    def _improved(self, best: Result, attempts: Callable[[Result], Iterator[Story]]) -> Result:
        """Try all attempts; each that fails in the same way is the next to begin from."""
        found = True
        while found:
            found = False
            for story in attempts(best):
                if self._left <= 0:
                    return best
                self._left -= 1
                result = self._run(story)
                if result.checks & best.checks:
                    best, found = result, True
                    self._tell(f"{len(story.steps)} steps, {_faults(story)} faults, {len(story.symbols)} symbols")
                    break
        return best


def _tell_nobody(line: str) -> None:
    pass


def _faults(story: Story) -> int:
    return sum(len(each.faults) for step in story.steps for each in step.all())


def _cut_off(result: Result) -> Iterator[Story]:
    """Drop the steps after the failure."""
    kept = tuple(step for step in result.story.steps if step.number <= result.step)
    if len(kept) < len(result.story.steps):
        yield evolve(result.story, steps=kept)


def _shorter(result: Result) -> Iterator[Story]:
    """Drop a half of the steps, a quarter and so on, down to single ones; the latest are tried first."""
    steps = result.story.steps
    size = len(steps) // 2
    while size:
        for start in range(len(steps) - size, -1, -size):
            yield evolve(result.story, steps=(*steps[:start], *steps[start + size :]))
        size //= 2


def _alone(result: Result) -> Iterator[Story]:
    """Let no command run beside another, or let one of them run instead."""
    for number, step in enumerate(result.story.steps):
        if step.beside:
            yield _with(result.story, number, evolve(step, beside=()))
            yield from (_with(result.story, number, evolve(other, number=step.number)) for other in step.beside)


def _without_faults(result: Result) -> Iterator[Story]:
    for number, step in enumerate(result.story.steps):
        for position in range(len(step.faults)):
            yield _with(result.story, number, evolve(step, faults=_without(step.faults, position)))
        for position, other in enumerate(step.beside):
            if other.faults:
                beside = (*step.beside[:position], evolve(other, faults=()), *step.beside[position + 1 :])
                yield _with(result.story, number, evolve(step, beside=beside))


def _without_symbols(result: Result) -> Iterator[Story]:
    symbols = result.story.symbols
    if len(symbols) > 1:
        yield from (evolve(result.story, symbols=(*symbols[:n], *symbols[n + 1 :])) for n in range(len(symbols)))


def _plain_traits(result: Result) -> Iterator[Story]:
    traits = result.story.traits
    for simplest in SIMPLEST:
        if any(getattr(traits, name) != value for name, value in simplest.items()):
            yield evolve(result.story, traits=evolve(traits, **simplest))


def _earlier(result: Result) -> Iterator[Story]:
    """Let faults happen at an earlier call."""
    for number, step in enumerate(result.story.steps):
        for position, fault in enumerate(step.faults):
            for nth in sorted({1, fault.nth // 2} - {0, fault.nth}):
                faults = (*step.faults[:position], evolve(fault, nth=nth), *step.faults[position + 1 :])
                yield _with(result.story, number, evolve(step, faults=faults))


def _without(faults: Sequence[Fault], position: int) -> tuple[Fault, ...]:
    return (*faults[:position], *faults[position + 1 :])


def _with(story: Story, number: int, step: Step) -> Story:
    return evolve(story, steps=(*story.steps[:number], step, *story.steps[number + 1 :]))
