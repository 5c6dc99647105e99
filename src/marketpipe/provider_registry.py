"""The market data providers by name: those built in, and those that installed packages register.

A package registers a factory as an entry point of the group ``marketpipe.providers``. All
configured providers are made here. Clients are imported only when one is made: Alpaca's brings httpx.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from attrs import frozen

from marketpipe.config import (
    THREADS,
    Credentials,
    PipelineConfig,
    StoreConfig,
    find_credentials,
    find_secret,
)
from marketpipe.config.places import POSTGRESQL, scheme_of, url_of
from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.data_feed import AT_THE_CLOSE, ProviderCapabilities, ProviderContext
from marketpipe.integration.domain.table_import import capabilities_of_import, is_imported, provider_name
from marketpipe.shared_kernel.domain.errors import ConfigurationError, did_you_mean
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.events import Event, RateLimitWaited
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from marketpipe.integration.application.ports import RateLimitBackend
    from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateWindow

logger = logging.getLogger("marketpipe.integration")
Config = TypeVar("Config", bound=StoreConfig)
GROUP: Final = "marketpipe.providers"
FAST: Final = "the extra fast is installed: machine code will read the pages once a run has read 50 MB of them"
NOT_FAST: Final = "the extra fast is not installed: large histories take longer without it"
BUILT_IN: Final[Mapping[str, str]] = {
    "alpaca": "Alpaca Market Data API v2 (needs a key and a secret)",
    "synthetic": "deterministic invented bars (no key, no network)",
}


def known_providers() -> dict[str, str]:
    """Return each provider's name and where it comes from: built in, or registered by an installed package."""
    return {**{name: f"registered as {point.value}" for name, point in _registered().items()}, **BUILT_IN}


def is_fast_installed() -> bool:
    """Return whether the extra ``fast`` is there, without importing it: whether it works shows when it is loaded."""
    return find_spec("numba") is not None


def is_registered(name: str) -> bool:
    """Return whether the provider, if it exists, is one that an installed package has registered."""
    return name not in BUILT_IN and not is_imported(name)


def check_provider(name: str) -> None:
    """Raise ``ConfigurationError`` for a name that no provider has."""
    if is_imported(name):
        provider_name(name)
    elif name not in BUILT_IN and name not in known_providers():  # the packages are searched only if need be
        raise ConfigurationError(f"provider: no provider is called {name!r}; {did_you_mean(name, known_providers())}")


def with_known_provider(config: Config, place: object) -> Config:
    """Return the configuration that was read from ``place``.

    Raises ``ConfigurationError``, which names the place, if no provider has the name in it.
    """
    if isinstance(config, PipelineConfig):
        try:
            check_provider(config.provider)
        except ConfigurationError as error:
            raise ConfigurationError(f"{place}: {error}") from error
    return config


def new_provider(
    config: PipelineConfig,
    credentials: Credentials | None,
    clock: Clock,
    publish: Callable[[Event], None],
    machine: Machine = HERE,
) -> MarketDataProvider:
    """Make the configured provider, which reports its requests to ``publish``.

    Raises ``ConfigurationError`` if the package that registered it cannot be loaded, for missing credentials, and for
    imported bars.
    """
    refuse_imported(config.provider)
    if config.provider == "alpaca":
        return _new_alpaca(config, needed_credentials(credentials, config.root), clock, publish, machine)
    if config.provider == "synthetic":
        from marketpipe.integration.infrastructure.synthetic.synthetic_client import SyntheticClient

        return SyntheticClient(config.synthetic.seed)
    make = _registered_factory(config.provider)
    find = partial(find_secret, environment=os.environ, dotenv=config.root / ".env")
    context = ProviderContext(config.provider_options, clock, publish, find)
    return cast(MarketDataProvider, with_capabilities(make(context)))


def capabilities_without_keys(config: PipelineConfig) -> ProviderCapabilities | None:
    """Return how the configured provider can be asked, if that is known before the provider is made; or None."""
    if is_imported(config.provider):
        return capabilities_of_import(config.provider)
    return _alpaca_capabilities(config) if config.provider == "alpaca" else None


def check_keys(config: PipelineConfig, credentials: Credentials | None) -> None:
    """Raise ``ConfigurationError`` for what ``new_provider`` would raise it for, if that is known before it is made."""
    refuse_imported(config.provider)
    if config.provider == "alpaca":
        needed_credentials(credentials, config.root)


def refuse_imported(provider: str) -> None:
    """Raise ``ConfigurationError`` if nothing can be requested of the provider, as its bars come from files."""
    if is_imported(provider):
        raise ConfigurationError(
            f"the bars of {provider} come from your own files, and nothing can be requested: bring newer files into "
            "the store with 'marketpipe import', or ingest from a provider into another output_path"
        )


def _alpaca_capabilities(config: PipelineConfig) -> ProviderCapabilities:
    from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities

    alpaca = config.alpaca
    return alpaca_capabilities(alpaca.feed, alpaca.adjustment, alpaca.rate_limit_per_min, alpaca.asof)


