"""Imports, printed: how the files are understood before anything is written, and what became of their bars."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import asdict, fields

from marketpipe.integration.domain.table_import import ImportPreview, ImportSettings
from marketpipe.pipeline import Pipeline
from marketpipe.reports import ImportReport, IngestionReport
from marketpipe.shared_kernel.domain.errors import ConfigurationError, count_of
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.terminal.ingestion import ingestion_as_json, made_files, print_failures, rejections
from marketpipe.terminal.output import err, out, print_json
from marketpipe.terminal.progress import show_progress
from marketpipe.terminal.tables import print_table
from marketpipe.terminal.verbosity import is_wanted, verbosity

SYMBOLS_SHOWN = 6
_COLUMNS = re.compile(r"\bcolumns=\{([^}]*)\}")
_NAMES = "|".join(each.name for each in fields(ImportSettings) if each.name != "columns") + "|replace"
_ARGUMENT = re.compile(rf'\b({_NAMES})=(?:True\b|("[^"]*"(?:(?:, | or )"[^"]*")*))')


@contextmanager
def shown(pipeline: Pipeline, *, dry_run: bool, as_json: bool) -> Iterator[Callable[[ImportPreview], None]]:
    """Yield what shows the preview of an import, and below it, if there is something to import, the progress."""
    with naming_options(), ExitStack() as drawn:

        def show(preview: ImportPreview) -> None:
            if not as_json:
                show_preview(preview)
            if preview.ok and not dry_run:
                drawn.enter_context(show_progress(pipeline))

        yield show


@contextmanager
def naming_options() -> Iterator[None]:
    """Name options in the message of an error, not arguments of ``Pipeline.import_table``."""
    try:
        yield
    except ConfigurationError as error:
        raise type(error)(_with_options(str(error))) from error


def _with_options(message: str) -> str:
    """Return the message with ``--map open=…`` in place of ``columns={"open": "…"}``, and so on."""
    named = _COLUMNS.sub(lambda found: "--map " + _bare(found[1]).replace(": ", "=").replace(", ", ","), message)
    return _ARGUMENT.sub(
        lambda found: f"--{found[1].replace('_', '-')}" + (f" {_bare(found[2])}" if found[2] else ""), named
    )


def _bare(quoted: str) -> str:
    return quoted.replace('"', "")


def show_preview(preview: ImportPreview) -> None:
    """Print how the files are understood, with the first bars as they would be stored."""
    if verbosity().quiet and preview.ok:
        return
    for name, value in _understood(preview):
        out(f"{name:<12}{value}")
    if preview.sample:
        out()
        print_table(list(preview.sample[0]), [list(row.values()) for row in preview.sample])
    out()
    for reason, count in preview.left_out.items():
        out(f"left out: {count_of(count, 'bar')} of {reason}")
    for note in preview.notes:
        out(f"note: {note}")


def _understood(preview: ImportPreview) -> Iterator[tuple[str, str]]:
    yield "store of", preview.provider + (f", prices {preview.adjustment}" if preview.adjustment else "")
    if preview.layout:
        yield "format", preview.layout
    yield "columns", ", ".join(f"{role}={name}" if role != name else role for role, name in preview.columns.items())
    if preview.ignored:
        yield "ignored", ", ".join(preview.ignored)
    if preview.timezone:
        edge = "" if preview.timeframe is Timeframe.DAY_1 else f", the {preview.stamps} edge of each bar"
        yield "times", f"{preview.timezone}{edge}"
    if preview.price_unit:
        yield "prices in", preview.price_unit
    if preview.symbols:
        names = ", ".join(map(str, preview.symbols[:SYMBOLS_SHOWN]))
        yield "symbols", names + (f" … ({len(preview.symbols):,})" if len(preview.symbols) > SYMBOLS_SHOWN else "")
        yield "dates", f"{preview.first} to {preview.last}, {count_of(preview.symbol_days, 'symbol-day')}"
    yield "bars", f"{preview.bars:,} of {preview.timeframe}"


def print_import(report: ImportReport, *, as_json: bool) -> None:
    """Print what became of the bars. Without ``as_json`` the preview was shown before."""
    if as_json:
        print_json(_as_json(report))
    elif report.ingestion is not None:
        for line in _stored(report.ingestion, report.preview.timeframe):
            out(line)
        print_failures(report.ingestion, "correct what is wrong in the files, then run the same command again")
    elif report.preview.ok:
        out("nothing was written; leave out --dry-run to import these bars")
    else:
        for question in report.preview.questions:
            err(f"question: {_with_options(question)}")
        err("nothing was written: answer the questions with the options that they name")


def _stored(report: IngestionReport, timeframe: Timeframe) -> Iterator[str]:
    if timeframe is Timeframe.DAY_1:
        yield f"job {report.job_id} {report.state}: {count_of(report.official.answered, 'official day')} stored"
        if changed := len(report.official.changed):
            yield (
                f"{count_of(changed, 'official day')} changed: if the store has minutes of them too, these count as "
                "missing until you import them again"
            )
        return
    counts = ", ".join(f"{count:,} {outcome}" for outcome in Outcome if (count := report.count(outcome)))
    left = f"; {report.left:,} not imported" if report.left else ""
    pace = f", {report.bars / report.seconds:,.0f} bars/s" if report.seconds and report.bars else ""
    yield f"job {report.job_id} {report.state}. Symbol-days: {counts or 'none'}{left}"
    yield f"{count_of(report.bars, 'bar')}, {report.rejected:,} rejected, {report.seconds:.1f} s{pace}"
    for rule, count in sorted(report.warnings.items()):
        yield f"warning: {count_of(count, 'bar')} against the rule {rule}; stored nevertheless"
    yield from rejections(report)
    yield from made_files(report.aggregates)


def print_sample(report: ImportReport, folder: Path, *, as_json: bool) -> None:
    """Print what the sample is, where it comes from, and what to do with it."""
    if as_json or not report.ok:
        print_import(report, as_json=as_json)
        return
    if is_wanted(report.ok, as_json):
        shown, names = report.preview, ", ".join(map(str, report.preview.symbols))
        out(f"{count_of(shown.bars, 'real daily bar')} of {names}, {shown.first} to {shown.last}, in {folder}")
        out("as traded, so prices jump at splits; there are no minutes in it")
        out("source: Quandl WIKI Prices, in the public domain; packaged by bokeh-sampledata")
        out(f"try: marketpipe export weeks.csv --timeframe 1w --root {shlex.quote(str(folder))}", is_prose=False)


def _as_json(report: ImportReport) -> dict[str, object]:
    shown = asdict(report.preview, recurse=False)
    shown |= {"symbols": [str(symbol) for symbol in report.preview.symbols]}
    shown |= {"questions": [_with_options(question) for question in report.preview.questions]}
    shown |= {"sample": [dict(row) for row in report.preview.sample]}
    return {
        "ok": report.ok,
        "preview": shown,
        "ingestion": None if report.ingestion is None else ingestion_as_json(report.ingestion),
    }
