"""The bytes of day files, with as many bars as a test wants."""

from __future__ import annotations

from datetime import datetime, timedelta

from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.infrastructure.arrow_bars import SCHEMA_VERSION
from marketpipe.storage.domain.data_partition import DataPartition
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.compacted.month_file import StoredDayFile
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter
from marketpipe.testing import bar, bar_table
from tests.support.store_on_disk import IDENTITY


def day_content(day: SymbolDay, bars: int = 4, compression: str = "zstd") -> bytes:
    """Return the file of a day with so many bars from 14:30 UTC on."""
    first, date = datetime.fromisoformat(f"{day.trading_date}T14:30:00Z"), str(day.trading_date)
    rows = [bar((first + timedelta(minutes=n)).isoformat(), 100.0 + n + day.trading_date.day.day) for n in range(bars)]
    stated = StorageMetadata(IDENTITY, day.symbol, date, Timeframe.MINUTE_1, SCHEMA_VERSION)
    return ParquetWriter(compression).encode_bars(bar_table(rows), stated.as_mapping())


def day_file_of(day: SymbolDay, bars: int = 4, compression: str = "zstd") -> StoredDayFile:
    number = day.trading_date.day.day
    content = day_content(day, bars, compression)
    return StoredDayFile(DataPartition(day).name, content, 1_700_000_000_000_001_000 + number)
