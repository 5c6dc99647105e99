"""Finds out whether a query only selects bars: then the copies that ``load`` reads are its answer, without DuckDB.

All columns of ``bars`` or some by their names, WHERE with nothing but symbols, trading dates and moments, ordered as
bars are kept, or not at all, and LIMIT if their order is total.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from marketpipe.storage.infrastructure.reading.needed_bars import SYMBOL, TIMESTAMP, TRADING_DATE
from marketpipe.storage.infrastructure.reading.select_syntax import (
    COLUMNS,
    IN_THE_TEXT,
    ExactBars,
    bars_of,
    column_of,
    names_of,
    order_of,
    select_of,
    without,
)
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree

STAR: Final[Tree] = {
    "class": "STAR",
    "type": "STAR",
    "alias": "",
    "relation_name": "",
    "exclude_list": [],
    "replace_list": [],
    "columns": False,
    "expr": None,
    "qualified_exclude_list": [],
    "rename_list": [],
}
ORDERS: Final = ((SYMBOL, TIMESTAMP), (SYMBOL, TRADING_DATE, TIMESTAMP), (SYMBOL, TRADING_DATE), (SYMBOL,), ())
"""In which bars are kept. Those that are equal by what a query names may come in any order."""
ORDERS_OF_ONE: Final = (*ORDERS, (TIMESTAMP,), (TRADING_DATE, TIMESTAMP), (TRADING_DATE,))
"""The same for a query of one symbol."""


@frozen
class Rows:
    """Those after so many, and no more than ``most`` of them; None for all."""

    skipped: int = 0
    most: int | None = None


ALL_ROWS: Final = Rows()
COUNT: Final = re.compile(r"\d{1,15}", re.ASCII)
"""A number of rows; one with more digits may be too large for DuckDB."""


@frozen
class BarsQuery:
    """These columns of exactly these bars, by symbol, then time, and then these rows of them."""

    columns: tuple[str, ...]
    bars: ExactBars
    rows: Rows = ALL_ROWS


def bars_query(sql: str, tree: Tree) -> BarsQuery | None:
    """Return what a query selects; None if it does anything else. ``tree`` is its ``syntax_tree``."""
    if (node := select_of(sql, tree)) is None:
        return None
    modifiers, rows = _limited(node["modifiers"])
    bars, columns, order = bars_of(node), _columns(node["select_list"]), order_of(modifiers)
    if bars is None or columns is None or order is None or rows is None:
        return None
    is_of_all = rows == ALL_ROWS or TIMESTAMP in order  # or rows that are equal by the order could be cut
    symbols = bars.needed.symbols
    is_of_one = symbols is not None and len(symbols) == 1
    is_kept_so = order in (ORDERS_OF_ONE if is_of_one else ORDERS)
    is_clear = columns and len(set(columns)) == len(columns)
    return BarsQuery(columns, bars, rows) if is_kept_so and is_clear and is_of_all else None


def _limited(modifiers: list[Tree]) -> tuple[list[Tree], Rows | None]:
    """Return the modifiers before a LIMIT, and the rows that it leaves; None if these are not constants."""
    if not modifiers or modifiers[-1]["type"] != "LIMIT_MODIFIER":
        return modifiers, ALL_ROWS
    *others, limit = modifiers
    is_plain = without(limit, "offset", "limit") == {"type": "LIMIT_MODIFIER", "limit_type": "ROW_COUNT"}
    skipped = 0 if limit["offset"] is None else _count(limit["offset"])
    most = None if limit["limit"] is None else _count(limit["limit"])
    if not is_plain or skipped is None or (most is None and limit["limit"] is not None):
        return others, None
    return others, Rows(skipped, most)


def _count(expression: Tree) -> int | None:
    literal = expression["literal"] if expression.get("type") == "VALUE_CONSTANT" else {}
    return int(literal["text"]) if literal.get("kind") == "INTEGER" and COUNT.fullmatch(literal["text"]) else None


def _columns(selected: list[Tree]) -> tuple[str, ...] | None:
    if len(selected) == 1 and without(selected[0], *IN_THE_TEXT) == STAR:
        return COLUMNS
    return names_of(selected, column_of)
