"""Runs many seeds in child processes, a few seeds in each: what hangs or dies in one takes no other with it."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Final

from attrs import define, field, frozen

from tests.simulation.real_files import removed_with_the_child
from tests.simulation.watchdog import HUNG
from tests.support import child_processes

SEEDS_OF_A_CHILD: Final = 8
SECONDS_OF_A_SEED: Final = 120.0
Line = dict[str, Any]
Execute = Callable[..., Any]
"""``child_processes.run``."""


@frozen
class Bounds:
    """When to begin no further seed: after so many store-weeks, or at this moment of ``time.monotonic``."""

    weeks: float | None = None
    deadline: float | None = None

    def seconds_left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


@define(eq=False)
class Tally:
    """What all seeds have come to. ``log`` gets a JSON line for each; seeds that stand in it already are not run."""

    log: Path | None = None
    tell: Callable[[str], None] = print
    seeds: int = 0
    weeks: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    counts: Counter[str] = field(factory=Counter)
    failed: list[Line] = field(factory=list)
    done: set[int] = field(factory=set)
    _lock: Lock = field(factory=Lock, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.log is not None and self.log.is_file():
            for line in self.log.read_text("utf-8").splitlines():
                self._count(json.loads(line))

    def add(self, line: Line) -> None:
        with self._lock:
            self._count(line)
            if self.log is not None:
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            said = "; ".join(line["failures"]).splitlines()[0][:200] if line["failures"] else "ok"
            self.tell(
                f"seed {line['seed']}: {said} ({line['weeks']:.1f} weeks, {line['calls']} calls, {line['trace']})"
            )

    def _count(self, line: Line) -> None:
        self.seeds += 1
        self.weeks += line["weeks"]
        self.seconds += line["seconds"]
        self.calls += line["calls"]
        self.counts.update(line["counts"])
        self.done.add(line["seed"])
        if line["failures"]:
            self.failed.append(line)


def run_seeds(
    seeds: Iterator[int], tally: Tally, steps: int, jobs: int, bounds: Bounds, execute: Execute = child_processes.run
) -> None:
    """Run seeds until there is no further one, or a bound is reached, ``jobs`` at the same time."""
    taking = Lock()

    def work() -> None:
        while not _is_reached(bounds, tally):
            with taking:
                chunk = _next_of(seeds, tally.done)
            if not chunk:
                return
            _Child(tally, steps, bounds, execute).run(chunk)

    with ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(work) for _ in range(jobs)]:
            future.result()


def _is_reached(bounds: Bounds, tally: Tally) -> bool:
    return bounds.seconds_left() == 0.0 or (bounds.weeks is not None and tally.weeks >= bounds.weeks)


def _next_of(seeds: Iterator[int], done: set[int]) -> list[int]:
    chunk = list[int]()
    for seed in seeds:
        if seed not in done:
            chunk.append(seed)
        if len(chunk) == SEEDS_OF_A_CHILD:
            break
    return chunk


@frozen
class _Child:
    tally: Tally
    steps: int
    bounds: Bounds
    execute: Execute

    def run(self, seeds: Sequence[int]) -> None:
        """Run them one after the other; if the process does not end well, the seed at which it was is a failure."""
        left = list(seeds)
        while left and not _is_reached(self.bounds, self.tally):
            code, errors, done = self._ended(left)
            left = left[done:]
            if code in (0, 1):
                return
            why = "ends: the world hangs" if code == HUNG else f"ends: exit code {code}"
            self.tally.add(_failure(left[0] if left else seeds[-1], f"{why}\n{errors[-6000:]}"))
            left = left[1:]

    def _ended(self, seeds: Sequence[int]) -> tuple[int, str, int]:
        """Run a process; return its exit code, its errors, and how many seeds it has come to the end of."""
        with TemporaryDirectory(prefix="marketpipe-simulation-") as folder, removed_with_the_child() as environment:
            log = Path(folder, "log")
            command = [sys.executable, "-m", "tests.simulation", "--seeds", ",".join(map(str, seeds))]
            command += ["--steps", str(self.steps), "--log", str(log)]
            if (seconds := self.bounds.seconds_left()) is not None:
                command += ["--seconds", f"{seconds:.0f}"]
            try:
                ended = self.execute(command, seconds=SECONDS_OF_A_SEED * len(seeds), env=environment)
                code, errors = ended.returncode, ended.stderr
            except child_processes.TimeoutExpired as error:
                code, errors = HUNG, f"its process was ended after {error.timeout:.0f} s"
            lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.is_file() else []
        for line in lines:
            self.tally.add(line)
        return code, errors, len(lines)


def _failure(seed: int, why: str) -> Line:
    return {"seed": seed, "failures": [why], "step": 0, "weeks": 0, "calls": 0, "trace": "", "seconds": 0, "counts": {}}


def from_seed(first: int) -> Iterator[int]:
    return count(first)
