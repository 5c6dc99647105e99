"""Answers a query of figures of each symbol, as ``SELECT symbol, avg(close) … GROUP BY symbol``, from Arrow copies.

Copies have the bars of each symbol together, so nothing is hashed. A sum of doubles depends on the order of the
additions, in DuckDB too, which adds up in several threads: the last digits may differ. Any other query is DuckDB's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.reading.minute_files import MinuteFiles
from marketpipe.storage.infrastructure.reading.month_parts import Part, parts_of_months
from marketpipe.storage.infrastructure.reading.needed_bars import SYMBOL, TIMESTAMP, TRADING_DATE
from marketpipe.storage.infrastructure.reading.select_syntax import (
    GROUP_BY_ALL,
    IN_THE_TEXT,
    ExactBars,
    bars_of,
    column_of,
    order_of,
    select_of,
    without,
)
from marketpipe.storage.infrastructure.reading.syntax_tree import Tree

COUNT_ROWS: Final = "count_star"
FIGURES: Final[Mapping[str, Callable[[pa.ChunkedArray], pa.Scalar]]] = {
    "avg": pc.mean,
    "sum": pc.sum,
    "min": pc.min,
    "max": pc.max,
    "count": pc.count,
}
OF_ANY_TYPE: Final = ("min", "max", "count")
"""Of columns of other types than doubles, the others are wider in DuckDB than in Arrow."""
DOUBLES: Final = tuple(field.name for field in BAR_SCHEMA if pa.types.is_floating(field.type))
FUNCTION: Final[Tree] = {
    "class": "FUNCTION",
    "type": "FUNCTION",
    "schema": "",
    "catalog": "",
    "filter": None,
    "order_bys": {"type": "ORDER_MODIFIER", "orders": []},
    "distinct": False,
    "is_operator": False,
    "export_state": False,
    "is_legacy_function_call": False,
}


@frozen
class Figure:
    """What a column of the answer has: the symbol, how many rows it has, or a function of one of its columns."""

    name: str
    function: str | None
    column: str | None


@frozen
class SymbolFigures:
    """These figures of exactly these bars, one row for each symbol that has any, by symbol."""

    figures: tuple[Figure, ...]
    bars: ExactBars


def symbol_figures(sql: str, tree: Tree) -> SymbolFigures | None:
    """Return the figures that a query asks for; None if it does anything else. ``tree`` is its ``syntax_tree``."""
    by_symbol, by_all = select_of(sql, tree, [SYMBOL]), select_of(sql, tree, handling=GROUP_BY_ALL)
    if (node := by_symbol or by_all) is None:
        return None
    figures = [_figure(each) for each in node["select_list"]]
    known, bars = tuple(each for each in figures if each is not None), bars_of(node)
    names = {each.name.lower() for each in known}
    if by_all and SYMBOL not in names:  # it has one row for all symbols
        return None
    is_clear = len(known) == len(figures) == len(names) and order_of(node["modifiers"]) in ((), (SYMBOL,))
    return SymbolFigures(known, bars) if is_clear and bars is not None else None


def _figure(expression: Tree) -> Figure | None:
    if column_of(expression) == SYMBOL:
        return Figure(SYMBOL, None, None)
    function, name = expression.get("function_name"), expression.get("alias")
    if without(expression, "alias", "function_name", "qualified_name", "arguments", *IN_THE_TEXT) != FUNCTION:
        return None
    arguments = [column_of(each["expression"]) for each in expression["arguments"] if each["name"] == ""]
    is_known = expression["qualified_name"] == {"path": [function]} and len(arguments) == len(expression["arguments"])
    # one of these names could be meant by a condition or an order
    if not is_known or str(name).lower() in (SYMBOL, TRADING_DATE, TIMESTAMP):
        return None
    if function == COUNT_ROWS and not arguments:
        return Figure(name or f"{COUNT_ROWS}()", COUNT_ROWS, None)
    column = arguments[0] if len(arguments) == 1 else None
    if column is None or column not in (BAR_SCHEMA.names if function in OF_ANY_TYPE else DOUBLES):
        return None
    return Figure(name or f"{function}({_written(column)})", function, column) if function in FIGURES else None


def _written(column: str) -> str:
    """Return a column as DuckDB writes it in the name of a figure: in quotes if its own name is a word of SQL."""
    is_word = any(kind == duckdb.token_type.keyword for _, kind in duckdb.tokenize(column))
    return f'"{column}"' if is_word else column


def figures_of(files: MinuteFiles, wanted: SymbolFigures) -> pa.Table | None:
    """Return the figures; None if DuckDB has to answer, as in ``answered_bars``, or if one of them is not finite.

    Of copies in Parquet DuckDB makes them as quickly, without a column of bars in memory.
    """
    if not files.are_mapped:
        return None
    names = {figure.column for figure in wanted.figures if figure.column is not None}
    if (parts := parts_of_months(files, wanted.bars, names, most_decoded=0)) is None:
        return None
    groups = [list(some) for _, some in groupby(parts, lambda part: part.symbol)]
    columns = {figure.name: [_value(figure, group) for group in groups] for figure in wanted.figures}
    if any(isinstance(value, float) and not math.isfinite(value) for some in columns.values() for value in some):
        return None  # DuckDB has rules of its own for them
    types = [pa.array(columns[figure.name], _type(figure)) for figure in wanted.figures]
    return pa.table(types, [figure.name for figure in wanted.figures])


def _value(figure: Figure, parts: Sequence[Part]) -> Any:
    """Return the figure of a symbol; one that is not finite if DuckDB may have another."""
    if figure.function is None:
        return parts[0].symbol
    if figure.column is None:
        return sum(len(part.bars) for part in parts)
    values = pa.chunked_array([chunk for part in parts for chunk in part.bars[figure.column].chunks])
    is_extreme = figure.function in ("min", "max") and figure.column in DOUBLES
    if is_extreme and not math.isfinite(pc.sum(values).as_py() or 0.0):
        return math.nan  # for Arrow it is no value, and for DuckDB the greatest
    return FIGURES[figure.function](values).as_py()


def _type(figure: Figure) -> pa.DataType:
    if figure.function is None:
        return pa.string()
    return pa.int64() if figure.column is None or figure.function == "count" else BAR_SCHEMA.field(figure.column).type
