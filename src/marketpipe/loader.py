"""``load_ohlcv``: stored bars for a backtest or a notebook, without a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from marketpipe.completeness import WARN, Complete
from marketpipe.config import (
    DATA,
    ROOT_VARIABLE,
    StoreConfig,
    file_of_environment,
    load_store_config,
    root_folder,
    usual_file,
)
from marketpipe.config.arguments import with_known_arguments
from marketpipe.scoping import Symbols
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.timestamp import AnyMoment
from marketpipe.shared_kernel.domain.trading_date import AnyDate, SessionKind
from marketpipe.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


@with_known_arguments
def load_ohlcv(
    symbols: Symbols,
    start: AnyDate,
    end: AnyDate,
    timeframe: str | Timeframe = "1m",
    root: str | Path | None = None,
    *,
    as_of: AnyMoment | None = None,
    source: str | DaySource | None = None,
    complete: Complete = WARN,
    session: str | SessionKind | None = None,
    columns: str | Iterable[str] | None = None,
    tz: str | tzinfo | None = None,
    trading_date: bool = False,
) -> pa.Table:
    """Return stored OHLCV bars as one Arrow table, by symbol, then time. Asks no provider and writes nothing.

    ``start`` and ``end`` are trading dates (New York), both inclusive: text, a date, a midnight of ``datetime``,
    pandas or numpy, without a time zone or in New York, or "latest", the newest final session. ``timeframe`` is "1m",
    "2m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "1d", "1w" or "1mo"; what has no file is made of minutes.
    ``root`` is the folder that holds ``data``, ``aggregates``, ``official`` and ``revisions``, or an ``output_path`` of
    another name than ``data``: the areas of that store are found beside it. Without ``root`` it is the store that
    ``get`` takes: in MARKETPIPE_ROOT or else the current folder, and where MARKETPIPE_CONFIG or the file
    marketpipe.yaml in that folder has it. ``as_of`` is a moment with a time zone, as a ``Timestamp``, an aware datetime
    or RFC 3339 text: the bars are then those that the store held at that moment.

    "1d" is the exchange's daily bar where the provider gave one, and else made from minutes, an estimate of it; "1w"
    and "1mo" are made of these days and belong to the date on which they begin. They have a last column, source:
    "official", "minutes" or, for a week or month of both, "mixed"; with ``source``, only the bars that are from there.

    ``session``: "regular" for bars from the open to the close of each regular session only, by the exchange's calendar,
    half days too; "extended", or nothing, for all that are stored. ``columns``: the table has only these, in this
    order, and no others are read. ``tz``: the time zone of the column timestamp, such as "America/New_York".
    ``trading_date``: add the column trading_date (a date, New York) after symbol, or as the last of ``columns``.

    Columns: symbol (text), timestamp (microseconds, UTC, left edge of the bar), open, high, low, close, volume,
    trade_count (nullable), vwap (nullable). Bars that are not stored are not in the table: no row is invented.

    ``complete``: "warn" issues an ``IncompleteWarning`` that names what is missing from this range; "require" raises
    ``IncompleteError`` for all that ``coverage`` finds missing, partial or suspect in it; "ignore" does neither.

    Raises ``ValidationError`` for arguments that are not valid, ``ConfigurationError`` for a root that is a URL or has
    no store, and for symbols, a session or a timeframe that are not stored, and ``PartitionUnreadableError`` for a
    damaged file.
    """
    with Store(found_store(root, os.environ)) as store:
        return store.load(
            symbols,
            start,
            end,
            timeframe,
            as_of=as_of,
            source=source,
            complete=complete,
            session=session,
            columns=columns,
            tz=tz,
            trading_date=trading_date,
        )


def found_store(root: str | Path | None, environment: Mapping[str, str]) -> StoreConfig:
    """Return the configuration of the store in ``root``; without one, of the store that ``get`` takes.

    Raises ``ConfigurationError``.
    """
    if root is None:
        root = environment.get(ROOT_VARIABLE) or None
        file = file_of_environment(environment) or usual_file(root_folder(root or "."))
        if file:
            return load_store_config(file, root=root)
    folder = root_folder(root or ".")
    is_output_path = not os.path.exists(folder / DATA) and any(folder.glob("symbol=*"))
    return StoreConfig(output_path=folder if is_output_path else folder / DATA)
