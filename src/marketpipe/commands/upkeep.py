"""The command that keeps a store in a bucket in order."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

import typer

from marketpipe.commands.options import Config, Json
from marketpipe.terminal.process import open_store
from marketpipe.terminal.verbosity import is_wanted

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def gc(
    config: Config = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="Keep what is younger, such as 90m, 24h or 7d.")
    ] = "24h",
    alone: Annotated[
        bool, typer.Option("--alone", help="Nothing else works with the store: a grace time under 1h is safe.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Remove objects of a bucket that no file of the store is in.

    Writes that were killed leave them, and bars that were replaced. First a snapshot of the catalog is written into the
    bucket: 'marketpipe recover' begins with it if the state is lost. A store on a disk needs none of this.

    marketpipe gc
    marketpipe gc --grace 7d --dry-run
    """
    from marketpipe.terminal.upkeep import print_collection

    kept = _time(grace)
    with open_store(config) as pipeline:
        report = pipeline.gc(kept, dry_run=dry_run, alone=alone)
    if is_wanted(True, json):
        print_collection(report, as_json=json)


def publish_delta(config: Config = None, json: Json = False) -> None:
    """Publish the bars of a store in a bucket as a Delta table.

    DuckDB, Polars, Spark and pandas read it, with the columns symbol and trading_date, as of one moment. Run
    'marketpipe compact' before: months that it has made objects of are in the table as they are, and other days are
    copied. Exit code 1: some days are not in the table; they are named with the reason.

    marketpipe publish-delta
    """
    from marketpipe.terminal.upkeep import print_publication

    with open_store(config) as pipeline:
        report = pipeline.publish_delta()
    if is_wanted(report.ok, json):
        print_publication(report, as_json=json)
    if not report.ok:
        raise typer.Exit(1)


def _time(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII)
    if found is None:
        raise typer.BadParameter(f"--grace: {text!r} is no time: write 90m, 24h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
