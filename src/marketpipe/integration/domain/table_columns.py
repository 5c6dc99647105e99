"""Which column of a table is what: by the name that it usually has, or by the documented format of its source."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from attrs import frozen

from marketpipe.integration.domain.table_import import PRICES, ROLES, columns_argument

_USUAL: Final[Mapping[str, str]] = {
    "timestamp": "timestamp ts tsevent windowstart datetime dateandtime t utc timestamputc bartime starttime begins",
    "date": "date tradedate tradingdate day",
    "time": "time timeofday",
    "open": "open o openprice openingprice px_open",
    "high": "high h highprice hi max",
    "low": "low l lowprice lo min",
    "close": "close c closeprice closingprice last closelast",
    "volume": "volume v vol totalvolume shares",
    "trade_count": "tradecount n count trades transactions numberoftrades numtrades ntrades",
    "vwap": "vwap vw wap weightedaverage volumeweightedaverageprice",
    "symbol": "symbol ticker sym tickersymbol",
}
USUAL_NAMES: Final = {name: role for role, names in _USUAL.items() for name in names.split()}
"""Roles by the usual names of their columns, in lower case and without anything but letters and digits."""
ADJUSTED_CLOSE: Final = "adjclose"
UNNAMED_INDEX: Final = "__index_level_0__"
"""The column that Arrow makes of the index of a pandas DataFrame if it has no name."""
HEADERLESS: Final[Mapping[int, tuple[str, ...]]] = {
    5: ("timestamp", *PRICES),
    6: ("timestamp", *PRICES, "volume"),
    7: ("date", "time", *PRICES, "volume"),
}
"""The usual order of columns that have no names, by their number: Kibot's, and nearly everybody's."""
_NOISE, _NUMBERED = re.compile(r"[^a-z0-9]"), re.compile(r"^\d+(?=[a-z])")


@frozen
class Layout:
    """A documented format. ``integers`` is the unit of prices in columns of integers, ``decimals`` of all others.

    ``timezone`` is that of local times, "" if it has none. ``symbol_in_name``: the file is named after its symbol.
    """

    title: str
    names: frozenset[str]
    integers: str = "dollars"
    decimals: str = "dollars"
    timezone: str = ""
    symbol_in_name: bool = False


DATABENTO: Final = Layout(
    "Databento OHLCV", frozenset({"tsevent", "rtype", "instrumentid", *PRICES, "volume"}), "nano-dollars"
)
MASSIVE: Final = Layout(
    "Massive (Polygon) flat file", frozenset({"ticker", "windowstart", "transactions", *PRICES, "volume"})
)
QUANTCONNECT: Final = Layout(
    "QuantConnect LEAN", frozenset(), "deci-cents", "deci-cents", timezone="America/New_York", symbol_in_name=True
)
YAHOO: Final = Layout("Yahoo Finance history", frozenset({"date", *PRICES, ADJUSTED_CLOSE, "volume"}))
NAMED_LAYOUTS: Final = (DATABENTO, MASSIVE, YAHOO)


def plain(name: str) -> str:
    """Return the name in lower case without signs, and without a number before it, as in "1. open"."""
    return _NUMBERED.sub("", _NOISE.sub("", name.lower()))


def recognised(names: Collection[str]) -> Layout | None:
    """Return the documented format that has columns of these names."""
    found = {plain(name) for name in names}
    return next((layout for layout in NAMED_LAYOUTS if layout.names <= found), None)


@frozen
class ColumnRoles:
    """``columns`` maps roles to names of columns; ``ignored`` are the other columns."""

    columns: Mapping[str, str]
    ignored: tuple[str, ...]
    questions: tuple[str, ...]


def assign(names: Sequence[str], stated: Mapping[str, str]) -> ColumnRoles:
    """Give each column its role: the ``stated`` ones first, the others by their usual names."""
    found, questions = dict[str, str](), list[str]()
    for role, name in stated.items():
        found[role] = _named(name, names) or name
        if found[role] not in names:
            questions.append(f"there is no column {name!r} for {role}; the table has {', '.join(names)}")
    taken = set(found.values())
    for role in ROLES:
        usual = [name for name in names if USUAL_NAMES.get(plain(name)) == role and name not in taken]
        if role in found or not usual:
            continue
        found[role] = usual[0]
        if len(usual) > 1:
            questions.append(f"{', '.join(usual)} may each be the {role}: name it with {columns_argument([role])}")
    columns = _with_one_time({role: found[role] for role in ROLES if role in found}, stated)
    ignored = tuple(name for name in names if name not in columns.values())
    return ColumnRoles(columns, ignored, (*questions, *_missing(columns, names)))


def _named(name: str, names: Sequence[str]) -> str | None:
    """Return the column of that name, whatever its case."""
    same = [each for each in names if each.lower() == name.lower()]
    return name if name in names else same[0] if len(same) == 1 else None


def _with_one_time(columns: dict[str, str], stated: Mapping[str, str]) -> dict[str, str]:
    """Keep a timestamp, or a date and a time; one of these alone is a timestamp."""
    if "timestamp" in columns and not {"date", "time"} & stated.keys():
        return {role: name for role, name in columns.items() if role not in ("date", "time")}
    if "date" in columns and "time" in columns:
        return {role: name for role, name in columns.items() if role != "timestamp"}
    alone = next((role for role in ("date", "time") if role in columns), None)
    if alone is None or "timestamp" in columns:
        return columns
    return {"timestamp" if role == alone else role: name for role, name in columns.items()}


def _missing(columns: Mapping[str, str], names: Sequence[str]) -> list[str]:
    missing = [role for role in (*PRICES, "volume") if role not in columns]
    if "timestamp" not in columns and "date" not in columns:
        missing.insert(0, "timestamp")
    if not missing:
        return []
    advice = f"name it with {columns_argument(missing)}"
    if missing == ["timestamp"] and UNNAMED_INDEX in names:
        advice = 'if the index of the DataFrame has the times, give frame.rename_axis("timestamp")'
    return [f"no column is named like {', '.join(missing)}; the table has {', '.join(names)}: {advice}"]
