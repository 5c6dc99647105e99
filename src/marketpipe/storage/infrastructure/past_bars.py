from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.bar_range import BarRange
from marketpipe.storage.infrastructure.bar_scan import scan_bars
from marketpipe.storage.infrastructure.known_versions import KnownVersion, KnownVersions
from marketpipe.storage.infrastructure.store_layout import StoreLayout

if TYPE_CHECKING:
    from marketpipe.storage.infrastructure.duckdb_aggregator import DuckDBAggregator


class PastBars:
    """Bars as the store knew them at a moment. Only minutes have revisions: other timeframes are made of them anew."""

    def __init__(self, layout: StoreLayout, new_aggregator: Callable[[], DuckDBAggregator]) -> None:
        self._versions, self._new_aggregator = KnownVersions(layout), new_aggregator

    def read(self, wanted: BarRange, as_of: Timestamp) -> pa.Table:
        """Raises ``StorageError``; for a damaged file ``PartitionUnreadableError``."""
        versions = self._look(wanted, as_of)
        try:
            bars = self._bars(wanted, versions)
        except PartitionUnreadableError:
            if self._look(wanted, as_of) == versions:
                raise
        else:
            if self._look(wanted, as_of) == versions:
                return bars
        # A file was replaced after the look at its time, so what was read may be too new. Once more, then: what was
        # replaced is a revision now, and those stay.
        return self.read(wanted, as_of)

    def _look(self, wanted: BarRange, as_of: Timestamp) -> list[KnownVersion]:
        return self._versions.at(as_of, wanted.days())

    def _bars(self, wanted: BarRange, versions: Sequence[KnownVersion]) -> pa.Table:
        if wanted.is_of_minutes:
            return scan_bars([version.path for version in versions])
        months, aggregator = groupby(versions, key=_month_of), self._new_aggregator() if versions else None
        minutes = {month: scan_bars([version.path for version in group]) for month, group in months}
        made = aggregator.aggregate(minutes, [wanted.timeframe]) if aggregator else {}
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *(made[month][wanted.timeframe] for month in minutes)])


def _month_of(version: KnownVersion) -> MonthPartition:
    return MonthPartition.of(version.symbol_day)
