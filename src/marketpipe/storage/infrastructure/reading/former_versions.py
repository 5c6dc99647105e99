"""Former versions of symbol-days, each compared with the version that followed it: what a provider has restated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nlargest
from itertools import groupby, pairwise
from pathlib import Path

import pyarrow as pa
from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, matching
from marketpipe.storage.domain.data_partition import MonthPartition, Revision
from marketpipe.storage.domain.store_survey import RestatedDay, RestatementSurvey
from marketpipe.storage.infrastructure.compacted.day_access import day_status
from marketpipe.storage.infrastructure.day_versions import VersionIndex, moment_of
from marketpipe.storage.infrastructure.parquet_files import bars_at, content_of, map_in_threads, sha256
from marketpipe.storage.infrastructure.reading.bar_comparer import compare_bars
from marketpipe.storage.infrastructure.store_layout import MONTH_FOLDER, StoreLayout, translating


@frozen
class _Step:
    """A revision, and what followed it: another revision, or the day file."""

    revision: Revision
    next: Revision | None


class FormerVersions:
    """The revisions of a store. Raises ``StorageError`` for a folder that cannot be listed."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout, self._index, self._disk = layout, VersionIndex(layout), layout.disk

    def survey(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate, most: int) -> RestatementSurvey:
        """Compare the newest ``most`` former versions of days between the dates, both inclusive."""
        steps = [step for symbol in symbols for step in self._steps(symbol, first, last)]
        newest = nlargest(most, steps, key=lambda step: step.revision.known_since)
        days = map_in_threads(self._compared, newest, self._layout.machine)
        return RestatementSurvey(tuple(days), len(steps))

    def _steps(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Iterator[_Step]:
        for month in self._months(symbol):
            if month.last < first or last < month.first:
                continue
            for day, group in groupby(self._layout.revisions_of(month), key=lambda revision: revision.symbol_day):
                versions: list[Revision | None] = list(group)
                if first <= day.trading_date <= last:
                    # the last revision of a withdrawn day states that it has no bars: nothing follows
                    followed = [*versions, None] if day_status(str(self._layout.bars(day)), self._disk) else versions
                    yield from (_Step(a, b) for a, b in pairwise(followed) if a is not None)

    def _months(self, symbol: Symbol) -> Iterator[MonthPartition]:
        root = self._layout.revisions / f"symbol={symbol}"
        with translating(root):
            folders = sorted(matching(self._disk, root, MONTH_FOLDER))
        for folder in folders:
            yield MonthPartition(symbol, int(folder.parent.name[5:]), int(folder.name[6:]))

    def _compared(self, step: _Step) -> RestatedDay:
        until: Timestamp | None = None
        day, blank = step.revision.symbol_day, DayComparison(step.revision.symbol_day)
        try:
            old = _bars(self._layout.revision(step.revision), self._disk)
            if step.next is not None:
                new, until = _bars(self._layout.revision(step.next), self._disk), step.next.known_since
            else:
                new, until = _bars(self._layout.bars(day), self._disk), self._stored_since(day)
            comparison = compare_bars(blank, old, new)
        except PartitionUnreadableError as error:
            comparison = evolve(blank, error=str(error))
        return RestatedDay(comparison, step.revision.known_since, until)

    def _stored_since(self, day: SymbolDay) -> Timestamp | None:
        """Return since when the day file is known; None if there is none."""
        path = str(self._layout.bars(day))
        if (found := day_status(path, self._disk)) is None:
            return None
        content, modified = content_of(path, self._disk), moment_of(found.modified_ns)
        return self._index.of(day.symbol).since(day.trading_date, modified, lambda: sha256(content or b""))


def _bars(path: Path, disk: Disk) -> pa.Table:
    found = bars_at(str(path), disk=disk)
    return BAR_SCHEMA.empty_table() if found is None else found
