"""What a query may say: a list of what is allowed, held against DuckDB's own syntax tree."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import duckdb

from marketpipe.shared_kernel.domain.errors import QueryError

Tree = Mapping[str, Any]

EXPLAIN: Final = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?", re.IGNORECASE)
READING_NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
SOURCES: Final = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF"}
)
"""What may stand after FROM."""
TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"})
TELLING_FUNCTIONS: Final = frozenset(
    {
        *("current_setting", "getenv", "getvariable", "get_block_size", "format_type", "write_log"),
        *("json_serialize_plan", "json_execute_serialized_sql", "query", "query_table"),
        *("pg_get_viewdef", "pg_get_constraintdef", "sleep_ms", "pg_sleep"),
    }
)
"""Those not of tables that tell of more than their arguments: settings, the machine, the catalog, SQL in a string."""
VIEW_NAMES: Final = '"tables"'
"""As which SHOW TABLES stands in the tree."""
CATALOG: Final = "SELECT view_name FROM duckdb_views() WHERE internal UNION SELECT table_name FROM duckdb_tables()"
TREE: Final = "SELECT json_serialize_sql(?::VARCHAR)"


def refuse_all_but_reading(connection: duckdb.DuckDBPyConnection, sql: str, views: Collection[str]) -> None:
    """Raises ``QueryError`` unless ``sql`` is one SELECT, or one EXPLAIN [ANALYZE] of a SELECT, of ``views`` alone.

    The type of a statement does not tell: ``EXPLAIN ANALYZE COPY …`` and ``WITH x AS (COPY …) SELECT …`` write files,
    and some functions run SQL that stands in a string. So DuckDB's own syntax tree is searched, in its JSON form, where
    no text of the user's can look like a key.
    """
    statements = connection.extract_statements(sql)
    parts = list(_parts(_tree(connection, EXPLAIN.sub("", sql, count=1) if EXPLAIN.match(sql) else sql)))
    nodes = {part["type"] for part in parts if str(part.get("type")).endswith("_NODE")}
    if len(statements) != 1 or not nodes or not nodes <= READING_NODES:
        raise QueryError("one SELECT statement at a time; nothing in the store can be changed by a query")
    _refuse_functions(parts)
    _refuse_sources(parts, frozenset(views) | _named_within(parts, connection))


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Tree:
    try:
        found: Tree = json.loads(str(connection.execute(TREE, [sql]).fetchall()[0][0]))
    except RecursionError:
        raise QueryError("the query is nested too deeply; use WITH to name its parts") from None
    return found


def _parts(tree: Tree) -> Iterator[Tree]:
    """Every object of the tree, however deep."""
    left: list[Any] = [tree]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            yield item
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)


def _refuse_functions(parts: Collection[Tree]) -> None:
    for part in parts:
        if "function_name" in part and str(part["function_name"]).lower() in TELLING_FUNCTIONS:
            raise QueryError(f"{part['function_name']}() is not allowed: a query sees bars and nothing else")


def _refuse_sources(parts: Collection[Tree], names: Collection[str]) -> None:
    for part in parts:
        if "sample" not in part or "select_list" in part:  # what every source has, and a SELECT too
            continue
        if part["type"] not in SOURCES:
            raise QueryError(f"{part['type']} is not allowed: a query reads the views and nothing else")
        if part["type"] == "TABLE_FUNCTION":
            _refuse_table_function(str(part["function"].get("function_name")))
        elif part["type"] in ("BASE_TABLE", "SHOW_REF"):
            _refuse_table(part, names)


def _refuse_table_function(name: str) -> None:
    if name.lower() not in TABLE_FUNCTIONS:
        raise QueryError(f"{name}() is not allowed: a query reads the views and nothing else")


def _refuse_table(part: Tree, names: Collection[str]) -> None:
    name = part["table_name"].lower()
    described = part["type"] == "SHOW_REF" and (name == VIEW_NAMES or (not name and part["query"]))
    foreign = part["schema_name"].lower() not in ("", "main") or part["catalog_name"].lower() not in ("", "memory")
    if foreign or not (described or name in names):
        raise QueryError(
            f"{part['table_name']!r} is not one of the views, and a query reads nothing else: {_list(names)}"
        )


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _named_within(parts: Collection[Tree], connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """What WITH names. Where a name is not in force DuckDB looks elsewhere: so none that is to be found there."""
    maps = (part["cte_map"]["map"] for part in parts if "cte_map" in part)
    names = {str(entry["key"]) for entries in maps for entry in entries}
    taken = {name for (name,) in connection.execute(CATALOG).fetchall()} if names else set()
    for name in names:
        if not re.fullmatch(r"\w+", name) or name.lower() in taken:
            raise QueryError(f"nothing can be named {name!r} by WITH: choose another word")
    return frozenset(name.lower() for name in names)
