"""The commands that check a store, and those that repair or freeze it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketpipe.commands.options import Config, End, Json, Overwrite, Start, Symbols, chosen
from marketpipe.terminal.process import exit_with, open_store
from marketpipe.terminal.verbosity import is_wanted

if TYPE_CHECKING:
    from marketpipe.storage.domain.dataset_lock import DatasetLock


def coverage(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also if anything is short.")] = False,
    json: Json = False,
) -> None:
    """Show for every symbol and session whether its bars are stored.

    Prints a summary, a map, and every gap with its reason. Exit code 1 if anything is missing, suspect or lost; with
    --strict also if it is short: the provider repeated its answer, and the evidence is still against it.

    marketpipe coverage --symbols AAPL --start 2024-01-02
    """
    from marketpipe.terminal.coverage import print_coverage

    with open_store(config) as pipeline:
        report = pipeline.coverage(chosen(pipeline, symbols), start, end)
        has_state = pipeline.dataset() is not None
    ok = report.strict_ok if strict else report.ok
    if is_wanted(ok, json):
        print_coverage(report, as_json=json, config=pipeline.config, has_state=has_state)
    exit_with(ok)


def report(
    config: Config = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write; by default report.html.")
    ] = None,
    overwrite: Overwrite = False,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    bars_mb: Annotated[
        float | None, typer.Option("--bars-mb", metavar="MB", help="Megabytes of minute bars in the file; usually 16.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it live on loopback until Ctrl-C.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", help="With --serve; by default a free one.")
    ] = None,
    json: Json = False,
) -> None:
    """Write an HTML page that shows what is stored, missing and odd.

    One file has completeness, gaps, quality, restatements, volumes and candle charts of symbol-days. It opens from disk
    and makes no request. With --serve the same page is served to browsers on this machine, and
    follows an ingestion that runs. Needs the extra: pip install 'marketpipe[report]'.
    """
    from marketpipe.report_page.page import check_installed
    from marketpipe.reporting import BARS_MB, check_target
    from marketpipe.terminal.reporting import print_page, serve_report

    _check_report_options(
        serve, port, {"--output": output, "--bars-mb": bars_mb, "--overwrite": overwrite, "--json": json}
    )
    check_installed()
    target = output or Path("report.html")
    with open_store(config) as pipeline:
        chosen_symbols = chosen(pipeline, symbols)
        if serve:
            serve_report(pipeline, chosen_symbols, start, end, port or 0)
            return
        check_target(pipeline, target, overwrite=overwrite)
        page = pipeline.report(chosen_symbols, start, end, bars_mb=BARS_MB if bars_mb is None else bars_mb)
        written = page.write(target, overwrite=overwrite)
    if is_wanted(ok=True, as_json=json):
        print_page(page, written, as_json=json)


def _check_report_options(serve: bool, port: int | None, of_a_file: Mapping[str, object]) -> None:
    """Raise ``typer.BadParameter`` for options that would be ignored."""
    given = [name for name, value in of_a_file.items() if value is not None and value is not False]
    if serve and given:
        raise typer.BadParameter(f"--serve writes no file: leave out {', '.join(given)}")
    if port is not None and not serve:
        raise typer.BadParameter("--port belongs to --serve")


def verify(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    lock: Annotated[
        Path | None, typer.Option("--lock", metavar="FILE", help="File written by 'marketpipe freeze'.")
    ] = None,
    json: Json = False,
) -> None:
    """Read every byte, and list damaged, lost or foreign files.

    With --lock, prove that the frozen files are unchanged. Exit code 1 if there is any problem.

    marketpipe verify
    marketpipe verify --lock marketpipe.lock
    """
    from marketpipe.terminal.integrity import print_integrity
    from marketpipe.terminal.progress import show_steps

    frozen = None if lock is None else _read_lock(lock)
    with open_store(config) as pipeline, show_steps("verifying", "symbol") as show:
        report = pipeline.verify(chosen(pipeline, symbols), start, end, lock=frozen, on_symbol=show)
    if is_wanted(report.ok, json):
        print_integrity(report, frozen, as_json=json)
    exit_with(report.ok)


def recover(
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Rebuild the state even if it can be read.")] = False,
    json: Json = False,
) -> None:
    """Rebuild a lost or damaged state from the stored files.

    The old state file is kept under another name. Exit code 1 if any stored file is damaged.
    """
    from marketpipe.terminal.integrity import print_recovery
    from marketpipe.terminal.progress import show_steps

    with open_store(config) as pipeline, show_steps("recovering", "symbol") as show:
        report = pipeline.recover(force=force, on_symbol=show)
    if is_wanted(report.ok, json):
        print_recovery(report, as_json=json)
    exit_with(report.ok)


def freeze(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: End = None, json: Json = False
) -> None:
    """Print a lock: the hash of the dataset and of each of its files.

    'marketpipe verify --lock' checks it, later or on another machine. Fails if the store is damaged.

    marketpipe freeze --symbols AAPL,MSFT --end 2024-12-31 > marketpipe.lock
    """
    from marketpipe.terminal.integrity import print_lock

    with open_store(config) as pipeline:
        print_lock(pipeline.freeze(chosen(pipeline, symbols), start, end), as_json=json)


def validate(
    config: Config = None, symbols: Symbols = None, start: Start = None, end: End = None, json: Json = False
) -> None:
    """Check the stored bars against the validation rules.

    Changes nothing. Exit code 1 if bars break a rule of severity error, or if a file is damaged.
    """
    from marketpipe.terminal.store import print_validation

    with open_store(config) as pipeline:
        report = pipeline.validate(chosen(pipeline, symbols), start, end)
    if is_wanted(report.ok, json):
        print_validation(report, as_json=json)
    exit_with(report.ok)


def _read_lock(file: Path) -> DatasetLock:
    """Raise ``ConfigurationError`` if the file cannot be read or is not an unchanged lock."""
    from marketpipe.shared_kernel.domain.errors import ConfigurationError
    from marketpipe.storage.domain.dataset_lock import DatasetLock

    try:
        return DatasetLock.parse(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{file.absolute()} cannot be read as a lock: {reason}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error
