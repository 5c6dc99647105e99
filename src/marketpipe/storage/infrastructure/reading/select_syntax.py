"""The parts of a SELECT from ``bars`` that copies may answer without DuckDB, found in its syntax tree.

Each function understands exactly what it names. Anything else in the tree, also what a later DuckDB adds to it, is not
understood: then the query is DuckDB's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.reading import needed_bars
from marketpipe.storage.infrastructure.reading.exact_moments import ALWAYS, Moments, moments_of
from marketpipe.storage.infrastructure.reading.needed_bars import (
    ALL,
    SYMBOL,
    TRADING_DATE,
    Conditions,
    NeededBars,
)
from marketpipe.storage.infrastructure.reading.needed_files import findable
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree, without_explain

SESSION: Final = "session"
COLUMNS: Final = (SYMBOL, TRADING_DATE, *BAR_SCHEMA.names, SESSION)
"""Of the view, in its order."""
IN_THE_TEXT: Final = ("query_location", "query_location_length")
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
COLUMN: Final[Tree] = {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": ""}
CONDITIONS: Final = Conditions("bars", needed_bars.COLUMNS)


@frozen
class ExactBars:
    """The bars of these symbols and trading dates that begin at these moments."""

    needed: NeededBars
    moments: Moments = ALWAYS


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
    return node if is_grouped_so and without(node["from_table"], *IN_THE_TEXT) == FROM_BARS else None


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
    return names_of(modifier["orders"], _ascending) if is_order else None


def names_of(parts: list[Tree], name: Callable[[Tree], str | None]) -> tuple[str, ...] | None:
    found = [name(part) for part in parts]
    names = tuple(each for each in found if each is not None)
    return names if len(names) == len(found) else None


def _ascending(order: Tree) -> str | None:
    kind, others = order.get("type"), without(order, "type", "expression")
    is_ascending = kind in ("ORDER_DEFAULT", "ASCENDING") and others == {"null_order": "ORDER_DEFAULT"}
    return column_of(order["expression"]) if is_ascending else None


def column_of(expression: Tree) -> str | None:
    """Return the name of a column that is written as it is named: the answer has it so."""
    if without(expression, "column_names", *IN_THE_TEXT) != COLUMN:
        return None
    names = expression["column_names"]
    return str(names[0]) if len(names) == 1 and names[0] in COLUMNS else None


def without(part: Mapping[str, Any], *keys: str) -> Tree:
    return {key: value for key, value in part.items() if key not in keys}
