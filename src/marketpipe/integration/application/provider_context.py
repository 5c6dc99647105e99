from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.events.event import Event


@frozen
class ProviderContext:
    """What a pipeline gives to a provider that it makes.

    ``options`` is the section of the configuration that bears the provider's name. ``publish`` takes the provider
    events (``RequestCompleted`` …), from which progress and metrics are made.
    """

    options: Mapping[str, Any] = field(repr=False)
    clock: Clock
    publish: Callable[[Event], None] = field(repr=False)


ProviderFactory = Callable[[ProviderContext], MarketDataProvider]
"""What an entry point of the group ``marketpipe.providers`` names."""
