"""Compaction: settled months of a symbol become one file each, and files a day again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import takewhile

from marketpipe.shared_kernel.domain.errors import StorageError, StoreBusyError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, RecordedVersion, VersionRegister
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.application.ports import MonthForms, MonthsTogether
from marketpipe.storage.domain.compaction import CompactedMonth
from marketpipe.storage.domain.data_partition import MonthPartition

Lease = Callable[[Collection[SymbolDay]], AbstractContextManager[tuple[Collection[SymbolDay], Callable[[], None]]]]
"""Leases days; yields those that another process has leased, and what raises ``StoreBusyError`` if it was lost."""


class MonthCompactor:
    """Compacts the months of a symbol, one after the other. A month that cannot be is skipped, with the reason."""

    def __init__(self, forms: MonthForms, register: VersionRegister, is_stopped: Callable[[], bool]) -> None:
        """``register`` has what was recorded of the stored days. No month is begun once ``is_stopped`` returns True."""
        self._forms, self._register, self._is_stopped = forms, register, is_stopped
        self._is_cut_short = False

    @property
    def is_cut_short(self) -> bool:
        """Whether there were more months when it was stopped."""
        return self._is_cut_short

    def stops(self) -> bool:
        """Return whether it was stopped. Call it only if there is a next month: this month counts as left out then."""
        self._is_cut_short = self._is_cut_short or self._is_stopped()
        return self._is_cut_short

    def overlapping(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Sequence[MonthPartition]:
        """Return the months that have a day between the dates, both inclusive."""
        return [month for month in self._forms.months(symbol) if first <= month.last and month.first <= last]

    def compact(
        self,
        months: Iterable[MonthPartition],
        identity: DatasetIdentity,
        busy: Collection[SymbolDay],
        left: Mapping[MonthPartition, str],
        *,
        dry_run: bool,
    ) -> Iterator[CompactedMonth]:
        """Yield what became of each month. All their days are leased, but those that are ``busy``.

        ``left`` are months that stay as they are, with the reason; one that has a single file anyway is not mentioned.
        """
        being_written = {MonthPartition.of(day): day for day in busy}
        for month in takewhile(lambda _: not self.stops(), months):
            if reason := left.get(month):
                yield from [CompactedMonth.skipped(month, reason)] if self._forms.has_several_files(month) else ()
                continue
            if day := being_written.get(month):
                yield _busy(month, day)
                continue
            recorded = self._register.versions(month.symbol, month.first, month.last)
            try:
                done = self._forms.compact(month, recorded, identity, dry_run=dry_run)
            except StorageError as error:  # of one month: the others are compacted all the same
                done = CompactedMonth.failed(month, error)
            if done is not None:
                yield done

    def compact_together(
        self,
        months: Sequence[MonthPartition],
        together: MonthsTogether,
        identity: DatasetIdentity,
        lease: Lease,
        left: Mapping[MonthPartition, str],
        *,
        dry_run: bool,
    ) -> Iterator[CompactedMonth]:
        """Yield what became of each month of a batch, which is leased for as long as it takes; see ``compact``."""
        several = [month for month in months if self._forms.has_several_files(month)]
        yield from (CompactedMonth.skipped(month, left[month]) for month in several if month in left)
        single = set(months) - set(several) - left.keys()
        wanted = [month for month in several if month not in left]
        if wanted and not dry_run:
            with lease(days_of(wanted)) as (busy, confirm):
                being_written = {MonthPartition.of(day): day for day in busy}
                yield from (_busy(month, day) for month, day in sorted(being_written.items()))
                free = [month for month in wanted if month not in being_written]
                yield from self._together(free, together, identity, confirm, dry_run=False)
            wanted = []
        yield from self._together([*wanted, *sorted(single)], together, identity, lambda: None, dry_run=True)

    def _together(
        self,
        months: Sequence[MonthPartition],
        together: MonthsTogether,
        identity: DatasetIdentity,
        confirm: Callable[[], None],
        *,
        dry_run: bool,
    ) -> Sequence[CompactedMonth]:
        def recorded(month: MonthPartition) -> Mapping[TradingDate, RecordedVersion]:
            return self._register.versions(month.symbol, month.first, month.last)

        try:
            return [*together.compact(months, recorded, identity, confirm, dry_run=dry_run)]
        except StoreBusyError as error:
            return [CompactedMonth.skipped(month, str(error)) for month in months]
        except StorageError as error:  # of one object: the others are put all the same
            return [CompactedMonth.failed(month, error) for month in months]

    def expand(
        self, months: Iterable[MonthPartition], left: Mapping[MonthPartition, str], *, dry_run: bool
    ) -> Iterator[CompactedMonth]:
        """Yield what became of each of these months that had one file. ``left`` stay as they are, with the reason."""
        for month in takewhile(lambda _: not self.stops(), months):
            try:
                recorded = self._register.versions(month.symbol, month.first, month.last)
                done = self._forms.expand(month, recorded, dry_run=dry_run or month in left)
            except StorageError as error:
                done = CompactedMonth.failed(month, error)
            if done is not None:
                yield CompactedMonth.skipped(month, left[month]) if month in left else done


def _busy(month: MonthPartition, day: SymbolDay) -> CompactedMonth:
    return CompactedMonth.skipped(month, f"another process works on {day}; try again when it has ended")


def days_of(months: Collection[MonthPartition]) -> list[SymbolDay]:
    """Return every day of the months, whether the exchange was open or not."""
    return [SymbolDay(month.symbol, month.first.plus_days(n)) for month in months for n in range(month.last.day.day)]