def overrides_of(stored: DatasetIdentity) -> dict[str, str | int]:
    """Return the keys of a configuration that make a built-in provider give just this dataset; else its name alone."""
    named: dict[str, str | int] = {"provider": stored.provider}
    if stored.provider == "synthetic":
        return named | {"synthetic.seed": int(stored.feed.removeprefix("seed-"))}
    if stored.provider == "alpaca":
        return named | {f"alpaca.{name}": getattr(stored, name) for name in ("feed", "adjustment", "asof")}
    return named


def settings_of(stored: DatasetIdentity, wanted: DatasetIdentity) -> str | None:
    """Return how a configuration for the ``stored`` dataset differs from one for the ``wanted``.

    In the form ``alpaca: feed: iex``; None for a provider whose configuration is not known here.
    """
    if stored.provider == "synthetic":
        return f"synthetic: seed: {stored.feed.removeprefix('seed-')}"
    if stored.provider != "alpaca":
        return None
    names = ("feed", "adjustment", "asof")
    values = {name: getattr(stored, name) for name in names if getattr(stored, name) != getattr(wanted, name)}
    provider = () if wanted.provider == stored.provider else ("provider: alpaca",)
    return ", ".join([*provider, *(f"alpaca: {name}: {value}" for name, value in values.items())])


def closing_auction_of(identity: DatasetIdentity | None) -> int | None:
    """Return where a built-in provider has its closing auction; None for other providers, and for no dataset."""
    return AT_THE_CLOSE if identity is not None and identity.provider in BUILT_IN else None


def needed_credentials(credentials: Credentials | None, root: Path) -> Credentials:
    """Return those given, or else those of the environment or of .env in ``root``.

    Raises ``ConfigurationError`` for none.
    """
    return credentials or find_credentials(os.environ, root / ".env")


def with_capabilities(provider: Any) -> Any:
    """Return the provider, in a wrapper if it was written when the property ``capabilities`` was called ``traits``."""
    if provider is None or hasattr(provider, "capabilities") or not hasattr(provider, "traits"):
        return provider
    warnings.warn(
        f"{type(provider).__name__}.traits is now called capabilities: rename the property, and ProviderTraits to "
        "ProviderCapabilities",
        DeprecationWarning,
        stacklevel=2,
    )
    return _ProviderWithTraits(provider)


@frozen
class _ProviderWithTraits:
    """A ``MarketDataProvider`` over one that still has the property's former name."""

    _provider: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, "traits" if name == "capabilities" else name)


def _new_alpaca(
    config: PipelineConfig, keys: Credentials, clock: Clock, publish: Callable[[Event], None], machine: Machine
) -> MarketDataProvider:
    from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient, alpaca_auth
    from marketpipe.integration.infrastructure.alpaca.fast_pages import FastPages
    from marketpipe.integration.infrastructure.http_exchange import HttpExchange
    from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
    from marketpipe.integration.infrastructure.retry import RetryPolicy

    alpaca = config.alpaca
    windows = [RateWindow(alpaca.rate_limit_per_min)]
    limiter = RateLimiter(
        windows,
        clock,
        lambda seconds: publish(RateLimitWaited("alpaca", seconds)),
        shared_in=_shared_limit(config, keys, windows, clock, machine),
    )
    http = HttpExchange(alpaca.base_url, alpaca_auth(keys.key, keys.secret))
    # worker processes do without: each would have the machine code's 100 MB, and none waits for another's lock
    fast = FastPages() if config.executor == THREADS else None
    if fast is not None:
        logger.info(FAST if is_fast_installed() else NOT_FAST)
    return AlpacaClient(
        _alpaca_capabilities(config),
        http,
        limiter,
        clock,
        retry=RetryPolicy(uniform=machine.uniform),
        publish=publish,
        fast_pages=fast,
        new_executor=machine.threads.executor,
    )


def _shared_limit(
    config: PipelineConfig, keys: Credentials, windows: Sequence[RateWindow], clock: Clock, machine: Machine
) -> RateLimitBackend:
    """Make the rate limit that all processes with this account share: those of a machine, or all that share a state."""
    # the hash keeps the key out of the name
    account = hashlib.sha256("\n".join((config.alpaca.base_url, keys.key)).encode()).hexdigest()[:32]
    if scheme_of(config.state_path) == POSTGRESQL:
        from marketpipe.integration.infrastructure.rate_limits.postgres_rate_limit import PostgresRateLimit

        return PostgresRateLimit(url_of(config.state_path), f"alpaca-{account}", windows, clock, machine)
    from marketpipe.integration.infrastructure.rate_limits.rate_limiter import FileRateLimit

    return FileRateLimit(config.state_path.with_name(f"rate-limit-alpaca-{account}"), windows, clock, machine)


def _registered_factory(name: str) -> Callable[[ProviderContext], MarketDataProvider]:
    point = _registered()[name]
    try:
        return cast(Callable[[ProviderContext], MarketDataProvider], point.load())
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"provider: {name!r} cannot be loaded from {point.value}: {error}") from error


def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # here, because a built-in provider is found without it

    return {point.name: point for point in entry_points(group=GROUP)}
