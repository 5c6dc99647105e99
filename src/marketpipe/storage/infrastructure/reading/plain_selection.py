"""Finds out whether a query only selects bars: then the copies that ``load`` reads are its answer, without DuckDB.

All columns of ``bars`` or some by their names, WHERE with nothing but symbols, trading dates and moments, ordered as
bars are kept, or not at all, and LIMIT if their order is total. Anything else in the syntax tree, also what a later
DuckDB adds to it, means another query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.reading import needed_bars
from marketpipe.storage.infrastructure.reading.needed_bars import (
    ALL,
    SYMBOL,
    TIMESTAMP,
    TRADING_DATE,
    Conditions,
    NeededBars,
)
from marketpipe.storage.infrastructure.reading.needed_files import findable
from marketpipe.storage.infrastructure.reading.plain_moments import ALWAYS, Moments, moments_of
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree, without_explain

SESSION: Final = "session"
COLUMNS: Final = (SYMBOL, TRADING_DATE, *BAR_SCHEMA.names, SESSION)
"""Of the view, in its order."""
PLACES: Final = ("query_location", "query_location_length")
"""Where a part is in the text of a query."""
STATEMENT: Final[Tree] = {"named_param_map": []}
SELECT: Final[Tree] = {
    "type": "SELECT_NODE",
    "cte_map": {"map": []},
    "having": None,
    "sample": None,
    "qualify": None,
}
GROUP_BY_NAMES, GROUP_BY_ALL = "STANDARD_HANDLING", "FORCE_AGGREGATES"
PARTS: Final = ("modifiers", "select_list", "from_table", "where_clause", "group_expressions")
"""What may differ from one such SELECT to another."""
FROM_BARS: Final[Tree] = {
    "type": "BASE_TABLE",
    "alias": "",
    "sample": None,
    "schema_name": "",
    "table_name": "bars",
    "column_name_alias": [],
    "catalog_name": "",
    "at_clause": None,
    "qualified_name": {"path": ["bars"]},
}
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
COLUMN: Final[Tree] = {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": ""}
ORDERS: Final = ((SYMBOL, TIMESTAMP), (SYMBOL, TRADING_DATE, TIMESTAMP), (SYMBOL, TRADING_DATE), (SYMBOL,), ())
"""In which bars are kept. Those that are equal by what a query names may come in any order."""
ORDERS_OF_ONE: Final = (*ORDERS, (TIMESTAMP,), (TRADING_DATE, TIMESTAMP), (TRADING_DATE,))
"""The same for a query of one symbol."""
CONDITIONS: Final = Conditions("bars", needed_bars.COLUMNS)


@frozen
class ExactBars:
    """The bars of these symbols and trading dates that begin at these moments."""

    needed: NeededBars
    moments: Moments = ALWAYS


@frozen
class Rows:
    """Those after so many, and no more than ``most`` of them; None for all."""

    skipped: int = 0
    most: int | None = None


ALL_ROWS: Final = Rows()
COUNT: Final = re.compile(r"\d{1,15}", re.ASCII)
"""A number of rows; one with more digits may be too large for DuckDB."""


@frozen
class PlainSelection:
    """These columns of exactly these bars, by symbol, then time, and then these rows of them."""

    columns: tuple[str, ...]
    bars: ExactBars
    rows: Rows = ALL_ROWS


def plain_selection(sql: str, tree: Tree) -> PlainSelection | None:
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
    return PlainSelection(columns, bars, rows) if is_kept_so and is_clear and is_of_all else None


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
    if len(selected) == 1 and without(selected[0], *PLACES) == STAR:
        return COLUMNS
    return _names(selected, column_of)


def select_of(sql: str, tree: Tree, groups: Sequence[str] = (), handling: str = GROUP_BY_NAMES) -> Tree | None:
    """Return the SELECT that a query is, FROM ``bars`` alone, GROUP BY these columns; None if it is anything else.

    ``handling`` is another for GROUP BY ALL, which has no columns.
    """
    statements: list[Tree] = tree.get("statements", []) if without_explain(sql) == sql else []
    if len(statements) != 1 or without(statements[0], "node") != STATEMENT:
        return None
    node: Tree = statements[0]["node"]
    sets = {"group_sets": [list(range(len(groups)))] if groups else []}
    if not all(part in node for part in PARTS) or without(node, *PARTS) != {
        **SELECT,
        **sets,
        "aggregate_handling": handling,
    }:
        return None
    is_grouped_so = list(map(column_of, node["group_expressions"])) == list(groups)
    return node if is_grouped_so and without(node["from_table"], *PLACES) == FROM_BARS else None


def bars_of(node: Tree) -> ExactBars | None:
    """Return exactly the bars that its WHERE leaves; None if it depends on more than symbols, dates and moments."""
    condition: Tree = node["where_clause"] or {"type": "CONJUNCTION_AND", "children": []}
    needed, moments = ALL, ALWAYS
    for each in condition["children"] if condition["type"] == "CONJUNCTION_AND" else [condition]:
        if (some := moments_of(each, CONDITIONS)) is not None:
            needed, moments = needed & CONDITIONS.needed(each), moments & some
        elif (bars := CONDITIONS.exactly(each)) is not None:
            needed &= bars
        else:
            return None
    return ExactBars(needed, moments) if findable(needed) == needed else None


def order_of(modifiers: list[Tree]) -> tuple[str, ...] | None:
    """Return the columns by which rows ascend; None if they are ordered by anything else, or limited."""
    if not modifiers:
        return ()
    (modifier, *others) = modifiers
    is_order = not others and without(modifier, "orders") == {"type": "ORDER_MODIFIER"}
    return _names(modifier["orders"], _ascending) if is_order else None


def _names(parts: list[Tree], name: Callable[[Tree], str | None]) -> tuple[str, ...] | None:
    found = [name(part) for part in parts]
    names = tuple(each for each in found if each is not None)
    return names if len(names) == len(found) else None


def _ascending(order: Tree) -> str | None:
    kind, others = order.get("type"), without(order, "type", "expression")
    is_ascending = kind in ("ORDER_DEFAULT", "ASCENDING") and others == {"null_order": "ORDER_DEFAULT"}
    return column_of(order["expression"]) if is_ascending else None


def column_of(expression: Tree) -> str | None:
    """Return the name of a column that is written as it is named: the answer has it so."""
    if without(expression, "column_names", *PLACES) != COLUMN:
        return None
    names = expression["column_names"]
    return str(names[0]) if len(names) == 1 and names[0] in COLUMNS else None


def without(part: Mapping[str, Any], *keys: str) -> Tree:
    return {key: value for key, value in part.items() if key not in keys}
