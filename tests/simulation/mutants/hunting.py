"""Runs the product with one mistake each in processes of their own, and says which the oracle has found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from attrs import evolve, frozen

from tests.simulation.__main__ import FIXED
from tests.simulation.mutants.mutant import SOURCES, Mutant
from tests.simulation.real_files import removed_with_the_child
from tests.simulation.story import Story
from tests.simulation.watchdog import HUNG
from tests.support import child_processes

SECONDS_OF_A_STORY: Final = 240.0
HANGS: Final = "ends: the world hangs"
ROOT: Final = SOURCES.parent
Line = dict[str, Any]


@frozen
class Verdict:
    """What the oracle has said of one mutant: ``failures`` begin with the names of their checks.

    ``step`` is the number of the step at which the story ended, ``steps`` that of its last one. ``sound`` are the
    failures of the same story without the mistake. ``broken`` says why the mutant could not be tried, or did not run.
    """

    mutant: Mutant
    failures: tuple[str, ...] = ()
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    sound: tuple[str, ...] = ()
    broken: str = ""
    seed: int = 0

    @property
    def checks(self) -> frozenset[str]:
        return frozenset(failure.partition(":")[0] for failure in self.failures)

    @property
    def is_found(self) -> bool:
        """Whether a check has seen it that is expected to; any, if none is."""
        expected = self.checks & {*self.mutant.by} if self.mutant.by else self.checks
        return bool(expected) and not self.sound and not self.broken


def hunted(mutant: Mutant) -> Verdict:
    """Carry out the story of a mutant with its mistake."""
    assert mutant.story is not None
    with TemporaryDirectory(prefix="marketpipe-mutant-") as place:
        try:
            mutant.write(Path(place))
        except ValueError as error:
            return Verdict(mutant, broken=str(error))
        verdict = _verdict(mutant, *_tried(Path(place), mutant.stories(), "--until-broken"))
    if verdict.seed != mutant.story.seed and verdict.failures:
        (alone,) = sound([evolve(mutant, story=evolve(mutant.story, seed=verdict.seed))])
        verdict = evolve(verdict, sound=alone)
    return evolve(verdict, steps=max(step.number for step in mutant.story.steps))


def hunted_by_seeds(mutant: Mutant, seeds: Sequence[int], steps: int) -> Verdict:
    """Carry out drawn stories with a mistake until one fails that does not fail without it."""
    with TemporaryDirectory(prefix="marketpipe-mutant-") as place:
        mutant.write(Path(place))
        left = list(seeds)
        while left:
            words = ["--until-broken", "--steps", str(steps), "--seeds", *map(str, left)]
            verdict = evolve(_verdict(mutant, *_child(Path(place), words, len(left))), steps=steps)
            if not verdict.failures:
                return verdict
            alone = _child(SOURCES, ["--steps", str(steps), "--seeds", str(verdict.seed)], 1)
            if not (sound := _verdict(mutant, *alone)).failures and not sound.broken:
                return verdict
            left = left[left.index(verdict.seed) + 1 :]
    return Verdict(mutant, steps=steps)


def sound(mutants: Sequence[Mutant]) -> list[tuple[str, ...]]:
    """Return what fails in the story of each mutant with the product as it is."""
    lines, error = _tried(SOURCES, [mutant.story for mutant in mutants if mutant.story is not None])
    if len(lines) != len(mutants):
        raise RuntimeError(f"a story does not end, with the product as it is: {error}")
    return [tuple(line["failures"]) for line in lines]


def _verdict(mutant: Mutant, lines: Sequence[Line], error: str) -> Verdict:
    if error:
        return Verdict(mutant, (HANGS,)) if error == HANGS else Verdict(mutant, broken=error)
    last = lines[-1]
    return Verdict(mutant, tuple(last["failures"]), last["step"], seconds=last["seconds"], seed=last["seed"])


def _tried(sources: Path, stories: Sequence[Story], *words: str) -> tuple[list[Line], str]:
    with TemporaryDirectory(prefix="marketpipe-stories-") as place:
        paths = [Path(place, f"{number}.json") for number in range(len(stories))]
        for path, story in zip(paths, stories, strict=True):
            path.write_text(story.to_json(), "utf-8")
        return _child(sources, [*words, "--story", *map(str, paths)], len(paths))


def _child(sources: Path, words: Sequence[str], count: int) -> tuple[list[Line], str]:
    """Return what the process said of each story, and how it went wrong, "" if it did not."""
    command = [sys.executable, "-m", "tests.simulation.mutants.trial", str(sources), *words]
    with removed_with_the_child() as environment:
        own = {**environment, **FIXED, "PYTHONPATH": str(sources)}
        try:
            ended = child_processes.run(command, env=own, cwd=ROOT, seconds=SECONDS_OF_A_STORY * count)
        except child_processes.TimeoutExpired as error:
            return [], f"no end after {error.timeout:.0f} s"
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    if ended.returncode == HUNG:
        return lines, HANGS
    return lines, "" if ended.returncode == 0 and lines else f"exit code {ended.returncode}: {ended.stderr[-3000:]}"


Tell = Callable[[str], None]
