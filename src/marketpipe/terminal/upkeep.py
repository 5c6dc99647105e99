"""What was removed from a bucket, and copied to another place, printed."""

from __future__ import annotations

from attrs import asdict

from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.storage.domain.bucket_upkeep import CollectionReport, StoreCopyReport
from marketpipe.storage.domain.published_table import PublicationReport
from marketpipe.terminal.output import megabytes, out, print_json


def print_collection(report: CollectionReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    verb = "would be removed" if report.dry_run else "removed"
    others = f", and {count_of(report.others, 'leftover')} such as former snapshots" if report.others else ""
    out(f"{count_of(report.removed, 'object')} {verb}, {megabytes(report.removed_bytes)}{others}")
    out(f"{count_of(report.kept, 'object')} with files of the store, {megabytes(report.kept_bytes)}")
    if report.waiting:
        waiting = f"{count_of(report.waiting, 'object')}, {megabytes(report.waiting_bytes)}"
        out(f"{waiting}: in no file, but younger than the grace time")
    if report.snapshot:
        out(f"snapshot of the catalog: {report.snapshot}")


def print_copy(report: StoreCopyReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    if not report.rows:
        out(f"{report.target} was copied from {report.source} already")
        return
    days = count_of(report.rows["checkpoints"], "symbol-day")
    out(f"{report.source}: {count_of(report.files, 'file')}, {megabytes(report.size_bytes)}, copied to {report.target}")
    out(f"{days} and {count_of(report.rows['jobs'], 'job')} recorded there")
    if report.already_there:
        out(f"{count_of(report.already_there, 'file')} there already from a copy that was killed")


def print_publication(report: PublicationReport, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
        return
    table = f"{count_of(report.rows, 'bar')} in {count_of(report.objects, 'object')}, {megabytes(report.bytes)}"
    out(f"{report.place}: version {report.version:,}, {table}")
    changed = f"{count_of(report.added, 'object')} added, {report.removed:,} removed"
    out(changed if report.added or report.removed else "nothing has changed since that version")
    if report.copied:
        copied = f"{count_of(report.copied, 'object')}, {megabytes(report.copied_bytes)}"
        out(f"{copied}: copies of days that are in no month object, or in one of which a day was superseded")
        out("'marketpipe compact' makes month objects")
    for left in report.left:
        out(f"not in the table: {left}")
