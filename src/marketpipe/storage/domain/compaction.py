"""What a compaction did, month by month: which months became one file, and which did not, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from attrs import field, frozen

from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition

RecordedIn = Callable[[MonthPartition], Mapping[TradingDate, RecordedVersion]]
"""Returns what was recorded of the days of a month."""
SETTLED_DAYS: Final = 7
"""A month is settled when so many days have passed since its last: providers correct and complete the newest days."""


class Condition(Enum):
    """What became of a month."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


@frozen
class CompactedMonth:
    """A month of a symbol: its files and their bytes before and after. ``reason``: why it was skipped or has failed, or
    what could not be kept of a damaged month that has day files again."""

    month: MonthPartition
    condition: Condition
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    reason: str | None = None

    @classmethod
    def skipped(cls, month: MonthPartition, reason: str) -> CompactedMonth:
        """Return a month that stays as it is for a reason that may pass."""
        return cls(month, Condition.SKIPPED, reason=reason)

    @classmethod
    def failed(cls, month: MonthPartition, error: Exception) -> CompactedMonth:
        """Return a month that could not be read or written; it stays as it was."""
        return cls(month, Condition.FAILED, reason=str(error))


@frozen
class CompactionReport:
    """What a compaction, or undoing one, did: the months that it examined, by symbol, then month.

    With ``dry_run`` it is what it would have done. ``stopped``: it was stopped before it had examined all of them.
    """

    months: tuple[CompactedMonth, ...] = field(repr=lambda months: f"<{len(months)} months>")
    dry_run: bool = False
    stopped: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing failed or was lost, and all months were examined. What was skipped may be right as it is."""
        return not self.stopped and not any(month.condition is not Condition.SKIPPED for month in self.left)

    @property
    def changed(self) -> tuple[CompactedMonth, ...]:
        return tuple(month for month in self.months if month.condition is Condition.CHANGED)

    @property
    def left(self) -> tuple[CompactedMonth, ...]:
        """The months that were skipped or have failed, and those of which days could not be kept."""
        return tuple(month for month in self.months if month.reason is not None)

    @property
    def files_before(self) -> int:
        return sum(month.files_before for month in self.changed)

    @property
    def files_after(self) -> int:
        return sum(month.files_after for month in self.changed)

    @property
    def bytes_before(self) -> int:
        return sum(month.bytes_before for month in self.changed)

    @property
    def bytes_after(self) -> int:
        return sum(month.bytes_after for month in self.changed)


def reason_to_leave(month: MonthPartition, first: TradingDate, last: TradingDate, today: TradingDate) -> str | None:
    """Return why a month is not compacted that overlaps with these dates, both inclusive; None if it may be."""
    if month.last.plus_days(SETTLED_DAYS) >= today:
        return f"it ends on {month.last}, and is settled a week later: providers still complete and correct it"
    return reason_to_leave_part(month, first, last)


def reason_to_leave_part(month: MonthPartition, first: TradingDate, last: TradingDate) -> str | None:
    """Return why a month keeps its form that overlaps with these dates, both inclusive; None if all of it is there."""
    is_within = first <= month.first and month.last <= last
    return None if is_within else "only a part of it is between the dates that were given"
