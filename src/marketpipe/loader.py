from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from marketpipe.config import StoreConfig
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate

if TYPE_CHECKING:
    import pyarrow as pa


def load_ohlcv(
    symbols: str | Symbol | Iterable[str | Symbol],
    start: TradingDate | date | str,
    end: TradingDate | date | str,
    timeframe: str | Timeframe = "1m",
    root: str | Path = ".",
) -> pa.Table:
    """Stored OHLCV bars as one Arrow table, by symbol, then time.

    ``start`` and ``end`` are trading dates, both inclusive. ``root`` is the folder that holds ``data`` and
    ``aggregates``. Columns: symbol, timestamp (UTC, left edge), open, high, low, close, volume, trade_count, vwap. What
    is not stored is simply not in the table. Raises ``ValidationError`` for arguments that mean nothing.
    """
    config = StoreConfig(output_path=Path(root) / "data", aggregates_path=Path(root) / "aggregates")
    with Pipeline(config) as pipeline:
        return pipeline.load(symbols, start, end, timeframe)
