from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from marketpipe.ingestion.domain.day_record import DayRecord
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay


@frozen
class ClaimedDays:
    """What became of the wish to work on some symbol-days: each is in one of the three.

    ``ours`` are held under ``lease``; of the ``settled`` somebody else has meanwhile found out; the ``held`` are in
    somebody else's hands.
    """

    lease: int
    ours: frozenset[SymbolDay] = field(repr=lambda days: f"<{len(days)} symbol-days>")
    settled: Mapping[SymbolDay, DayRecord] = field(factory=dict, repr=lambda days: f"<{len(days)} symbol-days>")
    held: frozenset[SymbolDay] = field(factory=frozenset, repr=lambda days: f"<{len(days)} symbol-days>")
