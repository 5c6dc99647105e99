"""The commands that have to do with a market data provider."""

from __future__ import annotations

from typing import Annotated

import typer

from marketpipe.commands.options import (
    Compression,
    Config,
    EndOrLatest,
    ExecutorKind,
    Feed,
    Json,
    OutputPath,
    Provider,
    RetrySuspect,
    SessionHours,
    Start,
    Symbols,
    Workers,
    listed,
)
from marketpipe.commands.process import HOW_TO_GO_ON, leave, pipeline_of, store_of


def plan(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: EndOrLatest = None,
    provider: Provider = None,
    feed: Feed = None,
    output_path: OutputPath = None,
    session: SessionHours = None,
    retry_suspect: RetrySuspect = False,
    json: Json = False,
) -> None:
    """Show what ingest would ask for, and what that would cost.

    Asks no provider and changes nothing.
    """
    from marketpipe.config import load_config
    from marketpipe.terminal.reports import print_plan

    given = _overrides(symbols, start, end, provider, feed, output_path, session)
    with pipeline_of(load_config(config, given)) as pipeline:
        print_plan(pipeline.plan(retry_suspect=retry_suspect), as_json=json)


def ingest(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: EndOrLatest = None,
    workers: Workers = None,
    executor: ExecutorKind = None,
    provider: Provider = None,
    feed: Feed = None,
    output_path: OutputPath = None,
    compression: Compression = None,
    session: SessionHours = None,
    retry_suspect: RetrySuspect = False,
    json: Json = False,
) -> None:
    """Ingest what is missing.

    Every bar is validated and stored, then the aggregates are refreshed. Run it again to go on after a stop.
    """
    from marketpipe.config import load_config
    from marketpipe.terminal.reports import print_ingestion, progress_of

    given = _overrides(symbols, start, end, provider, feed, output_path, session)
    others = {"workers": workers, "executor": executor, "compression": compression}
    given |= {key: value for key, value in others.items() if value is not None}
    with pipeline_of(load_config(config, given), HOW_TO_GO_ON) as pipeline, progress_of(pipeline):
        report = pipeline.ingest(retry_suspect=retry_suspect)
    print_ingestion(report, as_json=json)
    leave(report.ok)


def update(config: Config = None, symbols: Symbols = None, json: Json = False) -> None:
    """Bring the store up to the newest final session.

    From each symbol's last complete session on; the configured end is left aside. Safe in cron: where another update
    of the same store is at work, this one says so, does nothing, and ends with exit code 0.
    """
    from marketpipe.shared_kernel.domain.errors import StoreBusyError
    from marketpipe.terminal.output import err
    from marketpipe.terminal.reports import print_ingestion, progress_of

    try:
        with store_of(config, HOW_TO_GO_ON) as pipeline, progress_of(pipeline):
            report = pipeline.update(listed(symbols))
    except StoreBusyError as busy:
        err(str(busy))
        return
    print_ingestion(report, as_json=json)
    leave(report.ok)


def audit(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: EndOrLatest = None,
    sample: Annotated[str | None, typer.Option(help="Share of the sessions to ask for again, such as 2%.")] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Let the new word replace the old, which is kept as a revision.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask again for old sessions, and compare bar by bar.

    Changes nothing without --adopt. Exit code 1 where the provider says something else than before.
    """
    from marketpipe.terminal.reports import print_audit, progress_of

    with store_of(config) as pipeline, progress_of(pipeline):
        report = pipeline.audit(listed(symbols), start, end, sample=sample, adopt=adopt)
    print_audit(report, config, as_json=json)
    leave(report.ok)


def _overrides(
    symbols: str | None,
    start: str | None,
    end: str | None,
    provider: str | None,
    feed: str | None,
    output_path: str | None,
    session: str | None,
) -> dict[str, object]:
    """What was given on the command line, by the keys of the configuration."""
    given = {
        "symbols": listed(symbols),
        "start": start,
        "end": end,
        "provider": provider,
        "alpaca.feed": feed,
        "output_path": output_path,
        "session": session,
    }
    return {key: value for key, value in given.items() if value is not None}
