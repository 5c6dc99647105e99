"""What the benchmarks share: measure candidates side by side, print the result, and check command line options.

Runs are interleaved, so that a busy moment of the machine slows down every candidate.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Measurement(NamedTuple):
    """One run. ``processor`` is processor time in seconds: all threads of this process and of its children."""

    seconds: float
    processor: float


Results = Mapping[str, Sequence[Measurement]]
MAY_BE_ZERO = ("latency_ms", "port", "seed", "show")


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of the command line. Numbers must be positive and ``--folder`` must exist.

    An option that does not hold ends the program with a message and exit code 2.
    """
    options = parser.parse_args()
    for name, value in vars(options).items():
        option = f"--{name.replace('_', '-')}"
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not isinstance(number, bool):
                least_is_met = number >= 0 if name in MAY_BE_ZERO else number > 0
                if not least_is_met:
                    parser.error(f"{option}: {number} is too small")
        if name == "folder" and isinstance(value, Path) and not value.is_dir():
            parser.error(f"{option}: {value} is not a folder that exists; create it, or leave the option out")
    return options


def measure_interleaved(
    candidates: Mapping[str, Callable[[], Any]],
    runs: int,
    before: Callable[[str], Any] = lambda _: None,
    after: Callable[[str, Any], Any] = lambda _, __: None,
) -> dict[str, list[Measurement]]:
    """Run every candidate once in each of ``runs`` rounds. ``before`` and ``after`` of a run are not measured.

    Every other round goes backwards: what a candidate leaves behind (threads, caches, a busy disk) must not always slow
    down the same next one.
    """
    measured: dict[str, list[Measurement]] = {name: [] for name in candidates}
    for number in range(runs):
        for name in sorted(candidates, key=list(candidates).index, reverse=number % 2 == 1):
            before(name)
            used, started = _processor_seconds(), time.perf_counter()
            result = candidates[name]()
            measured[name].append(Measurement(time.perf_counter() - started, _processor_seconds() - used))
            after(name, result)
    return measured


def median(measured: Sequence[Measurement]) -> float:
    """Return the median of the wall clock seconds."""
    return statistics.median(each.seconds for each in measured)


def print_table(title: str, results: Results, peers: Sequence[str], items: int = 0, unit: str = "") -> None:
    """Print speed and time relative to the fastest of the ``peers``, then seconds.

    Each run is compared with the peer's run of the same round: what slowed down a whole round cancels out. The ratio is
    the median over the rounds. ``items``, counted in ``unit``, add a column of items per second.
    """
    best = min(peers, key=lambda name: median(results[name]))
    rate = f"{unit}/s" if items else ""
    print(f"\n{title}; relative to {best}")
    print(f"{'':<34}{'speed':>7}{'time':>7}{'median s':>11}{'fastest':>10}{'slowest':>10}{'processor':>11}{rate:>14}")
    for name, measured in results.items():
        ratio = ratio_of(results, name, best)
        seconds = sorted(each.seconds for each in measured)
        processor = statistics.median(each.processor for each in measured)
        speed = f"{items / median(measured):>14,.0f}" if items else ""
        figures = f"{median(measured):>11.3f}{seconds[0]:>10.3f}{seconds[-1]:>10.3f}{processor:>11.3f}"
        print(f"{name:<34}{1 / ratio:>7.2f}{ratio:>7.2f}{figures}{speed}", flush=True)


def ratio_of(results: Results, name: str, other: str) -> float:
    """Return how many times as long ``name`` takes as ``other``: the median over the rounds."""
    rounds = zip(results[name], results[other], strict=True)
    return statistics.median(one.seconds / against.seconds for one, against in rounds)


def _processor_seconds() -> float:
    used = [resource.getrusage(scope) for scope in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
