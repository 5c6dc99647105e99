"""Verification of stored files, locks of a dataset, recoveries and copies of the state, printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from attrs import asdict

from marketpipe.ingestion.domain.store_status import RecoveryReport, StateCopyReport
from marketpipe.integration.domain.table_import import is_imported
from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.domain.integrity import MOVE_AWAY, Damage, IntegrityProblem, IntegrityReport, StoreArea
from marketpipe.terminal.output import err, megabytes, out, print_json, reasons_as_json

SHOWN_OF_A_KIND = 10
"""Files that are printed of a kind that may comprise the whole store, as when its state was lost."""
REPAIRABLE = frozenset({Damage.ALTERED, Damage.UNREADABLE, Damage.MISLABELLED, Damage.GONE})

REPAIRED_BY_INGEST = "'marketpipe ingest' requests damaged and lost minute bars again, and rebuilds aggregates"
REPAIRED_BY_IMPORT = "'marketpipe import' brings damaged and lost bars again, from your files, and rebuilds aggregates"

COPIES_MADE_AGAIN = "'marketpipe aggregate --timeframes 1m' makes damaged read copies again"
REVISIONS_GIVEN_UP = (
    "a damaged or lost former version comes back from a backup only; 'marketpipe recover --force' gives it up"
)


def print_integrity(report: IntegrityReport, lock: DatasetLock | None, *, as_json: bool) -> None:
    """Print the problems of a store, or of the files in ``lock`` if there is one."""
    if as_json:
        print_json(_integrity_as_json(report, lock))
        return
    unrecorded = [problem for problem in report.problems if problem.damage is Damage.UNRECORDED]
    for problem in report.problems:
        if problem.damage is not Damage.UNRECORDED:
            out(_line(problem))
    _print_first([_line(problem) for problem in unrecorded], "files that are not recorded in the state")
    not_in_lock = [f"{path}: not in the lock" for path in report.extra]
    _print_first(not_in_lock, "files that are not in the lock, which is not an error")
    verdict = "every file is unchanged" if report.ok else f"{count_of(len(report.problems), 'problem')}"
    out(f"{count_of(report.files, 'file')}, {megabytes(report.size_bytes)} read: {verdict}")
    if lock is not None:
        out(f"{'identical' if report.ok else 'NOT identical'} to dataset {lock.dataset_sha256}")
        return
    for advice in _advice(report):
        out(advice)


def _print_first(lines: Sequence[str], kind: str) -> None:
    for line in lines[:SHOWN_OF_A_KIND]:
        out(line)
    if len(lines) > SHOWN_OF_A_KIND:
        out(f"… and {len(lines) - SHOWN_OF_A_KIND:,} more {kind}")


def _line(problem: IntegrityProblem) -> str:
    return f"{problem.path}: {problem.damage}: {problem.reason.removeprefix('is damaged: ')}"


def _advice(report: IntegrityReport) -> Iterator[str]:
    damages = {problem.damage for problem in report.problems}
    if report.suspect:
        days = count_of(report.suspect, "damaged day")
        yield f"{days} with the recorded size and time: now marked as failed in the state"
    damaged = [problem.path for problem in report.problems if problem.damage in REPAIRABLE]
    areas = {path.partition("/")[0] for path in damaged}
    if areas - {StoreArea.COPIES, StoreArea.REVISIONS}:
        is_imported = report.identity is not None and report.identity.is_imported
        is_in_the_way = any(problem.reason.endswith(MOVE_AWAY) for problem in report.problems)
        first = "when what is in the place of files has been moved away, " if is_in_the_way else ""
        yield first + (REPAIRED_BY_IMPORT if is_imported else REPAIRED_BY_INGEST)
    if StoreArea.COPIES in areas:
        yield COPIES_MADE_AGAIN
    if any(path.startswith(f"{StoreArea.REVISIONS}/") and "/year=" in path for path in damaged):
        yield REVISIONS_GIVEN_UP
    if Damage.UNRECORDED in damages:
        yield "'marketpipe recover' records the stored files again if the state was lost"


def _integrity_as_json(report: IntegrityReport, lock: DatasetLock | None) -> dict[str, object]:
    return {
        "intact": report.ok,
        "files": report.files,
        "bytes": report.size_bytes,
        "dataset_sha256": None if lock is None else lock.dataset_sha256,
        "problems": [{"path": each.path, "damage": each.damage, "reason": each.reason} for each in report.problems],
        "extra": list(report.extra),
        "marked_failed": report.suspect,
    }


def print_lock(lock: DatasetLock, *, as_json: bool) -> None:
    if not as_json:
        out(lock.text().removesuffix("\n"), is_prose=False)
        return
    files = [{"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256} for file in lock.files]
    dataset, scope = asdict(lock.identity), None
    if (of := lock.scope) is not None:
        symbols = None if of.symbols is None else [str(symbol) for symbol in of.symbols]
        scope = {"symbols": symbols, "start": str(of.first), "end": str(of.last)}
    described = {"sha256": lock.dataset_sha256, "dataset": dataset, "session": lock.session, "scope": scope}
    print_json({**described, "files": files})


def print_recovery(report: RecoveryReport, *, as_json: bool) -> None:
    if as_json:
        dataset = None if report.identity is None else asdict(report.identity)
        others = asdict(report, recurse=False, filter=lambda attribute, _: attribute.name != "identity")
        print_json({"dataset": dataset, **others, "damaged": reasons_as_json(report.damaged, "reason")})
        return
    if report.set_aside:
        out(f"the old state was moved to {report.set_aside}")
    for line in _damaged_lines(report.damaged):
        err(f"damaged, and not recorded: {line}")
    if report.identity is None:
        out("no bars are stored here: there is nothing to recover")
        return
    out(f"dataset: {report.identity}, session {report.session}")
    recorded = f"{count_of(report.symbol_days, 'symbol-day')} recorded, {report.partial:,} of them partial"
    days = f", and {count_of(report.official_days, 'official day')}" if report.official_days else ""
    out(f"{recorded}: {count_of(report.bars, 'bar')}{days}")
    if report.bars:
        outside = "some bars are" if str(report.session) == "extended" else "no bar is"
        out(f"the session is inferred from the bars: {outside} outside regular hours")
    if not is_imported(report.identity.provider):
        out("days without bars have no file: the next ingestion requests them once more")


def _damaged_lines(damaged: Mapping[SymbolDay, str]) -> Iterator[str]:
    """Yield a line for each reason: days that are in one damaged file have the same."""
    for (symbol, reason), days in groupby(sorted(damaged.items()), lambda each: (each[0].symbol, each[1])):
        dates = [str(day.trading_date) for day, _ in days]
        span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}, {len(dates)} days"
        yield f"{symbol} {span}: {reason}"


def print_state_copy(report: StateCopyReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    days, jobs = (report.rows[table] for table in ("checkpoints", "jobs"))
    out(f"{report.source}: {count_of(days, 'symbol-day')} and {count_of(jobs, 'job')} copied to {report.target}")
    out(f"now write into the configuration: state_path: {report.target}")
