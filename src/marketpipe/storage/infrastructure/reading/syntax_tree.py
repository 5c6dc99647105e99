"""DuckDB's own syntax tree of a query, in its JSON form, in which no text of the user can look like a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import duckdb

from marketpipe.shared_kernel.domain.errors import QueryError

Tree = Mapping[str, Any]

EXPLAIN: Final = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?", re.IGNORECASE)
TREE: Final = "SELECT json_serialize_sql(?::VARCHAR)"


def without_explain(sql: str) -> str:
    """Return what an EXPLAIN [ANALYZE] explains; another query as it is."""
    beginning = EXPLAIN.match(sql)
    return sql[beginning.end() :] if beginning else sql


def syntax_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Tree:
    """Return the tree of a query, or of what it explains; that of a SELECT alone has nodes. Raises ``QueryError``."""
    try:
        found: Tree = json.loads(str(connection.execute(TREE, [without_explain(sql)]).fetchall()[0][0]))
    except RecursionError:
        raise QueryError("the query is nested too deeply; use WITH to name its parts") from None
    return found


def parts_of(tree: Tree) -> Iterator[Tree]:
    """Yield every object of the tree, at any depth."""
    left: list[Any] = [tree]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            yield item
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
