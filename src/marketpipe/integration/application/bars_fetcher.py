from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from marketpipe.integration.application.ports import MarketDataProvider, PageSource, SymbolDayAssembler
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsExhausted, BarsFetched, BarsRequested, Event, RefusedSymbol


class BarsFetcher:
    """Answers ``BarsRequested`` with ``BarsFetched``, page by page, and at the end ``BarsExhausted``."""

    def __init__(
        self, source: PageSource, assembler_for: Callable[[BarsRequest], SymbolDayAssembler], bus: EventBus
    ) -> None:
        self._source, self._assembler_for, self._bus = source, assembler_for, bus

    def on_bars_requested(self, event: BarsRequested) -> None:
        assembler = self._assembler_for(event.request)
        refused: list[RefusedSymbol] = []
        with self._source.pages(event.request) as pages:
            for page in pages:
                refused.extend(page.refused)
                self._forward(event.request, assembler.add(page))
        self._forward(event.request, assembler.close())
        self._bus.publish(BarsExhausted(event.request, tuple(refused), assembler.unrequested))

    def _forward(self, request: BarsRequest, bars: ColumnarBars | None) -> None:
        if bars is not None:
            self._bus.publish(BarsFetched(request, bars))


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
