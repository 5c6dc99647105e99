"""``python -m tests.simulation.mutants``: run the product with one mistake each: does the oracle find it?"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from attrs import evolve

from tests.simulation.__main__ import FIXED
from tests.simulation.mutants.attacks import ATTACKS
from tests.simulation.mutants.hunting import Verdict, hunted, hunted_by_seeds, sound
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.sabotage import SABOTAGE
from tests.support import child_processes

MUTANTS: Final[Sequence[Mutant]] = (*ATTACKS, *SABOTAGE)
TOGETHER: Final = 8
"""So many stories without a mistake are carried out by one process."""
ATTACKS_PROMISED: Final = 12
SABOTAGE_PROMISED: Final = 30


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    chosen = [each for each in MUTANTS if not options.name or any(_is_named(each, part) for part in options.name)]
    say = partial(print, flush=True)
    with child_processes.guarded():
        if options.draw is not None:
            return _drawn(chosen, options, say)
        return _told(chosen, options, say)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("name", nargs="*", help="only mutants with this in their name, or of this attack: 07")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time")
    parser.add_argument("--verbose", action="store_true", help="print what the checks say of each")
    parser.add_argument("--draw", metavar="FIRST-LAST", help="look for them with the stories that these seeds draw")
    parser.add_argument("--steps", type=int, default=40, help="with --draw: the length of a story (%(default)s)")
    return parser


def _is_named(mutant: Mutant, part: str) -> bool:
    return part == mutant.attack or part in mutant.name


def _told(chosen: Sequence[Mutant], options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Carry out the story of each mutant, and all of them without any mistake."""
    stories, without = [each for each in chosen if each.story is not None], dict[str, tuple[str, ...]]()
    parts = [stories[start : start + TOGETHER] for start in range(0, len(stories), TOGETHER)]
    verdicts = list[Verdict]()
    with ThreadPoolExecutor(options.jobs) as pool:
        for part, failures in zip(parts, pool.map(sound, parts), strict=True):
            without |= {each.name: found for each, found in zip(part, failures, strict=True)}
        say(f"{len(stories)} stories without any mistake: {sum(map(bool, without.values()))} fail")
        for verdict in pool.map(hunted, stories):
            verdicts.append(evolve(verdict, sound=verdict.sound or without[verdict.mutant.name]))
            say("\n".join(_lines_of(verdicts[-1], verbose=options.verbose)))
    for each in chosen:
        if each.story is None:
            say(f"UNSEEN     {_titled(each)}: {each.unseen}")
    found = {verdict.mutant.name for verdict in verdicts if verdict.is_found}
    say(_summary(chosen, found))
    is_enough = bool(options.name) or _is_enough(found)
    return 0 if is_enough and len(found) == len(stories) else 1


def _lines_of(verdict: Verdict, *, verbose: bool) -> Iterator[str]:
    how = "found" if verdict.is_found else "NOT FOUND"
    by = ", ".join(sorted(verdict.checks)) or "-"
    where = f"step {verdict.step} of {verdict.steps}, {verdict.seconds:.1f} s"
    yield f"{how:<10} {_titled(verdict.mutant)} | by {by} | {where}"
    if verdict.broken:
        yield f"           cannot be tried: {verdict.broken}"
    if verdict.sound:
        yield f"           fails without the mistake too: {verdict.sound[0]}"
    if verbose or not verdict.is_found:
        yield from (f"           {failure}" for failure in verdict.failures)


def _titled(mutant: Mutant) -> str:
    return f"{mutant.attack or '--'} {mutant.name}"


def _attacks_in(names: set[str]) -> set[str]:
    return {each.attack for each in ATTACKS if each.name in names}


def _is_enough(found: set[str]) -> bool:
    attacks = len(_attacks_in(found))
    return attacks >= ATTACKS_PROMISED and sum(each.name in found for each in SABOTAGE) >= SABOTAGE_PROMISED


def _summary(chosen: Sequence[Mutant], found: set[str]) -> str:
    attacks, others = [each for each in chosen if each.attack], [each for each in chosen if not each.attack]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        f"attacks: {len(_attacks_in(found))} of {len({each.attack for each in attacks})} found again "
        f"({sum(each.name in found for each in attacks)} of {len(attacks)} mutants); "
        f"other mutants: {sum(each.name in found for each in others)} of {len(others)} found; "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor"
    )


def _drawn(chosen: Sequence[Mutant], options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Say which seed finds each mutant; nothing is promised of it."""
    first, _, last = options.draw.partition("-")
    seeds, count = range(int(first), int(last or first) + 1), 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for verdict in pool.map(lambda each: hunted_by_seeds(evolve(each, by=()), seeds, options.steps), chosen):
            count += verdict.is_found
            how = f"found by seed {verdict.seed}" if verdict.is_found else "not found"
            say(f"{how:<20} {_titled(verdict.mutant)} | step {verdict.step} | {'; '.join(verdict.failures)[:200]}")
    say(f"{count} of {len(chosen)} found by {len(seeds)} seeds of {options.steps} steps")
    return 0


def _with_fixed_environment() -> None:
    if any(os.environ.get(name) != value for name, value in FIXED.items()):
        command = [sys.executable, "-m", "tests.simulation.mutants", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **FIXED})


if __name__ == "__main__":
    _with_fixed_environment()
    sys.exit(main())
