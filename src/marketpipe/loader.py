from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from marketpipe.config import StoreConfig, root_folder
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import AnyMoment
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


def load_ohlcv(
    symbols: str | Symbol | Iterable[str | Symbol],
    start: TradingDate | date | str,
    end: TradingDate | date | str,
    timeframe: str | Timeframe = "1m",
    root: str | Path = ".",
    *,
    as_of: AnyMoment | None = None,
) -> pa.Table:
    """Stored OHLCV bars as one Arrow table, by symbol, then time.

    ``start`` and ``end`` are trading dates, both inclusive. ``root`` is the folder that holds ``data``, ``aggregates``
    and ``revisions``. ``as_of`` asks for the bars as the store held them at that moment: a ``Timestamp``, an aware
    datetime or RFC 3339 text. Columns: symbol, timestamp (UTC, left edge), open, high, low, close, volume, trade_count,
    vwap. What is not stored is simply not in the table. Raises ``ValidationError`` for arguments that mean nothing.
    """
    folder = root_folder(root)
    config = StoreConfig(
        output_path=folder / "data", aggregates_path=folder / "aggregates", revisions_path=folder / "revisions"
    )
    with Store(config) as pipeline:
        return pipeline.load(symbols, start, end, timeframe, as_of=as_of)
