"""The method of ``Store`` that compacts months: their day files become one file each, and files a day again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from marketpipe.config import StoreConfig
from marketpipe.ingestion.application.leases import leased_if_free
from marketpipe.parts import Parts
from marketpipe.runs import Runs
from marketpipe.scoping import Symbols, refuse_unknown
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import AnyDate, TradingDate

from . import composition

if TYPE_CHECKING:
    from marketpipe.storage.domain.compaction import CompactedMonth, CompactionReport
    from marketpipe.storage.domain.data_partition import MonthPartition


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
) -> CompactionReport:
    """Make one file of the day files of each settled month: of one that ended more than a week ago, whose days are just
    as they were recorded. The bars, the versions and the locks stay as they are; other programs read each bar once.

    ``start`` and ``end`` are trading dates, both inclusive: only months that lie between them are compacted. When bars
    of such a month are stored, corrected or withdrawn, its days are files again, until the next call. With ``undo``
    every month that overlaps the range gets its day files back, with the same bytes and times. With ``dry_run`` the
    report is returned and nothing is changed. If it is killed, call it again to finish.

    Raises ``ConfigurationError`` for symbols that the store does not know and for a file system that cannot exchange
    folders, and ``StoreBusyError`` while another process updates the store.
    """
    parts = self._parts
    chosen, first, last = self._stored_range(symbols, start, end)
    refuse_unknown(chosen, self._known_symbols(), self.config.output_path)
    if not chosen or (identity := composition.known_identity(parts)) is None:
        raise ConfigurationError(f"nothing was compacted: {self.config.output_path.absolute()} has no minute bars")
    work = _Work(parts, identity, first, last, dry_run)
    if dry_run:
        return work.report(work.expanded(chosen) if undo else work.compactable(chosen))
    with self._runs.run(), composition.update_lock(parts).acquired():
        composition.month_folders(parts).sweep()
        return work.report(work.expanded(chosen) if undo else work.compacted(chosen))


class _Work:
    """What one call does; it ends early, between two months, if the pipeline is stopped."""

    def __init__(
        self, parts: Parts, identity: DatasetIdentity, first: TradingDate, last: TradingDate, dry_run: bool
    ) -> None:
        from marketpipe.ingestion.application.recovery import RecordedVersions
        from marketpipe.storage.application.month_compactor import MonthCompactor

        register = RecordedVersions(composition.known_state(parts).checkpoints)
        self._compactor = MonthCompactor(composition.month_folders(parts), register, lambda: parts.is_stopped)
        self._parts, self._identity, self._first, self._last, self._dry_run = parts, identity, first, last, dry_run

    def report(self, months: Iterator[CompactedMonth]) -> CompactionReport:
        from marketpipe.storage.domain.compaction import CompactionReport

        found = tuple(months)
        return CompactionReport(found, self._dry_run, self._compactor.is_cut_short)

    def compactable(self, symbols: Sequence[Symbol]) -> Iterator[CompactedMonth]:
        for months in self._until_stopped(symbols, self._settled):
            yield from self._compactor.compact(months, self._identity, (), dry_run=True)

    def compacted(self, symbols: Sequence[Symbol]) -> Iterator[CompactedMonth]:
        """Lease all days of a symbol's months at once: no ingestion, of any process, writes to their folders then."""
        from marketpipe.storage.application.month_compactor import days_of

        leases = composition.state(self._parts).leases
        for months in self._until_stopped(symbols, self._settled):
            with leased_if_free(leases, days_of(months), self._parts.clock) as busy:
                yield from self._compactor.compact(months, self._identity, busy, dry_run=False)

    def expanded(self, symbols: Sequence[Symbol]) -> Iterator[CompactedMonth]:
        """No lease is needed: all that writes to a month that is one file expands it first, under the same lock."""
        for months in self._until_stopped(symbols, self._overlapping):
            yield from self._compactor.expand(months, dry_run=self._dry_run)

    def _until_stopped(
        self, symbols: Sequence[Symbol], months_of: Callable[[Symbol], Sequence[MonthPartition]]
    ) -> Iterator[Sequence[MonthPartition]]:
        """Yield the months of each symbol that has some, until the pipeline is stopped."""
        for symbol in symbols:
            if (months := months_of(symbol)) and self._compactor.stops():
                return
            if months:
                yield months

    def _settled(self, symbol: Symbol) -> Sequence[MonthPartition]:
        today = TradingDate.of(self._parts.clock.now())
        return self._compactor.settled(symbol, self._first, self._last, today)

    def _overlapping(self, symbol: Symbol) -> Sequence[MonthPartition]:
        return self._compactor.overlapping(symbol, self._first, self._last)
