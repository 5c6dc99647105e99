"""Which symbols and trading dates a query can need of a view, found in DuckDB's own syntax tree of it.

A query mostly asks for few of the symbols of a store, and it should list and open no files of others. What is found
here may be too much, and never too little. Only conditions count that every row of a view must meet to be in the
answer: those in the WHERE of the SELECT whose FROM names the view. Whatever is not understood means all bars.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import date, timedelta
from functools import reduce
from operator import and_, or_
from typing import Final

from attrs import evolve, frozen

from marketpipe.storage.infrastructure.reading.syntax_tree import Tree, parts_of

SYMBOL, TRADING_DATE, TIMESTAMP = "symbol", "trading_date", "timestamp"
COLUMNS: Final = frozenset({SYMBOL, TRADING_DATE, TIMESTAMP})
MARGIN: Final = 2
"""Days. A moment may have another date in UTC, in New York and in the zone in which it is written, and a date may be
compared with the middle of a day."""
DAY: Final = re.compile(r"(\d{4}-\d\d-\d\d)", re.ASCII)
OFFSET: Final = r"[+-](?:0\d|1[0-5])(?::?[0-5]\d)?"
"""Of a zone that exists. DuckDB reads others too, up to 99 hours, which are beyond the margin."""
MOMENT: Final = re.compile(
    rf"{DAY.pattern}(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)? ?(?:Z|UTC|{OFFSET}|America/New_York)?)?", re.ASCII
)
DATED: Final = frozenset({"date", "timestamp", "datetime", "timestamptz", "timestamp with time zone"})
"""Types, as in ``DATE '2024-01-02'``, which is a cast of a text."""
MIRRORED: Final = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}
"""Comparisons, and each with its sides exchanged. None of them is true of NULL."""
STEPS: Final = {**dict.fromkeys(MIRRORED, (0, 0)), "COMPARE_GREATERTHAN": (1, 0), "COMPARE_LESSTHAN": (0, -1)}
"""From a date that a trading date is compared with to the first and the last for which that is true, in days."""
OUTER: Final = frozenset({"INNER", "LEFT", "RIGHT", "FULL", "OUTER"})
"""Joins after which a WHERE may be answered without the rows that it drops: a side that is filled with NULL meets no
condition. Not semi and anti joins, which hide a side; nor joins by place or by the nearest time, for which all rows
count."""
REGULAR: Final = frozenset({"REGULAR", "CROSS"})


@frozen
class NeededBars:
    """Symbols, None for all, and trading dates between two, both inclusive: all that a query can need, or more."""

    symbols: frozenset[str] | None = None
    first: date = date.min
    last: date = date.max

    @property
    def are_all(self) -> bool:
        return self == ALL

    def has(self, year: int, month: int) -> bool:
        """Return whether it has dates of a month."""
        return (self.first.year, self.first.month) <= (year, month) <= (self.last.year, self.last.month)

    def __and__(self, other: NeededBars) -> NeededBars:
        """Return what both need."""
        if self.symbols is None or other.symbols is None:
            symbols = other.symbols if self.symbols is None else self.symbols
        else:
            symbols = self.symbols & other.symbols
        return NeededBars(symbols, max(self.first, other.first), min(self.last, other.last))

    def __or__(self, other: NeededBars) -> NeededBars:
        """Return at least what one of them needs."""
        symbols = None if self.symbols is None or other.symbols is None else self.symbols | other.symbols
        return NeededBars(symbols, min(self.first, other.first), max(self.last, other.last))

    def widened(self, days: int) -> NeededBars:
        """Return the same with so many days more before and after it."""
        return evolve(self, first=_moved(self.first, -days), last=_moved(self.last, days))


ALL: Final = NeededBars()
NOTHING: Final = NeededBars(frozenset(), date.max, date.min)


def needed_bars(tree: Tree, views: Collection[str]) -> dict[str, NeededBars]:
    """Return for each of these views that a query names what it can need of it; ``tree`` is ``json_serialize_sql``'s.

    A view that is missing in it may be needed all the same, and then whole: its name may be written in another way.
    """
    found, claimed = dict[str, NeededBars](), set[int]()
    for node in parts_of(tree):
        for source, needed in _restricted(node) if node.get("type") == "SELECT_NODE" else ():
            name = str(source["table_name"]).lower()
            claimed.add(id(source))
            found[name] = found[name] | needed if name in found else needed
    for part in parts_of(tree):
        if "table_name" in part and id(part) not in claimed:
            found[str(part["table_name"]).lower()] = ALL
    return {name: needed for name, needed in found.items() if name in views}


def _restricted(select: Tree) -> Iterator[tuple[Tree, NeededBars]]:
    """Yield the tables in the FROM of a SELECT, each with what its WHERE leaves of it."""
    condition = select.get("where_clause")
    sources = list(_sources(select.get("from_table") or {}))
    if not isinstance(condition, dict) or select.get("sample") is not None or None in sources:
        return
    found = [source for source in sources if source is not None]
    names = [_name(source) for source in found]
    hidden = {str(item.get("alias")).lower() for item in select.get("select_list", ())}
    for source, name in zip(found, names, strict=True):
        if _is_plain(source) and names.count(name) == 1 and name not in COLUMNS:
            # With one table a name alone is of its column. An output column of that name is left out of it: it is the
            # column's name that DuckDB takes, but nothing here should depend on that.
            plain = COLUMNS - hidden if len(found) == 1 else frozenset[str]()
            yield source, Conditions(name, plain).needed(condition)


def _sources(source: Tree) -> Iterator[Tree | None]:
    """Yield what is joined in a FROM; None among them if the way it is joined is not one that can be answered for."""
    if source.get("type") != "JOIN":
        yield source
        return
    if source.get("join_type") not in OUTER or source.get("ref_type") not in REGULAR or source.get("sample"):
        yield None
    yield from _sources(source["left"])
    yield from _sources(source["right"])


def _name(source: Tree) -> str:
    return str(source.get("alias") or source.get("table_name") or "").lower()


def _is_plain(source: Tree) -> bool:
    """Return whether it is a table with the names of its columns, and all of its rows."""
    others = ("sample", "at_clause", "column_name_alias")
    return source.get("type") == "BASE_TABLE" and not any(source.get(key) for key in others)


@frozen
class Conditions:
    """Conditions on the columns of a table: those with its ``name``, and if they are ``plain`` those without."""

    name: str
    plain: frozenset[str]

    def needed(self, condition: Tree) -> NeededBars:
        """Return at least the bars for which it can be true."""
        kind, children = str(condition.get("type")), condition.get("children", ())
        if kind == "CONJUNCTION_AND":
            return reduce(and_, map(self.needed, children), ALL)
        if kind == "CONJUNCTION_OR":
            return reduce(or_, map(self.needed, children))
        if kind == "COMPARE_IN" and children:
            column, *values = children
            return reduce(or_, (self._compared("COMPARE_EQUAL", column, value) for value in values))
        if kind == "COMPARE_BETWEEN":
            column, lower, upper = (condition.get(key, {}) for key in ("input", "lower", "upper"))
            since = self._compared("COMPARE_GREATERTHANOREQUALTO", column, lower)
            return since & self._compared("COMPARE_LESSTHANOREQUALTO", column, upper)
        if kind in MIRRORED and "left" in condition:
            left, right = condition["left"], condition["right"]
            return self._compared(kind, left, right) & self._compared(MIRRORED[kind], right, left)
        return ALL

    def exactly(self, condition: Tree) -> NeededBars | None:
        """Return exactly the bars for which it is true; None if it depends on more than symbols and trading dates, or
        is not of those that must all be met.
        """
        kind, children = str(condition.get("type")), condition.get("children", ())
        if kind == "CONJUNCTION_AND":
            found = [each for each in map(self.exactly, children) if each is not None]
            return reduce(and_, found, ALL) if len(found) == len(children) else None
        if kind == "COMPARE_IN":
            is_exact = all(self._is_exact("COMPARE_EQUAL", children[0], each) for each in children[1:])
            is_exact = is_exact and self.column(children[0]) == SYMBOL  # dates need not be one after another
        elif kind == "COMPARE_BETWEEN":
            column, bounds = condition["input"], (condition["lower"], condition["upper"])
            is_exact = self.column(column) == TRADING_DATE and all(map(_is_valid_date, bounds))
        else:
            is_exact = kind in MIRRORED and self._is_exact(kind, condition["left"], condition["right"])
        return self.needed(condition) if is_exact else None

    def _is_exact(self, kind: str, left: Tree, right: Tree) -> bool:
        column, value = self.column(left), right
        if column is None:
            column, value = self.column(right), left
        if column == SYMBOL:
            return kind == "COMPARE_EQUAL" and _text_of(value) is not None
        return column == TRADING_DATE and _is_valid_date(value)

    def _compared(self, kind: str, left: Tree, right: Tree) -> NeededBars:
        column = self.column(left)
        if column == SYMBOL:
            text = _text_of(right) if kind == "COMPARE_EQUAL" else None
            return ALL if text is None else NeededBars(frozenset({text}))
        day = None if column is None else _day(right)
        if day is None:
            return ALL
        is_exact = column == TRADING_DATE and _is_date(right)
        before, after = STEPS[kind] if is_exact else (-MARGIN, MARGIN)
        has_start, has_end = "LESSTHAN" not in kind, "GREATERTHAN" not in kind
        return NeededBars(
            first=_moved(day, before) if has_start else date.min, last=_moved(day, after) if has_end else date.max
        )

    def column(self, expression: Tree) -> str | None:
        """Return which of the three columns an expression is; None if it is another, or more than a column."""
        if expression.get("type") != "COLUMN_REF":
            return None
        *qualifiers, name = (str(part).lower() for part in expression.get("column_names", ("",)))
        is_known = name in self.plain if not qualifiers else qualifiers == [self.name]
        return name if is_known and name in COLUMNS else None


def _text_of(expression: Tree) -> str | None:
    """Return the text of a constant; None if it is no constant, or not a text."""
    literal = expression.get("literal")
    is_text = expression.get("type") == "VALUE_CONSTANT" and isinstance(literal, dict) and literal["kind"] == "STRING"
    return str(literal["text"]) if is_text and isinstance(literal, dict) else None


def dated_text(expression: Tree) -> tuple[str, str]:
    """Return the type and the text of a constant date or moment, no type for a mere text; no text for anything else."""
    if expression.get("type") != "OPERATOR_CAST":
        return "", _text_of(expression) or ""
    kind, is_cast = _type_of(expression), not expression.get("try_cast")
    return kind, (_text_of(expression.get("child", {})) or "") if is_cast and kind in DATED else ""


def _day(expression: Tree) -> date | None:
    """Return the date in a constant date or moment; None if it is no such constant."""
    match = MOMENT.fullmatch(dated_text(expression)[1])
    try:
        return None if match is None else date.fromisoformat(match[1])
    except ValueError:  # DuckDB will refuse it
        return None


def _is_date(expression: Tree) -> bool:
    """Return whether a constant that a date is compared with is a date too: a text then becomes one."""
    kind, text = dated_text(expression)
    return kind in ("", "date") and DAY.fullmatch(text) is not None


def _is_valid_date(expression: Tree) -> bool:
    return _is_date(expression) and _day(expression) is not None


def _type_of(cast: Tree) -> str:
    """Return the name of a type; "?" for one with parameters or in a schema: DuckDB may refuse it."""
    of_type = cast.get("type_expr", {})
    name, path = str(of_type.get("type_name", "")), of_type.get("qualified_name", {}).get("path")
    return name.lower() if path == [name] and not of_type.get("children") else "?"


def _moved(day: date, days: int) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return date.min if days < 0 else date.max
