"""Syntax trees of queries, all made by one connection: to make one takes ten times as long as to parse a query."""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb

from marketpipe.storage.infrastructure.reading.syntax_tree import syntax_tree


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def parsed(sql: str) -> Any:
    return syntax_tree(_connection(), sql)
