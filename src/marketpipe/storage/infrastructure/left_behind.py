from __future__ import annotations

from collections.abc import Collection, Iterable

from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay
from marketpipe.storage.infrastructure.durable_files import DurableFiles
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from marketpipe.storage.infrastructure.stored_files import ParquetStoredFiles


class ParquetFilesLeftBehind:
    """Files that were renamed into their place by a process that died before anybody wrote them down."""

    def __init__(
        self, layout: StoreLayout, stored: ParquetStoredFiles, files: DurableFiles, identity: DatasetIdentity
    ) -> None:
        self._layout, self._stored, self._files, self._identity = layout, stored, files, identity

    def of(self, symbol: Symbol, dates: Collection[TradingDate]) -> Iterable[StoredSymbolDay]:
        found = [day for day in self._stored.stored_days(symbol, self._identity, dates) if day.rows or day.error]
        self._files.confirm([self._layout.bars(day.symbol_day) for day in found])
        return found
