"""The commands that ask a market data provider, and the one that builds aggregates."""

from __future__ import annotations

from typing import Annotated

import typer

from marketpipe.commands.options import (
    Compression,
    Config,
    End,
    ExecutorKind,
    Feed,
    Json,
    OutputPath,
    Provider,
    RetrySuspect,
    Scheduler,
    Session,
    Start,
    Symbols,
    Workers,
    chosen,
    configured,
    listed,
    overrides,
)
from marketpipe.terminal.process import HOW_TO_CONTINUE, exit_with, open_pipeline, open_store
from marketpipe.terminal.verbosity import is_wanted

NO_AGGREGATES = "this store has no aggregates yet: give --timeframes, or --config with its timeframes"
DAYS_ALONE = (
    "this store has daily bars and no minutes to aggregate; 1w and 1mo are made when they are loaded, and in queries "
    "by the views bars_1w and bars_1mo"
)


def plan(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    provider: Provider = None,
    feed: Feed = None,
    output_path: OutputPath = None,
    session: Session = None,
    retry_suspect: RetrySuspect = False,
    json: Json = False,
) -> None:
    """Show what ingest would request, and what it would cost.

    Sends no request and changes nothing.

    marketpipe plan
    marketpipe plan --symbols SPY,QQQ --start 2020-01-02
    """
    from marketpipe.terminal.ingestion import print_plan

    scope = {"start": start, "end": end, "session": session}
    changed = overrides(symbols, feed, **scope, provider=provider, output_path=output_path)
    with open_pipeline(configured(config, changed)) as pipeline:
        print_plan(pipeline.plan(retry_suspect=retry_suspect), as_json=json)


def ingest(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    workers: Workers = None,
    executor: ExecutorKind = None,
    scheduler: Scheduler = None,
    provider: Provider = None,
    feed: Feed = None,
    output_path: OutputPath = None,
    compression: Compression = None,
    session: Session = None,
    retry_suspect: RetrySuspect = False,
    json: Json = False,
) -> None:
    """Request, validate and store the bars that are missing.

    Then refreshes the aggregates. If it was stopped, run it again to continue. Exit code 1 if anything failed.

    marketpipe ingest
    marketpipe ingest --provider alpaca --symbols AAPL --start 2024-01-02 --end latest
    """
    from marketpipe.terminal.ingestion import print_run
    from marketpipe.terminal.progress import show_progress

    scope = {"start": start, "end": end, "session": session}
    others = {"workers": workers, "executor": executor, "scheduler": scheduler, "compression": compression}
    changed = overrides(symbols, feed, **scope, **others, provider=provider, output_path=output_path)
    with open_pipeline(configured(config, changed), HOW_TO_CONTINUE) as pipeline, show_progress(pipeline):
        report = pipeline.ingest(retry_suspect=retry_suspect)
    print_run(report, as_json=json)
    exit_with(report.ok)


def update(config: Config = None, symbols: Symbols = None, json: Json = False) -> None:
    """Bring the store up to the newest final session.

    Begins with each symbol's last settled session and ignores the configured end. Safe to run from cron: if another
    update of the same store is running, this one prints a message, does nothing and ends with exit code 0.

    marketpipe update --root /srv/bars --quiet
    """
    from marketpipe.shared_kernel.domain.errors import StoreBusyError
    from marketpipe.terminal.ingestion import print_run
    from marketpipe.terminal.output import err
    from marketpipe.terminal.progress import show_progress

    try:
        with open_store(config, HOW_TO_CONTINUE) as pipeline, show_progress(pipeline):
            report = pipeline.update(chosen(pipeline, symbols))
    except StoreBusyError as busy:
        if is_wanted(ok=True, as_json=False):
            err(str(busy))
        return
    print_run(report, as_json=json)
    exit_with(report.ok)


def audit(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    sample: Annotated[
        str | None, typer.Option("--sample", metavar="SHARE", help="Share of the sessions to compare, such as 2%.")
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Replace bars that differ; the old ones are kept as a revision.")
    ] = False,
    json: Json = False,
) -> None:
    """Request stored sessions again, and compare them bar by bar.

    Changes nothing without --adopt. Exit code 1 if the provider's bars differ from the stored ones.

    marketpipe audit --sample 2%
    marketpipe audit --symbols AAPL --start 2024-06-03 --end 2024-06-07 --adopt
    """
    from marketpipe.terminal.ingestion import print_audit
    from marketpipe.terminal.progress import show_progress

    with open_store(config) as pipeline, show_progress(pipeline):
        report = pipeline.audit(chosen(pipeline, symbols), start, end, sample=sample, adopt=adopt)
    if is_wanted(report.ok, json):
        print_audit(report, as_json=json)
    exit_with(report.ok)


def aggregate(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    timeframes: Annotated[
        list[str] | None,
        typer.Option(
            "--timeframes",
            metavar="LIST",
            help="Such as 5m,1h,1d; 1m: read copies. By default those configured or stored.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Bring the aggregates and the read copies up to date with the minute bars.

    Without a configuration and --timeframes these are the timeframes that the store has aggregates of. Read copies are
    made if the configuration has read_copies, or if 1m is among the --timeframes: in the configured form, or else in
    that of the copies that exist, or as Parquet.

    marketpipe aggregate --timeframes 5m,1h
    marketpipe aggregate --timeframes 1m
    """
    from marketpipe.config import StoreConfig, load_config
    from marketpipe.shared_kernel.domain.errors import ConfigurationError
    from marketpipe.terminal.output import err
    from marketpipe.terminal.store import print_aggregation

    settings = StoreConfig(timeframes=()) if config is None else load_config(config)
    with open_pipeline(settings) as pipeline:
        report = pipeline.aggregate(chosen(pipeline, symbols), start, end, listed(timeframes))
        is_nothing = report.ok and not report.written + report.unchanged
        stored = pipeline.status().symbols if is_nothing else ()
    has_days_alone = any(each.official_days for each in stored) and not any(each.bars for each in stored)
    advice = DAYS_ALONE if has_days_alone else NO_AGGREGATES
    if is_nothing and config is None and timeframes is None:
        raise ConfigurationError(advice)
    if is_wanted(report.ok, json):
        print_aggregation(report, as_json=json)
        if has_days_alone:
            err(f"note: {advice}")
    exit_with(report.ok)
