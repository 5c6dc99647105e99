"""The page of all files of a store and their columns: paths from the layout, columns from the schemas."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
from docs.generate.tables import code, table

from marketpipe import StoreConfig, Symbol, SymbolDay, Timeframe, Timestamp, TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import FILE_SCHEMA
from marketpipe.storage.domain.bar_selection import BarSelection
from marketpipe.storage.domain.data_partition import MonthPartition, Revision
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.official.official_history import HISTORY_SCHEMA
from marketpipe.storage.infrastructure.store_layout import PARQUET, StoreLayout
from marketpipe.validation.infrastructure.columnar_validator import REJECTED_SCHEMA

INTRODUCTION: Final = """# Files and columns

One folder has one dataset: bars of one provider, feed, adjustment, `asof` and session. Bars of another are refused, and the
message names the setting to go on with. (A store that was begun when `iex` was the default feed needs `alpaca: {feed: iex}`.) Another `output_path` is another store: beside `data` are `aggregates`, `state` and
so on, and beside `data_sip` are `data_sip_aggregates`, `data_sip_state` and so on.

The symbol is in the path, in Hive partitions that pandas, Polars, DuckDB and Spark read. Every file is written under a temporary name, synced and renamed.
The same bars give the same bytes. A store may be copied by any means while no process writes to it
([Back up and restore](../how-to/back-up.md)).

"""
OTHERS: Final = """
Each of the folders can be [configured](configuration.md). Locks of processes are beside the state (`….holder-…`,
`….update-lock`, `….official-lock`, `….months-lock`, `….aggregation-lock`), as are the shared rate limit (`rate-limit-…`), the calendar cache
(`sessions-….txt`, if the sessions of the exchange are not those of the package) and states that `recover` has archived (`….bak`). The last two may be deleted at any time, the others only
if no process uses the store.

Every Parquet file states in its metadata, under keys that begin with `marketpipe.`, its symbol, trading date or period,
timeframe, provider, feed, adjustment and schema version. An aggregate also names the day files that it was made from.

## Columns of bars

Minute bars, aggregates and official days have the same columns. `schema_version` is in files only; `symbol`, `trading_date`
and `source` are added when bars are loaded or queried.

"""
MEANINGS: Final = {
    "symbol": "the symbol in its canonical form, such as BRK.B",
    "trading_date": "the date in New York of the session that the bar belongs to",
    "timestamp": "the beginning of the bar (its left edge), UTC",
    "open": "first price, in US dollars",
    "high": "highest price",
    "low": "lowest price",
    "close": "last price",
    "volume": "shares traded",
    "trade_count": "number of trades; null if the provider does not state it",
    "vwap": "volume-weighted average price; null if the provider does not state it",
    "schema_version": "version of these columns; 1",
    "source": "of days and longer: official (the exchange's daily bar), minutes (made from minutes), or mixed",
    "rule": "the rule that the bar breaks",
    "severity": "its severity",
    "reason": "what is wrong, as a sentence",
    "raw": "the record as the provider sent it, if it could not be read",
    "known_since": "the moment at which the store got this version, UTC",
}
_DAY: Final = SymbolDay(Symbol("AAPL"), TradingDate(date(2024, 1, 2)))
_MOMENT: Final = Timestamp.parse("2024-01-03T06:00:00Z")


def paths() -> dict[str, str]:
    """Return what each kind of file is, by the path that an example of it has in a store with the usual folders."""
    config = StoreConfig()
    folders = (config.output_path, config.aggregates_path, config.quarantine_path, config.revisions_path)
    layout = StoreLayout(*folders, config.official_path, config.copies_path)
    month, symbol, year = MonthPartition.of(_DAY), _DAY.symbol, _DAY.trading_date.day.year
    found: dict[Path | str, str] = {
        layout.bars(_DAY): "minute bars of one symbol on one trading date",
        layout.month(month)
        / MONTH_FILE: "minute bars of one symbol in one month, in the place of its day files (`marketpipe compact`)",
        layout.aggregate(Timeframe.MINUTE_5, month): "bars of a timeframe shorter than a day, of one month",
        layout.aggregate(Timeframe.DAY_1, month): "daily bars that were made from minutes, of one year",
        layout.copy(month, PARQUET): "minute bars a second time, of one month, if read_copies is parquet; also .arrow",
        layout.official_days(symbol, year): "the exchange's official daily bars of one year",
        layout.rejected(_DAY): "minute bars that were rejected",
        layout.rejected_official_days(symbol, year): "official daily bars that were rejected",
        layout.revision(Revision(_DAY, _MOMENT)): "the former content of a minute file that was replaced",
        layout.version_index(symbol): "since when each version of a minute file is known",
        layout.official_history(symbol, year): "every version of the official days of a year",
        config.state_path: "jobs, checkpoints, recorded hashes and leases (SQLite)",
    }
    return {str(path): text for path, text in found.items()}


def page() -> str:
    files = table(("file", "content"), [(code(path), text) for path, text in paths().items()])
    of_bars = dict.fromkeys(BarSelection.of(Timeframe.DAY_1, trading_date=True).columns) | dict.fromkeys(
        FILE_SCHEMA.names
    )
    types = {field.name: field.type for schema in (REJECTED_SCHEMA, HISTORY_SCHEMA, FILE_SCHEMA) for field in schema}
    parts = [INTRODUCTION, files, OTHERS, _columns(list(of_bars), types)]
    rejected = [name for name in REJECTED_SCHEMA.names if name not in of_bars]
    parts += ["\n## Further columns of rejected bars\n\n", _columns(rejected, types)]
    histories = [name for name in HISTORY_SCHEMA.names if name not in of_bars]
    parts += ["\n## Further columns of versions of official days\n\n", _columns(histories, types)]
    return "".join(parts)


def _columns(names: list[str], types: dict[str, pa.DataType]) -> str:
    added = {"symbol": "string", "trading_date": "date", "source": "string"}
    rows = [(code(name), str(types.get(name, added.get(name, ""))), MEANINGS[name]) for name in names]
    return table(("column", "type", "meaning"), rows)
