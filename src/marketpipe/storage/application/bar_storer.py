from __future__ import annotations

from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.bar_events import BarsStored, BarsValidated
from marketpipe.storage.application.ports import BarStore


class BarStorer:
    def __init__(self, store: BarStore, bus: EventBus) -> None:
        self._store, self._bus = store, bus

    def on_bars_validated(self, event: BarsValidated) -> None:
        days = self._store.store(event.accepted, event.rejected)
        self._bus.publish(BarsStored(event.request, days))
