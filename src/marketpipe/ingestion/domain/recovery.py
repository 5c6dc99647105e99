from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_session import SessionKind


@frozen
class RecoveryReport:
    """What a new state could be told by the files of the store.

    ``session`` is inferred: extended where any bar lies outside the regular session of its date, else regular. Both it
    and ``identity`` are None where nothing is stored. ``partial`` counts those of the ``symbol_days`` that were stored
    before their session was final. ``damaged`` files were not recorded, and are asked for again by the next ingestion.
    ``set_aside`` is the path that the former state file has now, None where there was none.
    """

    identity: DatasetIdentity | None
    session: SessionKind | None
    symbol_days: int = 0
    partial: int = 0
    bars: int = 0
    rejected: int = 0
    damaged: Mapping[SymbolDay, str] = field(factory=dict, repr=lambda damaged: f"<{len(damaged)} symbol-days>")
    set_aside: str | None = None

    @property
    def ok(self) -> bool:
        return not self.damaged
