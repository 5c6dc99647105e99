"""What status and recovery report: a summary for each symbol, the jobs, the condition of the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import Enum

from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, SessionKind, TradingDate


@frozen
class SymbolSummary:
    """Sums over one symbol. Counts are symbol-days, except for ``bars``, ``rejected`` and ``size_bytes``.

    ``first`` and ``last`` are the first and last date that was ever requested. ``missing`` counts days that would be
    complete or partial if their recorded files were not gone. ``official_days`` counts the dates of which the official
    day is known. ``error`` is why the files cannot be examined: then all that are recorded are counted.
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
    missing: int = 0
    error: str | None = None
    official_days: int = 0

    @classmethod
    def of_days(cls, symbol: Symbol, years: Iterable[DaysOfYear]) -> SymbolSummary | None:
        """Return the summary of a symbol without minutes that has official days of these ``years``; None if it has
        none.
        """
        dates = [date for days in years for date in days.dates]
        if not dates:
            return None
        return cls(symbol, min(dates), max(dates), *(0,) * 7, official_days=len(dates))

    def with_days(self, other: SymbolSummary | None) -> SymbolSummary:
        """Add the official days of ``other``, which has no minutes."""
        if other is None:
            return self
        first, last = min(self.first, other.first), max(self.last, other.last)
        return evolve(self, first=first, last=last, official_days=other.official_days)

    def without(self, lost: Collection[RecordedFile]) -> SymbolSummary:
        """Return the summary of a symbol whose recorded files ``lost`` are gone."""
        counts = Counter(file.outcome for file in lost)
        return evolve(
            self,
            complete=self.complete - counts[Outcome.COMPLETE],
            partial=self.partial - counts[Outcome.PARTIAL],
            bars=self.bars - sum(file.bars for file in lost),
            size_bytes=self.size_bytes - sum(file.size_bytes for file in lost),
            missing=self.missing + counts[Outcome.COMPLETE] + counts[Outcome.PARTIAL],
        )


@frozen
class RecordedFile:
    """What is recorded of the file of one symbol-day, and the outcome of that day."""

    outcome: Outcome
    bars: int
    size_bytes: int


@frozen
class JobRecord:
    """Moments are RFC 3339 in UTC; ``finished_at`` is None while the job runs.

    ``planned``, ``done`` and ``failed`` are symbol-days; of a job that needed no minutes, official days.
    """

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


@frozen
class RunRecord:
    """The last run of its ``kind``, such as update, that ended in its ``state``: completed, failed or interrupted."""

    kind: str
    state: str
    finished_at: Timestamp
    seconds: float


@frozen
class DropReport:
    """What was dropped: symbols, their symbol-days with a file or a record, minute bars, and known official days."""

    symbols: tuple[Symbol, ...]
    symbol_days: int = 0
    bars: int = 0
    official_days: int = 0


@frozen
class StateCopyReport:
    """A state that was copied: from where, to where, and how many rows of each table."""

    source: str
    target: str
    rows: Mapping[str, int]


class StateCondition(Enum):
    """Whether a state can be used, as seen from outside."""

    ABSENT = "does not exist"
    UNCLAIMED = "has no records of this store"
    USABLE = "can be read"
    DAMAGED = "is damaged"
    NEWER = "was written by a newer MarketPipe"
    FOREIGN = "is a database of another program"

    def __str__(self) -> str:
        return self.value


@frozen
class RecoveryReport:
    """What a new state was built from: the files of the store.

    ``session`` is inferred: extended if any bar is outside the regular session of its date, or if there are daily bars
    alone, else regular. ``official_days`` are those that were recorded. ``session``
    and ``identity`` are None if nothing is stored. ``partial`` counts those of the ``symbol_days`` that were stored
    before their session was final. ``damaged`` files were not recorded; the next ingestion requests them again.
    ``set_aside`` is the location of the archived former state, None if there was none.
    """

    identity: DatasetIdentity | None
    session: SessionKind | None
    symbol_days: int = 0
    partial: int = 0
    bars: int = 0
    rejected: int = 0
    damaged: Mapping[SymbolDay, str] = field(factory=dict, repr=lambda damaged: f"<{len(damaged)} symbol-days>")
    set_aside: str | None = None
    official_days: int = 0

    @property
    def ok(self) -> bool:
        return not self.damaged
