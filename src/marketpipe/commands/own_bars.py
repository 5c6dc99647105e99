"""The commands with which a user's own bars come into a store, are put into fewer files, and leave it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketpipe.commands.options import Config, End, Json, OutputPath, Session, Start, Symbols, chosen
from marketpipe.terminal.process import HOW_TO_CONTINUE, exit_with, open_pipeline, open_store
from marketpipe.terminal.verbosity import is_wanted

if TYPE_CHECKING:
    from marketpipe.config import StoreConfig

Columns = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="ROLE=COLUMN,…", help="Which column is what, such as open=o,timestamp=begin."),
]


def import_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="CSV (also gzip, zstd or zip) and Parquet files.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the source, such as kibot: the store is of import:kibot.",
        ),
    ] = None,
    columns: Columns = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="The symbol of all bars.")] = None,
    symbol_from: Annotated[
        str | None,
        typer.Option(
            "--symbol-from",
            metavar="WHERE",
            help="column, or name: the files are named after their symbols.",
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone",
            metavar="ZONE",
            help="Zone of local times: America/New_York, UTC or -05:00.",
        ),
    ] = None,
    timeframe: Annotated[
        str,
        typer.Option(
            "--timeframe",
            metavar="TIMEFRAME",
            help="1m, or 1d for official days.",
        ),
    ] = "1m",
    stamps: Annotated[
        str | None, typer.Option("--stamps", metavar="EDGE", help="Edge of a bar that its time is: left or right.")
    ] = None,
    price_unit: Annotated[
        str | None, typer.Option("--price-unit", metavar="UNIT", help="dollars, cents, deci-cents or nano-dollars.")
    ] = None,
    date_order: Annotated[str | None, typer.Option("--date-order", metavar="ORDER", help="MDY, DMY or YMD.")] = None,
    ambiguous: Annotated[
        str | None,
        typer.Option(
            "--ambiguous",
            metavar="WHICH",
            help="earliest or latest, for local times that a clock shows twice in autumn.",
        ),
    ] = None,
    adjustment: Annotated[
        str | None,
        typer.Option(
            "--adjustment",
            metavar="KIND",
            help="How prices are adjusted: raw, split, dividend, spin-off or all.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace stored days even if they have more bars than the files.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how the files are understood, and write nothing.")
    ] = False,
    config_file: Config = None,
    output_path: OutputPath = None,
    session: Session = None,
    json: Json = False,
) -> None:
    """Bring your own files of bars into a store.

    Shows how they are understood, then validates and stores them as if a provider had sent them. What the files do not
    tell is asked about, and nothing is written before it is answered. Exit code 1 if anything failed, 2 for an open
    question.

    marketpipe import AAPL.csv --name mine --symbol AAPL --timezone America/New_York --dry-run
    """
    from marketpipe.terminal.importing import print_import, shown

    store = _store(config_file, output_path, session)
    with open_pipeline(store, HOW_TO_CONTINUE) as pipeline, shown(pipeline, dry_run=dry_run, as_json=json) as preview:
        report = pipeline.import_table(
            files,
            name=name,
            columns=_mapped(columns),
            symbol=symbol,
            symbol_from=symbol_from,
            timezone=timezone,
            timeframe=timeframe,
            stamps=stamps,
            price_unit=price_unit,
            date_order=date_order,
            ambiguous=ambiguous,
            adjustment=adjustment,
            replace=replace,
            dry_run=dry_run,
            on_preview=preview,
        )
    if is_wanted(report.ok, json):
        print_import(report, as_json=json)
    if report.preview.questions:
        raise typer.Exit(2)
    exit_with(report.ok)


def compact(
    config: Config = None,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    undo: Annotated[bool, typer.Option("--undo", help="Write a file a day again, with the same bytes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Make one file of each settled month.

    A month is settled when it ended more than a week ago and its days are as they were recorded. Bars, versions, locks
    and aggregates stay as they are, and DuckDB, Polars, pandas and Spark read each bar once. When bars of such a month
    are stored again, it is a file a day until the next call.

    marketpipe compact
    marketpipe compact --symbols AAPL --end 2023-12-31 --dry-run
    """
    from marketpipe.terminal.exports import print_compaction
    from marketpipe.terminal.progress import show_steps

    with open_store(config) as pipeline, show_steps("undoing" if undo else "compacting", "month") as show:
        report = pipeline.compact(chosen(pipeline, symbols), start, end, undo=undo, dry_run=dry_run, on_month=show)
    print_compaction(report, undo=undo, as_json=json)
    exit_with(report.ok)


