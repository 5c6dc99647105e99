from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate


@frozen
class SymbolSummary:
    """What is known of one symbol. Counts are symbol-days but for ``bars``, ``rejected`` and ``size_bytes``.

    ``first`` and ``last`` bound the dates that were ever asked for.
    """

    symbol: Symbol
    first: TradingDate
    last: TradingDate
    complete: int
    empty: int
    partial: int
    failed: int
    bars: int
    rejected: int
    size_bytes: int


@frozen
class JobRecord:
    """Moments are RFC 3339 in UTC; ``finished_at`` is None while the job runs."""

    job_id: int
    state: str
    started_at: str
    finished_at: str | None
    symbols: int
    first: TradingDate
    last: TradingDate
    planned: int
    done: int
    failed: int


class StateCondition(Enum):
    """What may be done with a state file."""

    ABSENT = "is not there"
    UNCLAIMED = "has no records of this store"
    USABLE = "can be read"
    DAMAGED = "is damaged"
    NEWER = "was written by a newer MarketPipe"
    FOREIGN = "is a database of another program"

    def __str__(self) -> str:
        return self.value


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
