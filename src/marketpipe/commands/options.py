"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", "-c", help="The YAML file with the configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Symbols = Annotated[str | None, typer.Option("--symbols", help="Symbols, separated by commas.")]
Start = Annotated[str | None, typer.Option("--start", help="First trading date, YYYY-MM-DD.")]
End = Annotated[str | None, typer.Option("--end", help="Last trading date, YYYY-MM-DD, inclusive.")]
EndOrLatest = Annotated[
    str | None, typer.Option("--end", help="Last trading date, inclusive, or 'latest': the newest final session.")
]
Workers = Annotated[int | None, typer.Option(help="Batches in flight at once.")]
ExecutorKind = Annotated[
    str | None, typer.Option("--executor", help="threads, or processes: faster where there are processors for them.")
]
Provider = Annotated[str | None, typer.Option(help="Market data provider; see 'marketpipe providers'.")]
Feed = Annotated[str | None, typer.Option(help="Alpaca's feed: iex, sip, otc or boats.")]
OutputPath = Annotated[str | None, typer.Option(help="Folder of the minute bars.")]
Compression = Annotated[str | None, typer.Option(help="zstd or snappy.")]
SessionHours = Annotated[str | None, typer.Option("--session", help="extended (04:00-20:00 ET) or regular.")]
RetrySuspect = Annotated[
    bool, typer.Option("--retry-suspect", help="Ask again for what 'marketpipe coverage' finds suspect.")
]


def listed(text: str | None) -> list[str] | None:
    """The words between commas."""
    return None if text is None else [part.strip() for part in text.split(",")]
