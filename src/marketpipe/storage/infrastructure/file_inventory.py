from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import DAY_FILE, StoreLayout


class FileInventory:
    """Looks into the folders of the months asked for, and opens no file."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout

    def sizes(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, int]:
        """Raises ``StorageError``."""
        return {
            day: size
            for month in _months(symbol, first, last)
            for day, size in _day_files(self._layout.month(month), month)
            if first <= day <= last
        }


def _months(symbol: Symbol, first: TradingDate, last: TradingDate) -> Iterator[MonthPartition]:
    month, end = MonthPartition.of(SymbolDay(symbol, first)), MonthPartition.of(SymbolDay(symbol, last))
    while month <= end:
        yield month
        year, index = divmod(month.year * 12 + month.month, 12)
        month = MonthPartition(symbol, year, index + 1)


def _day_files(folder: Path, month: MonthPartition) -> Iterator[tuple[TradingDate, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if fnmatch(entry.name, DAY_FILE):
                    yield TradingDate.parse(f"{month}-{entry.name[4:6]}"), entry.stat().st_size
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot look into {folder}: {error.strerror}") from error