def drop(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL", help="Symbols, @FILE or @NAME.")],
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove symbols from the store.

    Removes their bars and aggregates, and forgets that they were requested. Asks before. The bars stay as revisions:
    --as-of still returns them. Rejected bars stay in quarantine. Exit code 1 if you say no.

    marketpipe drop AAPL MSFT
    """
    from marketpipe.integration.domain.table_import import is_imported
    from marketpipe.terminal.exports import is_confirmed, print_drop

    with open_store(config) as pipeline:
        names = chosen(pipeline, symbols) or ()
        if not yes and not is_confirmed(pipeline.drop(names, dry_run=True)):
            exit_with(ok=False)
        dataset, report = pipeline.dataset(), pipeline.drop(names)
        is_of_files = dataset is not None and is_imported(dataset[0].provider)
        print_drop(report, () if is_of_files else getattr(pipeline.config, "symbols", ()), as_json=json)


def sample(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for the store of the sample.")] = Path(
        "sample",
    ),
    json: Json = False,
) -> None:
    """Make a small store of real daily bars, without keys.

    AAPL, FB, GOOG, IBM and MSFT from 2000 to 2013, as traded: Quandl WIKI Prices, which are in the public domain. They
    come with the package bokeh-sampledata, an extra of this one: pip install 'marketpipe[sample]'.
    """
    from marketpipe.config import StoreConfig
    from marketpipe.terminal.importing import print_sample

    file = _sample_file()
    with open_pipeline(StoreConfig(output_path=folder / "data"), HOW_TO_CONTINUE) as pipeline:
        report = pipeline.import_table([str(file)], name="quandl-wiki", timeframe="1d", adjustment="raw")
    print_sample(report, folder.absolute(), as_json=json)  # --root has left the folder that the user is in
    exit_with(report.ok)


def _sample_file() -> Path:
    """Return the file of the sample. Its package is not imported, as that would import what it needs itself."""
    from importlib.util import find_spec

    from marketpipe.shared_kernel.domain.errors import ConfigurationError

    found = find_spec("bokeh_sampledata")
    file = Path(found.origin).parent / "_data" / "stocks.csv.gz" if found and found.origin else None
    if file is None or not file.is_file():  # before 2026.1 it had prices of Yahoo, in other files
        raise ConfigurationError(
            "the sample is in a package of its own: pip install 'bokeh-sampledata>=2026.1', or the extra [sample] of "
            "marketpipe; then run 'marketpipe sample' again"
        )
    return file


def _store(file: Path | None, output_path: str | None, session: str | None) -> StoreConfig:
    from marketpipe.config import StoreConfig, load_config, usual_file
    from marketpipe.integration.domain.table_import import is_imported

    stated = {"output_path": output_path, "session": session}
    given: dict[str, Any] = {key: value for key, value in stated.items() if value is not None}
    if file is not None:
        return load_config(file, given)
    usual = usual_file()  # often that of another store, whose bars are ingested
    found = None if usual is None else load_config(usual, given)
    return found if found and is_imported(found.provider) else StoreConfig(**given)


def _mapped(options: list[str] | None) -> dict[str, str]:
    """Read open=o,close=c. Raises ``ConfigurationError`` for what has no equals sign."""
    from marketpipe.shared_kernel.domain.errors import ConfigurationError

    columns = dict[str, str]()
    for part in (part for text in options or [] for part in text.split(",")):
        role, equals, column = part.partition("=")
        if not equals or not column.strip():
            raise ConfigurationError(f"--map: {part!r} is not ROLE=COLUMN, such as open=o")
        columns[role.strip()] = column.strip()
    return columns
