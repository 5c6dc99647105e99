"""What is counted of a world, so that a night can show which kinds of things it has tried."""

from __future__ import annotations

import os
from random import Random
from typing import Any

from marketpipe.ingestion.domain.coverage.market import SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, SymbolCoverage, Verdict, suspect
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from tests.simulation.counts import Counts, table
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.outcome import Outcome
from tests.simulation.story import Fault, Step, Story
from tests.simulation.traits import DiskTraits, Traits
from tests.support.coverage_grids import grid

NOW = Timestamp.parse("2024-03-04T12:00:00Z")
KILL = Fault("kill", "replace", 2)


def outcome(kind: str, ended: str = "returned", *, faults: tuple[Fault, ...] = (), **facts: Any) -> Outcome:
    return Outcome(Step(1, "2024-03-04T12:00:00Z", kind, faults=faults), ended, NOW, NOW, **facts)


def counted(*outcomes: Outcome) -> dict[str, int]:
    counts = Counts()
    for each in outcomes:
        counts.add(each)
    return dict(counts.counted)


def test_steps_are_counted_with_how_they_ended_and_those_beside_them_too() -> None:
    beside = outcome("verify", "raised", error=StorageError("x"))
    assert counted(outcome("update", beside=(beside,))) == {
        "step: update: returned": 1,
        "step: verify: raised StorageError": 1,
        "beside: 1": 1,
    }


def test_a_fault_whose_call_was_not_reached_is_no_fault_that_happened() -> None:
    reached = outcome("update", "killed", faults=(KILL,), happened=(KILL.text(),))
    assert counted(reached, outcome("update", faults=(KILL,))) == {
        "step: update: killed": 1,
        "step: update: returned": 1,
        "fault: kill at replace: happened": 1,
        "fault: kill at replace: not reached": 1,
    }


def test_the_verdicts_of_coverage_are_counted_by_session_with_their_suspicion() -> None:
    days = grid("2024-03-04", "2024-03-07")
    findings = [*[Finding(Verdict.COMPLETE)] * 2, suspect(Suspicion.HOLES, "a hole"), Finding(Verdict.EMPTY)]
    coverage = SymbolCoverage.of(SymbolDays(Symbol("A"), [None] * 4, {}), days, findings)
    report = CoverageReport(days.dates[0], days.dates[-1], SessionKind.REGULAR, (coverage,))

    found = counted(outcome("coverage", value=report))

    assert {name: number for name, number in found.items() if name.startswith("verdict")} == {
        "verdict: complete": 2,
        "verdict: suspect: holes": 1,
        "verdict: empty": 1,
    }


def test_each_trait_of_a_story_is_counted_once() -> None:
    counts = Counts()
    counts.begin(Story(1, Traits(DiskTraits(step_ns=1000, short_writes=True), timeframes=("5m", "1d"))))
    assert set(counts.counted.values()) == {1}
    assert {"disk: step_ns: 1000", "disk: short_writes: True", "traits: timeframes: 5m+1d"} <= set(counts.counted)


def test_what_a_power_loss_takes_is_counted_by_kind() -> None:
    counts = Counts()
    for loss in range(60):
        disk = ModelledDisk(DiskTraits(ordered=False), lambda: 5, "1")
        disk.outside.write(disk.outside.open(f"{PLACE}/day", os.O_WRONLY | os.O_CREAT), b"content")
        counts.lost(disk.lose_power(Random(loss)))
    assert set(counts.counted) == {
        "power loss: entry: create",
        "power loss: content: as it was synced",
        "power loss: content: nothing was lost",
        "power loss: content: torn after",
        "power loss: content: zeros in the place of what was written",
        "power loss: content: bit",
    }


def test_a_check_that_had_nothing_to_look_at_is_not_taken_for_one_that_was_passed() -> None:
    counts = Counts()
    counts.checked("verdict", 3)
    counts.checked("verdict", 0)
    assert dict(counts.counted) == {"check: verdict: evaluated": 1, "check: verdict: nothing to look at": 1}


def test_a_table_has_the_groups_one_after_another() -> None:
    assert table({"step: update: returned": 2, "check: lost: evaluated": 11}).splitlines() == [
        "check:",
        "       11 lost: evaluated",
        "step:",
        "        2 update: returned",
    ]
