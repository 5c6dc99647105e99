"""Checks of ``verify``: it names every damaged file, and no sound one."""

from __future__ import annotations

from typing import Final

from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.reports import CoverageReport
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport
from tests.simulation.oracle.behaviour import TEMPORARY, temporary_files
from tests.simulation.oracle.files import StoreFiles
from tests.simulation.oracle.memory import Memory, Seen
from tests.simulation.oracle.subject import Findings

RECORDED: Final = ("data/", "aggregates/", "quarantine/", "revisions/", "official/")
"""Areas whose files have a digest on record. Of read copies only their own checksum is known."""
WITH_DIGESTS: Final = ("aggregates/", "quarantine/", "revisions/")
"""Areas whose files have a digest on record before they are published, so that a kill leaves none that is unknown."""
UNCHECKED: Final = "may not have been checked"


def verify(report: IntegrityReport, memory: Memory) -> Findings:
    """Every file that somebody damaged or removed is named; if nothing ever went wrong, nothing is."""
    named = {problem.path for problem in report.problems}
    for path, damage in sorted(memory.damage.items()):
        if damage.before is None or damage.since == damage.before or not _is_provable(path, memory):
            continue
        if any(_names(problem, path) for problem in report.problems):
            yield None
        else:
            yield f"{path} is damaged, and verify does not name it"
    if memory.is_machine_well and not memory.has_odd_clock:
        for problem in report.problems:
            yield f"{problem.path} is as it was written, and verify says that it {problem.reason} ({problem.damage})"
        if not report.problems:
            yield None
    elif memory.is_disk_well and not memory.has_odd_clock:
        for problem in report.problems:
            is_wrong = problem.path.startswith(WITH_DIGESTS) and problem.damage in (Damage.ALTERED, Damage.GONE)
            what = f"{problem.path} {problem.reason} ({problem.damage}), though processes were only killed"
            yield what if is_wrong else None
    if report.ok is bool(named):
        yield f"verify is {'ok' if report.ok else 'not ok'} with {len(named)} problems"


def verify_of_a_step(seen: Seen) -> Findings:
    """Beside others, too, nothing is wrong if nothing ever went wrong; and what looked at nothing is not well.

    A recovery makes the state anew: a file that it has not come to yet is one that the state does not know.
    """
    memory = seen.memory
    unknown = Damage.UNRECORDED if seen.recovers() else None
    for each in seen.outcome.all():
        if each.step.kind != "verify" or not isinstance(each.value, IntegrityReport):
            continue
        if each.value.ok and not each.value.files:
            yield "verify is ok, and has looked at no file"
        elif memory.is_machine_well and not memory.has_odd_clock:
            wrong = [problem for problem in each.value.problems if problem.damage is not unknown]
            found = [f"{problem.path} {problem.reason} ({problem.damage})" for problem in wrong]
            yield f"{each.process} says beside others that {found[0]}" if found else None


def marked(report: CoverageReport, memory: Memory) -> Findings:
    """A day that ``verify`` has called damaged is not complete, as long as its bytes are the same."""
    for each in report.days() if memory.named else ():
        day = str(each.symbol_day.symbol), str(each.symbol_day.trading_date)
        if memory.named.get(day, b"") == memory.files.days.get(day):
            is_complete = each.finding.verdict is Verdict.COMPLETE
            yield f"verify called {' '.join(day)} damaged, and it is complete" if is_complete else None


def _names(problem: IntegrityProblem, path: str) -> bool:
    """A problem names its file and those beside it. One of a folder says which file hinders it to list the others."""
    beside = path.rpartition("/")[0] == problem.path.rpartition("/")[0]
    return beside or (path.startswith(f"{problem.path}/") and problem.reason.endswith(UNCHECKED))


def _is_provable(path: str, memory: Memory) -> bool:
    return path in memory.proven and path.startswith(RECORDED)


def leftovers(report: IntegrityReport, files: StoreFiles) -> Findings:
    """Every temporary file is named, or a temporary folder that it is in: while the oracle reads, nobody writes."""
    named = {problem.path for problem in report.problems}
    for path in temporary_files(files.contents):
        folders = (path[:end] for end, letter in enumerate(path) if letter == "/")
        is_named = path in named or any(folder.endswith(TEMPORARY) and folder in named for folder in folders)
        yield None if is_named else f"{path} was left by a dead process, and verify does not name it"
