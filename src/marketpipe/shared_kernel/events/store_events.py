from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.events.bar_events import RuleFinding
from marketpipe.shared_kernel.events.event import Event


@frozen
class StoredBarsRead(Event):
    """Bars that came back from disk to be judged again."""

    bars: ColumnarBars = field(repr=lambda bars: f"<{bars.num_rows} bars of {len(bars.slices)} symbol-days>")


@frozen
class PartitionFoundDamaged(Event):
    symbol_day: SymbolDay
    reason: str


@frozen
class StoredBarsJudged(Event):
    """``findings`` is empty where every one of the ``bars`` satisfies every rule."""

    bars: int
    symbol_days: int
    findings: tuple[RuleFinding, ...]
