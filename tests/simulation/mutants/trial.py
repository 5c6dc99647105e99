"""``python -m tests.simulation.mutants.trial``: carry out stories with the product that ``PYTHONPATH`` names.

Prints a line of JSON for each. This is what the runner of mutants starts in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import marketpipe
from tests.simulation.drawing import drawn
from tests.simulation.running import run
from tests.simulation.story import Story


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", type=Path, help="where the product has to be from")
    parser.add_argument("--story", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="draw the stories of these seeds")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--until-broken", action="store_true", help="stop after the first story that breaks a promise")
    options = parser.parse_args()
    if not Path(marketpipe.__file__).is_relative_to(options.sources):
        raise SystemExit(f"{marketpipe.__file__} is not below {options.sources}")
    for story in _stories(options):
        began = time.perf_counter()
        result = run(story)
        line = {"failures": result.failures, "step": result.step, "calls": result.calls, "seed": story.seed}
        sys.stdout.write(json.dumps({**line, "seconds": round(time.perf_counter() - began, 2)}) + "\n")
        sys.stdout.flush()
        if result.failures and options.until_broken:
            break
    return 0


def _stories(options: argparse.Namespace) -> Iterator[Story]:
    yield from map(Story.read, options.story)
    yield from (drawn(seed, options.steps) for seed in options.seeds)


if __name__ == "__main__":
    sys.exit(main())
