from __future__ import annotations

from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events.audit_events import BarsCompared
from marketpipe.shared_kernel.events.bar_events import BarsValidated
from marketpipe.storage.application.ports import BarComparer


class BarAuditor:
    def __init__(self, comparer: BarComparer, bus: EventBus) -> None:
        self._comparer, self._bus = comparer, bus

    def on_bars_validated(self, event: BarsValidated) -> None:
        days = self._comparer.compare(event.accepted, event.rejected)
        self._bus.publish(BarsCompared(event.request, days))
