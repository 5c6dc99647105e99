from __future__ import annotations

from collections.abc import Iterator, Sequence

from marketpipe.ingestion.domain.recovery import RecoveryReport
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport
from marketpipe.terminal.output import err, out, print_json

MOST_ALIKE = 10
HEALED_BY_INGEST = frozenset({Damage.ALTERED, Damage.UNREADABLE, Damage.MISLABELLED, Damage.GONE})


def print_integrity(report: IntegrityReport, lock: DatasetLock | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_integrity(report, lock))
        return
    unrecorded = [problem for problem in report.problems if problem.damage is Damage.UNRECORDED]
    for line in [_line(problem) for problem in report.problems if problem.damage is not Damage.UNRECORDED]:
        out(line)
    _print_some([_line(problem) for problem in unrecorded], "that the state does not know")
    _print_some([f"{path}: not in the lock" for path in report.extra], "that are not in the lock, which is no failure")
    read = f"{report.files:,} files, {report.size_bytes / 1e6:,.1f} MB read"
    out(f"{read}: {'every byte is as it was' if report.ok else f'{len(report.problems):,} NOT in order'}")
    for advice in _advice(report) if lock is None else _verdict(report, lock):
        out(advice)


def _print_some(lines: Sequence[str], what: str) -> None:
    """Of a store without its state, or that has grown since, it could be all."""
    for line in lines[:MOST_ALIKE]:
        out(line)
    if len(lines) > MOST_ALIKE:
        out(f"… and {len(lines) - MOST_ALIKE:,} more {what}")


def _line(problem: IntegrityProblem) -> str:
    return f"{problem.path}: {problem.damage}: {problem.reason}"


def _advice(report: IntegrityReport) -> Iterator[str]:
    damages = {problem.damage for problem in report.problems}
    if damages & HEALED_BY_INGEST:
        yield "marketpipe ingest asks again for minute bars that are damaged or gone, and makes aggregates anew"
    if Damage.UNRECORDED in damages:
        yield "marketpipe recover records what is stored, where the state was lost"


def _verdict(report: IntegrityReport, lock: DatasetLock) -> Iterator[str]:
    said = "the very same bytes as" if report.ok else "NOT the bytes of"
    yield f"{said} dataset {lock.dataset_sha256}"


def _integrity(report: IntegrityReport, lock: DatasetLock | None) -> dict[str, object]:
    return {
        "intact": report.ok,
        "files": report.files,
        "bytes": report.size_bytes,
        "dataset_sha256": None if lock is None else lock.dataset_sha256,
        "problems": [
            {"path": problem.path, "damage": str(problem.damage), "reason": problem.reason}
            for problem in report.problems
        ],
        "extra": list(report.extra),
    }


def print_lock(lock: DatasetLock, *, as_json: bool) -> None:
    if not as_json:
        out(lock.text().removesuffix("\n"))
        return
    files = [{"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256} for file in lock.files]
    told = {name: getattr(lock.identity, name) for name in ("provider", "feed", "adjustment")}
    session = None if lock.session is None else str(lock.session)
    print_json({"sha256": lock.dataset_sha256, "dataset": told, "session": session, "files": files})


def print_recovery(report: RecoveryReport, *, as_json: bool) -> None:
    if as_json:
        print_json(_recovery(report))
        return
    if report.set_aside:
        out(f"the former state lies in {report.set_aside}")
    for day, reason in sorted(report.damaged.items()):
        err(f"damaged, and not recorded: {day}: {reason}")
    if report.identity is None:
        out("no bars are stored here: there is nothing to recover")
        return
    out(f"dataset: {report.identity}, session {report.session}")
    out(f"{report.symbol_days:,} symbol-days recorded, {report.partial:,} of them partial: {report.bars:,} bars")
    inferred = "some bars lie outside" if str(report.session) == "extended" else "no bar lies outside"
    out(f"the session is inferred: {inferred} the regular sessions")
    out("days without bars leave no file: the next ingestion asks for them once more")


def _recovery(report: RecoveryReport) -> dict[str, object]:
    told = report.identity
    return {
        "dataset": told and {"provider": told.provider, "feed": told.feed, "adjustment": told.adjustment},
        "session": None if report.session is None else str(report.session),
        "symbol_days": report.symbol_days,
        "partial": report.partial,
        "bars": report.bars,
        "rejected": report.rejected,
        "damaged": [
            {"symbol": str(day.symbol), "trading_date": str(day.trading_date), "reason": reason}
            for day, reason in sorted(report.damaged.items())
        ],
        "set_aside": report.set_aside,
    }
