"""Compaction: settled months of a symbol become one file each, and files a day again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, VersionRegister
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.application.ports import MonthForms
from marketpipe.storage.domain.compaction import CompactedMonth, is_settled
from marketpipe.storage.domain.data_partition import MonthPartition


class MonthCompactor:
    """Compacts the months of a symbol, one after the other. A month that cannot be is skipped, with the reason."""

    def __init__(self, forms: MonthForms, register: VersionRegister) -> None:
        """``register`` has what was recorded of the stored days."""
        self._forms, self._register = forms, register

    def settled(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, today: TradingDate
    ) -> Sequence[MonthPartition]:
        """Return the settled months that lie between the dates, both inclusive."""
        return [month for month in self._within(symbol, first, last) if is_settled(month, today)]

    def compact(
        self,
        months: Sequence[MonthPartition],
        identity: DatasetIdentity,
        busy: Collection[SymbolDay],
        *,
        dry_run: bool,
    ) -> Iterator[CompactedMonth]:
        """Yield what became of each month. All their days are leased, but those that are ``busy``."""
        being_written = {MonthPartition.of(day): day for day in busy}
        for month in months:
            if day := being_written.get(month):
                yield CompactedMonth.skipped(month, f"another process works on {day}; try again when it has ended")
                continue
            recorded = self._register.versions(month.symbol, month.first, month.last)
            try:
                done = self._forms.compact(month, recorded, identity, dry_run=dry_run)
            except StorageError as error:  # of one month: the others are compacted all the same
                done = CompactedMonth.failed(month, error)
            if done is not None:
                yield done

    def expand(
        self, symbol: Symbol, first: TradingDate, last: TradingDate, *, dry_run: bool
    ) -> Iterator[CompactedMonth]:
        """Yield what became of each month that had one file and overlaps with the dates, both inclusive."""
        for month in self._forms.months(symbol):
            if month.last < first or last < month.first:
                continue
            try:
                done = self._forms.expand(month, dry_run=dry_run)
            except StorageError as error:
                done = CompactedMonth.failed(month, error)
            if done is not None:
                yield done

    def _within(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Iterator[MonthPartition]:
        months = self._forms.months(symbol)
        return (month for month in months if first <= month.first and month.last <= last)


def days_of(months: Collection[MonthPartition]) -> list[SymbolDay]:
    """Return every day of the months, whether the exchange was open or not."""
    return [SymbolDay(month.symbol, month.first.plus_days(n)) for month in months for n in range(month.last.day.day)]
