"""``get``: bars in one line. It finds out by itself which provider, which store and which keys are meant."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marketpipe.completeness import WARN, Complete
from marketpipe.config import (
    CONFIG_VARIABLE,
    LATEST,
    ROOT_VARIABLE,
    USUAL_FILE,
    Credentials,
    PipelineConfig,
    StoreConfig,
    file_of_environment,
    half_pairs,
    load_config,
    place_of_credentials,
    root_folder,
    usual_file,
)
from marketpipe.config.arguments import with_known_arguments
from marketpipe.pipeline import Pipeline
from marketpipe.provider_registry import overrides_of, with_known_provider
from marketpipe.scoping import Symbols
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.symbol import listed
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.trading_date import AnyDate, SessionKind
from marketpipe.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

VARIABLES: Final = {
    "config": CONFIG_VARIABLE,
    "root": ROOT_VARIABLE,
    "provider": "MARKETPIPE_PROVIDER",
    "alpaca.feed": "MARKETPIPE_FEED",
}
"""What each argument of ``get`` may be given by instead."""
ORIGIN: Final = "the arguments of get"


@with_known_arguments
def get(
    symbols: Symbols,
    start: AnyDate,
    end: AnyDate = LATEST,
    timeframe: str | Timeframe = "1m",
    root: str | Path | None = None,
    *,
    provider: str | None = None,
    feed: str | None = None,
    config: str | Path | PipelineConfig | None = None,
    credentials: Credentials | None = None,
    source: str | DaySource | None = None,
    complete: Complete = WARN,
    session: str | SessionKind | None = None,
    columns: str | Iterable[str] | None = None,
    tz: str | tzinfo | None = None,
    trading_date: bool = False,
) -> pa.Table:
    """Ingest what is missing of these bars, then return them as ``load_ohlcv`` does. A second call sends no request.

    ``start`` and ``end`` are trading dates (New York), both inclusive; "latest" is the newest final session. Whatever
    the ``timeframe``, the minutes are ingested, and the bars are made of them and of the exchange's official days.
    ``root`` is the folder of the store, or rather of its folder ``data``.

    Each setting is taken from the first of these places that has it:

    1. the arguments ``root``, ``provider``, ``feed`` (of Alpaca) and ``config``, the path of a YAML file;
    2. the environment: MARKETPIPE_ROOT, MARKETPIPE_PROVIDER, MARKETPIPE_FEED, MARKETPIPE_CONFIG;
    3. that file, or else the file marketpipe.yaml in ``root``;
    4. without a file: what the store holds, that is, its provider with the feed, and its hours;
    5. the defaults. ``root`` is the current folder; the provider is Alpaca if its keys are found.

    Keys are ``credentials``, or ALPACA_KEY and ALPACA_SECRET in the environment or in the file .env in ``root``. A
    ``config`` that is a ``PipelineConfig`` says it all, and takes no other settings. From a store of imported bars,
    what it has is loaded: nothing can be requested.

    The other arguments are those of ``load_ohlcv``. Raises ``ConfigurationError`` if no provider is found and for
    values that are not valid, ``CredentialsError`` for keys that the provider refuses, and what ``load_ohlcv`` raises.
    """
    given = {"config": config, "root": root, "provider": provider, "alpaca.feed": feed}
    symbols = listed(symbols)
    settings = found_settings(given, os.environ, symbols, start, end, has_keys=credentials is not None)
    with Pipeline.from_config(settings, credentials=credentials) as pipeline:
        return pipeline.get(
            symbols,
            start,
            end,
            timeframe,
            source=source,
            complete=complete,
            session=session,
            columns=columns,
            tz=tz,
            trading_date=trading_date,
        )


def found_settings(
    arguments: Mapping[str, Any],
    environment: Mapping[str, str],
    symbols: Symbols,
    start: AnyDate,
    end: AnyDate,
    *,
    has_keys: bool = False,
) -> PipelineConfig:
    """Return the configuration that ``get`` works with. ``arguments`` has the keys of ``VARIABLES``; None: not given.

    Nothing is created. Raises ``ConfigurationError``.
    """
    if isinstance(arguments["config"], PipelineConfig):
        if surplus := [name for name in VARIABLES if name != "config" and arguments[name] is not None]:
            raise ConfigurationError(f"{surplus[0]}: the PipelineConfig says it already; give one of them")
        return arguments["config"]
    given = {name: value for name in VARIABLES if (value := arguments[name]) is not None}
    variables = {name: of for name, of in VARIABLES.items() if name not in given and environment.get(of)}
    given = {**{name: environment[variable] for name, variable in variables.items()}, **given}
    root, named = given.get("root"), given.pop("config", None)
    if "config" in variables:
        named = file_of_environment(environment)
    if (file := named or usual_file(root_folder(root or "."))) is None:
        given = {**_of_the_store(given), **given}
        if "provider" not in given:
            given["provider"] = _usual_provider(environment, root_folder(root or "."), has_keys)
    given |= {"symbols": listed(symbols), "start": start, "end": end}
    settings = load_config(file, given, origin=ORIGIN, origins=variables)
    if "provider" in variables:
        with_known_provider(settings, variables["provider"])
    if arguments["alpaca.feed"] is not None and settings.provider != "alpaca":
        raise ConfigurationError(f"feed: it is one of Alpaca, and the provider is {settings.provider}; give no feed")
    return settings


def _of_the_store(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the dataset that the store holds; none for another provider, and for no store."""
    with Store(StoreConfig(root=root_folder(given.get("root") or "."))) as store:
        dataset = store.dataset()
    if dataset is None or given.get("provider") not in (None, dataset[0].provider):
        return {}
    return {**overrides_of(dataset[0]), "session": dataset[1]}


def _usual_provider(environment: Mapping[str, str], root: Path, has_keys: bool) -> str:
    if has_keys or place_of_credentials(environment, root / ".env"):
        return "alpaca"
    problem = "there are no keys for Alpaca: set ALPACA_KEY and ALPACA_SECRET"
    for name, other in half_pairs(environment, root / ".env").items():
        problem = f"of the keys for Alpaca {name} is set and {other} is not: set {other} as well,"
    raise ConfigurationError(
        f"provider: none is named, and {problem} in the environment or in {root / '.env'}. Or give "
        "provider='synthetic', for made-up bars without keys; or write a configuration: "
        f"'marketpipe init {shlex.quote(str(root / USUAL_FILE))}'"
    )
