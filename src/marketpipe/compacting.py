"""The method of ``Store`` that compacts months: their day files become one file each, and files a day again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from attrs import evolve

from marketpipe.config import StoreConfig
from marketpipe.ingestion.application.leases import leased_if_free
from marketpipe.parts import Parts
from marketpipe.runs import Runs
from marketpipe.scoping import Symbols, refuse_unknown
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import AnyDate, TradingDate

from . import composition, place_parts

if TYPE_CHECKING:
    from marketpipe.storage.application.ports import MonthsTogether
    from marketpipe.storage.domain.compaction import CompactedMonth, CompactionReport
    from marketpipe.storage.domain.data_partition import MonthPartition

    Months = Sequence[MonthPartition]

OnMonth = Callable[[int, int], None]
"""Called with the number of months that are done, and of all."""


class CompactableStore(Protocol):
    """What ``compact`` needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    _runs: Runs

    def _known_symbols(self) -> frozenset[Symbol]: ...

    def _stored_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...], TradingDate, TradingDate]: ...


def compact(
    self: CompactableStore,
    symbols: Symbols | None = None,
    start: AnyDate | None = None,
    end: AnyDate | None = None,
    *,
    undo: bool = False,
    dry_run: bool = False,
    on_month: OnMonth = lambda _, __: None,
) -> CompactionReport:
    """Make one file of the day files of each settled month: of one that ended more than a week ago, whose days are just
    as they were recorded. The bars, the versions and the locks stay as they are; other programs read each bar once.

    ``start`` and ``end`` are trading dates, both inclusive: only months that lie between them are changed. Months that
    are only partly in this range are listed among those that are left as they are. When bars of a month that is one
    file are stored, corrected or withdrawn, its days are files again, until the next call. With ``undo`` the months get
    their day files back, with the same bytes and times; of a damaged month file these are the days that can be read.
    With ``dry_run`` the report is returned and nothing is changed. ``on_month`` is called before the first month and
    after each, with the number of those that are done and of all. If it is killed, call it again to finish.

    Raises ``ConfigurationError`` for symbols that the store does not know and for a file system that cannot exchange
    folders, and ``StoreBusyError`` while another process updates the store.
    """
    parts = self._parts
    chosen, first, last = self._stored_range(symbols, start, end)
    refuse_unknown(chosen, self._known_symbols(), self.config.output_path)
    if not chosen or (identity := composition.known_identity(parts)) is None:
        raise ConfigurationError(f"nothing was compacted: {self.config.output_path.absolute()} has no minute bars")
    work = _Work(parts, identity, first, last, dry_run, on_month)
    together = None if undo else composition.months_together(parts)
    if dry_run:
        return work.report(chosen, work.expanded if undo else work.compactable, together)
    with self._runs.run(), place_parts.update_lock(parts).acquired():
        composition.month_folders(parts).sweep()
        return work.report(chosen, work.expanded if undo else work.compacted, together)


class _Work:
    """What one call does; it ends early, between two months, if the pipeline is stopped."""

    def __init__(
        self,
        parts: Parts,
        identity: DatasetIdentity,
        first: TradingDate,
        last: TradingDate,
        dry_run: bool,
        on_month: OnMonth,
    ) -> None:
        from marketpipe.ingestion.application.recovery import RecordedVersions
        from marketpipe.storage.application.month_compactor import MonthCompactor

        register = RecordedVersions(place_parts.known_state(parts).checkpoints)
        self._compactor = MonthCompactor(composition.month_folders(parts), register, lambda: parts.is_stopped)
        self._parts, self._identity, self._first, self._last, self._dry_run = parts, identity, first, last, dry_run
        self._on_month, self._today = on_month, TradingDate.of(parts.clock.now())
        self._done, self._of = 0, 0

    def report(
        self,
        symbols: Sequence[Symbol],
        what: Callable[[Months], Iterator[CompactedMonth]],
        together: MonthsTogether | None,
    ) -> CompactionReport:
        from marketpipe.storage.domain.compaction import CompactionReport

        found = [self._compactor.overlapping(symbol, self._first, self._last) for symbol in symbols]
        self._of = sum(map(len, found))
        self._on_month(0, self._of)
        if together is not None:
            every = [month for months in found for month in months]
            by_month = sorted(self._together(every, together), key=lambda done: done.month)
            return CompactionReport(tuple(by_month), self._dry_run, self._compactor.is_cut_short)
        done = tuple(month for months in found if months and not self._compactor.stops() for month in what(months))
        return CompactionReport(done, self._dry_run, self._compactor.is_cut_short)

    def _together(self, months: Months, together: MonthsTogether) -> Iterator[CompactedMonth]:
        """Compact the months of all symbols together, one month of the calendar after the other."""
        leases, left = place_parts.known_state(self._parts).leases, self._left(months)

        def lease(
            days: Collection[SymbolDay],
        ) -> AbstractContextManager[tuple[Collection[SymbolDay], Callable[[], None]]]:
            return leased_if_free(leases, days, self._parts.clock)

        for batch in together.batches(months):
            if self._compactor.stops():
                return
            yield from self._compactor.compact_together(
                batch, together, self._identity, lease, left, dry_run=self._dry_run
            )
            for _ in self._counted(batch):
                """Count it as done."""

    def compactable(self, months: Months) -> Iterator[CompactedMonth]:
        counted, left = self._counted(months), self._left(months)
        yield from self._compactor.compact(counted, self._identity, (), left, dry_run=True)

    def compacted(self, months: Months) -> Iterator[CompactedMonth]:
        """Lease all days of a symbol's months at once: no ingestion, of any process, writes to their folders then."""
        from marketpipe.storage.application.month_compactor import days_of

        leases, left = place_parts.state(self._parts).leases, self._left(months)
        wanted = [month for month in months if month not in left]
        with leased_if_free(leases, days_of(wanted), self._parts.clock) as (busy, _):
            yield from self._compactor.compact(self._counted(months), self._identity, busy, left, dry_run=False)

    def expanded(self, months: Months) -> Iterator[CompactedMonth]:
        """No lease is needed: all that writes to a month that is one file expands it first, under the same lock."""
        from marketpipe.storage.domain.compaction import Condition, reason_to_leave_part
        from marketpipe.storage.domain.integrity import brought_again_by

        reasons = ((month, reason_to_leave_part(month, self._first, self._last)) for month in months)
        left = {month: reason for month, reason in reasons if reason is not None}
        for done in self._compactor.expand(self._counted(months), left, dry_run=self._dry_run):
            advice = f"{done.reason}: {brought_again_by(done.month, self._identity)} brings lost bars again"
            is_of_lost = done.condition is Condition.CHANGED and done.reason is not None
            yield evolve(done, reason=advice) if is_of_lost else done

    def _left(self, months: Months) -> Mapping[MonthPartition, str]:
        from marketpipe.storage.domain.compaction import reason_to_leave

        reasons = ((month, reason_to_leave(month, self._first, self._last, self._today)) for month in months)
        return {month: reason for month, reason in reasons if reason is not None}

    def _counted(self, months: Months) -> Iterator[MonthPartition]:
        for month in months:
            yield month
            self._done += 1
            self._on_month(self._done, self._of)
