"""Many seeds: in children, until a bound, and again only those that stand in no log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from tests.simulation.jobs import Bounds, Tally, run_seeds
from tests.simulation.real_files import PLACE
from tests.simulation.watchdog import HUNG
from tests.support.child_processes import CompletedProcess, TimeoutExpired

HANGS: Final = 7
FAILS: Final = 3
TAKES_TOO_LONG: Final = 70


@define
class FakeChildren:
    """Take half a week for each seed; seed 3 breaks a promise, seed 7 hangs, and seed 70 takes too long."""

    commands: list[Sequence[str]] = field(factory=list)
    places: list[Path] = field(factory=list)

    def run(self, command: Sequence[str], *, seconds: float, env: Mapping[str, str]) -> Any:
        self.commands.append(command)
        self.places.append(Path(env[PLACE]))
        (self.places[-1] / "left").write_bytes(b"of a killed process")
        options = dict(zip(command[3::2], command[4::2], strict=True))
        for seed in map(int, options["--seeds"].split(",")):
            if seed == TAKES_TOO_LONG:
                raise TimeoutExpired(command, seconds)
            if seed == HANGS:
                return CompletedProcess(command, HUNG, "", "the stacks")
            with Path(options["--log"]).open("a") as log:
                log.write(json.dumps(line_of(seed)) + "\n")
        return CompletedProcess(command, 0, "", "")


def line_of(seed: int) -> dict[str, Any]:
    failures = ["lost: a bar"] if seed == FAILS else []
    counts = {"step: update: returned": 2}
    return {
        "seed": seed,
        "failures": failures,
        "step": 9,
        "weeks": 0.5,
        "calls": 10,
        "trace": "",
        "seconds": 1,
        "counts": counts,
    }


def ran(tally: Tally, seeds: Sequence[int], bounds: Bounds | None = None, jobs: int = 1) -> FakeChildren:
    children = FakeChildren()
    run_seeds(iter(seeds), tally, 60, jobs, bounds or Bounds(), children.run)
    return children


def quiet(log: Path | None = None) -> Tally:
    return Tally(log, [].append)


def test_every_seed_is_run_once_whatever_fails_or_hangs() -> None:
    tally = quiet()
    ran(tally, range(60), jobs=2)
    assert (tally.seeds, tally.done) == (60, set(range(60)))
    assert sorted(line["seed"] for line in tally.failed) == [FAILS, HANGS]
    assert next(line for line in tally.failed if line["seed"] == HANGS)["failures"] == [
        "ends: the world hangs\nthe stacks"
    ]
    assert tally.counts == {"step: update: returned": 118}


def test_a_seed_that_takes_too_long_is_a_failure_of_its_own() -> None:
    tally = quiet()
    ran(tally, range(66, 80))
    assert (tally.seeds, tally.done) == (14, set(range(66, 80)))
    assert [line["failures"] for line in tally.failed] == [
        ["ends: the world hangs\nits process was ended after 960 s"],
    ]


def test_what_children_leave_of_their_worlds_is_removed() -> None:
    children = ran(quiet(), range(10))
    assert len(children.places) >= 2
    assert [place for place in children.places if place.exists()] == []


def test_no_seed_begins_after_so_many_weeks() -> None:
    tally = quiet()
    ran(tally, range(100, 1000), Bounds(weeks=25))
    assert tally.weeks == 28


def test_no_seed_begins_after_the_deadline() -> None:
    assert ran(quiet(), range(100), Bounds(deadline=0.0)).commands == []


def test_seeds_that_stand_in_the_log_are_counted_and_not_run_again(tmp_path: Path) -> None:
    ran(quiet(tmp_path / "log"), range(30))
    tally = quiet(tmp_path / "log")
    children = ran(tally, range(32))
    assert [command[4] for command in children.commands] == ["30,31"]
    assert (tally.seeds, tally.weeks, len(tally.failed)) == (32, 15.5, 2)
