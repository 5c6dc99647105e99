from __future__ import annotations

from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import BarsFetched, BarsValidated, StoredBarsJudged, StoredBarsRead
from marketpipe.validation.application.ports import BarJudge


class BarValidator:
    """Judges what was fetched before it is stored, and, when asked, what is stored already."""

    def __init__(self, judge: BarJudge, bus: EventBus, clock: Clock) -> None:
        self._judge, self._bus, self._clock = judge, bus, clock

    def on_bars_fetched(self, event: BarsFetched) -> None:
        result = self._judge.judge(event.bars, self._clock.now())
        self._bus.publish(BarsValidated(event.request, result.accepted, result.rejected, result.findings))

    def on_stored_bars_read(self, event: StoredBarsRead) -> None:
        result = self._judge.judge(event.bars, self._clock.now())
        self._bus.publish(StoredBarsJudged(event.bars.num_rows, len(event.bars.slices), result.findings))
