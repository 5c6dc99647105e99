"""The options that several commands take, and how their text becomes arguments of the library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from marketpipe.config import PipelineConfig
    from marketpipe.shared_kernel.domain.symbol import Symbol
    from marketpipe.store import Store

ALPACA, FEED = "alpaca", "alpaca.feed"
"""The provider whose section --feed belongs to, and the key that it overrides."""
REQUIRED = ("provider", "symbols", "start", "end")
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="YAML file with the configuration; marketpipe.yaml if not given."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Symbols = Annotated[
    list[str] | None,
    typer.Option(
        "--symbols",
        metavar="SYMBOLS",
        help="Symbols, separated by commas; @FILE for one a line, @NAME for a list of the configuration.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
Start = Annotated[
    str | None, typer.Option("--start", metavar="DATE", help="First trading date, YYYY-MM-DD or 'latest'.")
]
End = Annotated[
    str | None,
    typer.Option("--end", metavar="DATE", help="Last trading date, inclusive; 'latest' is the newest final one."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Number of batches that run at the same time.")
]
ExecutorKind = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="KIND",
        help="threads, processes (faster if there are processors for them), or dask.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Dask's scheduler, tls://host:8786, with --executor dask."),
]
Provider = Annotated[
    str | None,
    typer.Option("--provider", metavar="NAME", help="Market data provider; 'marketpipe providers' lists them."),
]
Feed = Annotated[
    str | None, typer.Option("--feed", metavar="FEED", help="Alpaca data feed: sip (all US exchanges), iex or otc.")
]
OutputPath = Annotated[
    str | None, typer.Option("--output-path", metavar="DIR", help="Folder for the minute bars, or s3://bucket/prefix.")
]
Compression = Annotated[
    str | None, typer.Option("--compression", metavar="CODEC", help="Parquet compression: zstd or snappy.")
]
Session = Annotated[
    str | None,
    typer.Option("--session", metavar="HOURS", help="Hours to store: extended (04:00-20:00 ET) or regular."),
]
RetrySuspect = Annotated[
    bool, typer.Option("--retry-suspect", help="Request again what 'marketpipe coverage' reports as suspect.")
]


def overrides(symbols: list[str] | None, feed: str | None, **others: object) -> dict[str, object]:
    """Return the options that were given, by the keys of the configuration that they override."""
    options = {"symbols": listed(symbols), FEED: feed, **others}
    return {key: value for key, value in options.items() if value is not None}


def configured(file: Path | None, changed: Mapping[str, object]) -> PipelineConfig:
    """Return the configuration of ``file``, changed by options.

    Raises ``ConfigurationError`` for an option that would have no effect.
    """
    from marketpipe.config import COMMAND_LINE, USUAL_FILE, load_config
    from marketpipe.provider_registry import with_known_provider
    from marketpipe.shared_kernel.domain.errors import ConfigurationError

    if file is None and (missing := [f"--{key}" for key in REQUIRED if key not in changed]):
        if "provider" not in changed:
            _refuse_store_of_imports(changed)
        raise ConfigurationError(
            f"there is no {USUAL_FILE} in {Path.cwd()}: 'marketpipe init' writes one, --config names another file, and "
            f"without a file {', '.join(missing)} must be given"
        )
    place = COMMAND_LINE if file is None or "provider" in changed else file
    config = with_known_provider(load_config(file, changed), place)
    if FEED in changed and config.provider != ALPACA:
        raise ConfigurationError(f"--feed is of the provider {ALPACA}, and the configured one is {config.provider}")
    return config


def _refuse_store_of_imports(changed: Mapping[str, object]) -> None:
    """Raise ``ConfigurationError`` if nothing can be requested for the store here: no configuration would help."""
    from marketpipe.config import StoreConfig, is_on_disk
    from marketpipe.provider_registry import refuse_imported
    from marketpipe.store import Store

    place = changed.get("output_path")
    if place is not None and not is_on_disk(Path(str(place))):
        return  # its state is not beside it
    with Store(StoreConfig() if place is None else StoreConfig(output_path=Path(str(place)))) as store:
        dataset = store.dataset()
    if dataset is not None:
        refuse_imported(dataset[0].provider)


def listed(given: str | Sequence[str] | None) -> list[str] | None:
    """Split an option at its commas; None if it was not given. One that was given several times adds up."""
    texts = [given] if isinstance(given, str) else given or []
    return [part.strip() for text in texts for part in text.split(",")] or None


def chosen(store: Store, symbols: Sequence[str] | None) -> tuple[Symbol, ...] | None:
    """Return the symbols of the option, with those of files and of lists that the configuration names."""
    from marketpipe.config import expanded

    named = listed(symbols)
    return None if named is None else expanded(named, store.config.symbol_lists, store.config.root)
