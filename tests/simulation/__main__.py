"""``python -m tests.simulation``: replay a seed or a story, or run fresh seeds for some time."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from tests.simulation.counts import table
from tests.simulation.drawing import drawn
from tests.simulation.jobs import Bounds, Tally, from_seed, run_seeds
from tests.simulation.running import Result, run
from tests.simulation.shrinking import Shrinker
from tests.simulation.story import Story
from tests.simulation.versions import versions
from tests.support import child_processes

STEPS: Final = 60
LARGEST_SEED: Final = 2**31
FIXED: Final = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
"""The order of sets of strings is part of what a seed replays."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.minutes is not None or options.weeks is not None:
        return _many(options)
    if options.story is not None:
        return max(_replay(Story.read(path), options, f"--story {path}") for path in options.story)
    if options.seed is not None:
        return _replay(drawn(options.seed, options.steps), options, f"--seed {options.seed} --steps {options.steps}")
    return _one_after_the_other(_seeds_of(options.seeds), options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, help="replay this seed")
    what.add_argument("--seeds", help="run these seeds: 1-40, or 1,5,9")
    what.add_argument("--story", type=Path, nargs="+", action="extend", help="replay the stories in these JSON files")
    what.add_argument("--minutes", type=float, help="run fresh seeds for so long")
    what.add_argument("--from", type=int, dest="first", help="with --weeks: run the seeds from this one on")
    parser.add_argument("--of", help="with --minutes: the seeds of this word, which are always the same")
    parser.add_argument("--weeks", type=float, help="with --from: stop after so many store-weeks")
    parser.add_argument("--steps", type=int, default=STEPS, help="about how long a story is (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time")
    parser.add_argument(
        "--log",
        type=Path,
        help="append a JSON line for each seed; with --minutes or --weeks: seeds that stand there are not run again",
    )
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--shrink", action="store_true", help="make a story that fails as short as possible")
    parser.add_argument("--save", type=Path, help="write the story, shrunk or not, to this JSON file")
    parser.add_argument("--verbose", action="store_true", help="print every call")
    return parser


def _seeds_of(text: str) -> list[int]:
    seeds = list[int]()
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds.extend(range(int(first), int(last or first) + 1))
    return seeds


def _replay(story: Story, options: argparse.Namespace, how: str) -> int:
    say = partial(print, flush=True)
    say(versions())
    for line in [*story.lines()][:2]:
        say(line)
    result = run(story, say, verbose=options.verbose)
    _say_verdict(result, say)
    if result.failures:
        say(f"replay: python -m tests.simulation {how}")
        if options.shrink:
            result = Shrinker(run, lambda line: say(f"shrunk to {line}")).shrunk(result)
            say("\n".join(("", "the shortest story found:", result.story.text())))
            _say_verdict(result, say)
    if options.save is not None:
        options.save.write_text(result.story.to_json() + "\n", "utf-8")
    return 1 if result.failures else 0


def _say_verdict(result: Result, say: Callable[[str], None]) -> None:
    for failure in result.failures:
        say(f"BROKEN {failure}")
    verdict = f"broken at step {result.step}" if result.failures else "all promises kept"
    say(
        f"{verdict}; {result.weeks:.1f} store-weeks, {result.calls} calls, {result.seconds:.2f} s, trace {result.trace}"
    )


def _one_after_the_other(seeds: Sequence[int], options: argparse.Namespace) -> int:
    deadline = None if options.seconds is None else time.monotonic() + options.seconds
    tally = Tally(options.log, partial(print, flush=True))
    for seed in seeds:
        if deadline is not None and time.monotonic() >= deadline:
            break
        tally.add(run(drawn(seed, options.steps)).as_json())
    return _say_failures(tally, options.steps)


def _many(options: argparse.Namespace) -> int:
    began, say = time.monotonic(), partial(print, flush=True)
    say(versions())
    deadline = None if options.minutes is None else began + options.minutes * 60
    tally = Tally(options.log, say)
    seeds = from_seed(options.first) if options.first is not None else _of(options.of) if options.of else _fresh()
    with child_processes.guarded():
        run_seeds(seeds, tally, options.steps, options.jobs, Bounds(options.weeks, deadline))
    say(table(tally.counts))
    hours = (time.monotonic() - began) / 3600
    say(
        f"{tally.seeds} seeds, {tally.weeks:.0f} store-weeks, {tally.calls} calls, {tally.seconds:.0f} s of processor, "
        f"{tally.weeks / hours:.0f} store-weeks an hour; {len(tally.failed)} failed"
    )
    return _say_failures(tally, options.steps)


def _say_failures(tally: Tally, steps: int) -> int:
    """Print each failure as a whole, with the command that replays it. Return the exit code."""
    for line in tally.failed:
        tally.tell(f"seed {line['seed']}: " + "\n".join(line["failures"]))
        tally.tell(f"replay: python -m tests.simulation --seed {line['seed']} --steps {steps} --shrink")
    return 1 if tally.failed else 0


def _fresh() -> Iterator[int]:
    """Return seeds that nobody knows before; they are printed. Chance has no part in a world itself."""
    while True:
        yield secrets.randbelow(LARGEST_SEED)


def _of(word: str) -> Iterator[int]:
    random = Random(word)
    while True:
        yield random.randrange(LARGEST_SEED)


def _with_fixed_environment() -> None:
    """Begin again with the order of sets of strings fixed, which only the environment of a new interpreter can do."""
    if any(os.environ.get(name) != value for name, value in FIXED.items()):
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, **FIXED})


if __name__ == "__main__":
    _with_fixed_environment()
    sys.exit(main())
