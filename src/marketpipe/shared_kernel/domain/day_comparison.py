from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol_day import SymbolDay


@frozen
class DayComparison:
    """What the provider says of a symbol-day today, against the bars that are stored.

    Counts are bars: ``unchanged`` and ``changed`` are in both, ``added`` are new, ``removed`` are stored only.
    ``largest_move`` is the largest relative change of a price among the changed. ``price_ratio`` and ``volume_ratio``
    are new over old where all the bars in both have, but for rounding, the same; None where they do not.
    ``error`` says why the day could not be compared.
    """

    symbol_day: SymbolDay
    unchanged: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    largest_move: float = 0.0
    price_ratio: float | None = None
    volume_ratio: float | None = None
    error: str | None = None

    @property
    def differs(self) -> bool:
        return bool(self.added or self.removed or self.changed)
