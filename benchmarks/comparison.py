"""Ways of doing the same thing, measured side by side: interleaved, so that a busy moment of the machine hits all."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Taken(NamedTuple):
    """``processor`` are seconds of this process and of its children, all threads together."""

    seconds: float
    processor: float


Results = Mapping[str, Sequence[Taken]]


def interleaved(
    ways: Mapping[str, Callable[[], Any]],
    runs: int,
    before: Callable[[str], Any] = lambda _: None,
    after: Callable[[str, Any], Any] = lambda _, __: None,
) -> dict[str, list[Taken]]:
    """One after the other, so many times over; ``before`` and ``after`` each are not measured.

    Every other round backwards: what a way leaves behind (threads, caches, a busy disk) is not always the same one's.
    """
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    for number in range(runs):
        for name in sorted(ways, key=list(ways).index, reverse=number % 2 == 1):
            before(name)
            used, started = _processor(), time.perf_counter()
            result = ways[name]()
            taken[name].append(Taken(time.perf_counter() - started, _processor() - used))
            after(name, result)
    return taken


def median(taken: Sequence[Taken]) -> float:
    return statistics.median(each.seconds for each in taken)


def print_table(title: str, results: Results, peers: Sequence[str], items: int = 0, unit: str = "") -> None:
    """Ratios first, against the fastest of the ``peers``; the median of what each run has to itself in its round.

    Comparing within a round leaves out what was slow for all; ``items`` of a ``unit`` give a pace as well.
    """
    best = min(peers, key=lambda name: median(results[name]))
    pace = f"{unit}/s" if items else ""
    print(f"\n{title}; against {best}")
    print(f"{'':<34}{'pace':>7}{'time':>7}{'median s':>11}{'fastest':>10}{'slowest':>10}{'processor':>11}{pace:>14}")
    for name, taken in results.items():
        ratio = ratio_of(results, name, best)
        seconds = sorted(each.seconds for each in taken)
        processor = statistics.median(each.processor for each in taken)
        speed = f"{items / median(taken):>14,.0f}" if items else ""
        figures = f"{median(taken):>11.3f}{seconds[0]:>10.3f}{seconds[-1]:>10.3f}{processor:>11.3f}"
        print(f"{name:<34}{1 / ratio:>7.2f}{ratio:>7.2f}{figures}{speed}", flush=True)


def ratio_of(results: Results, name: str, other: str) -> float:
    """How many times as long the one takes as the other: the median over the rounds."""
    rounds = zip(results[name], results[other], strict=True)
    return statistics.median(one.seconds / against.seconds for one, against in rounds)


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
