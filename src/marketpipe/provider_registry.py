from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from marketpipe.integration.application.provider_context import ProviderFactory
from marketpipe.shared_kernel.domain.errors import ConfigurationError, did_you_mean

GROUP: Final = "marketpipe.providers"
BUILT_IN: Final[Mapping[str, str]] = {
    "alpaca": "Alpaca Market Data API v2 (needs a key and a secret)",
    "synthetic": "deterministic invented bars (no key, no network)",
}


def known_providers() -> dict[str, str]:
    """Names and where they come from: built in, or registered by an installed package."""
    return {**{name: f"registered as {point.value}" for name, point in _registered().items()}, **BUILT_IN}


def check_provider(name: str) -> None:
    """Raises ``ConfigurationError``."""
    if name not in known_providers():
        raise ConfigurationError(f"provider: no provider is called {name!r}; {did_you_mean(name, known_providers())}")


def registered_factory(name: str) -> ProviderFactory:
    """Raises ``ConfigurationError`` where the package that registered it cannot be loaded."""
    point = _registered()[name]
    try:
        return cast(ProviderFactory, point.load())
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"provider: {name!r} cannot be loaded from {point.value}: {error}") from error


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
