"""The options that several commands take, and how their text becomes arguments of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", "-c", help="YAML file with the configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Symbols = Annotated[str | None, typer.Option("--symbols", help="Symbols, separated by commas.")]
Start = Annotated[str | None, typer.Option("--start", help="First trading date, YYYY-MM-DD.")]
End = Annotated[str | None, typer.Option("--end", help="Last trading date, YYYY-MM-DD, inclusive.")]
EndOrLatest = Annotated[
    str | None, typer.Option("--end", help="Last trading date, inclusive, or 'latest': the newest final session.")
]
Workers = Annotated[int | None, typer.Option(help="Number of batches that run at the same time.")]
ExecutorKind = Annotated[
    str | None, typer.Option("--executor", help="threads, or processes (faster if there are processors for them).")
]
Provider = Annotated[str | None, typer.Option(help="Market data provider; 'marketpipe providers' lists them.")]
Feed = Annotated[str | None, typer.Option(help="Alpaca data feed: sip (all US exchanges), iex or otc.")]
OutputPath = Annotated[str | None, typer.Option(help="Folder for the minute bars.")]
Compression = Annotated[str | None, typer.Option(help="Parquet compression: zstd or snappy.")]
Session = Annotated[
    str | None,
    typer.Option("--session", help="Hours to store: extended (04:00-20:00 ET) or regular."),
]
RetrySuspect = Annotated[
    bool, typer.Option("--retry-suspect", help="Request again what 'marketpipe coverage' reports as suspect.")
]


def overrides(symbols: str | None, feed: str | None, **others: object) -> dict[str, object]:
    """Return the options that were given, by the keys of the configuration that they override."""
    options = {"symbols": listed(symbols), "alpaca.feed": feed, **others}
    return {key: value for key, value in options.items() if value is not None}


def listed(text: str | None) -> list[str] | None:
    """Split an option at its commas."""
    return None if text is None else [part.strip() for part in text.split(",")]
