"""How an installed package adds a market data provider: an entry point names a ``ProviderFactory``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.events import Event


@frozen
class ProviderContext:
    """What a pipeline gives to the factory of a provider.

    ``options`` is the configuration section that bears the provider's name. ``clock`` is the only clock to use.
    ``publish`` takes the provider's events (``RequestCompleted``, ``RequestRetried``, ``RateLimitWaited``), from which
    progress and metrics are made.
    """

    options: Mapping[str, Any] = field(repr=False)  # it may hold a token
    clock: Clock
    publish: Callable[[Event], None] = field(repr=False)


ProviderFactory = Callable[[ProviderContext], MarketDataProvider]
"""What an entry point of the group ``marketpipe.providers`` names."""
