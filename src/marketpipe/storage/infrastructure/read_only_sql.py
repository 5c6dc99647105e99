from __future__ import annotations

import re

import duckdb

from marketpipe.shared_kernel.domain.errors import QueryError

EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?", re.IGNORECASE)
QUERY_NODE = re.compile(r'"type":"(\w+_NODE)"')
READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
RUNS_SQL_IN_A_STRING = re.compile(r'"function_name":"(?:query|json_execute_serialized_sql)"', re.IGNORECASE)


def refuse_all_but_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raises ``QueryError`` unless ``sql`` is one SELECT, or one EXPLAIN [ANALYZE] of a SELECT.

    The type of a statement does not tell: ``EXPLAIN ANALYZE COPY …`` and ``WITH x AS (COPY …) SELECT …`` write files,
    and two functions run SQL that stands in a string. So DuckDB's own syntax tree is searched, in its JSON form, where
    no text of the user's can look like a key.
    """
    statements = connection.extract_statements(sql)
    explained = EXPLAIN.sub("", sql, count=1) if EXPLAIN.match(sql) else sql
    tree = str(connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [explained]).fetchall()[0][0])
    if len(statements) != 1 or tree.startswith('{"error":true') or not set(QUERY_NODE.findall(tree)) <= READING_NODES:
        raise QueryError("one SELECT statement at a time; nothing in the store can be changed by a query")
    if RUNS_SQL_IN_A_STRING.search(tree):
        raise QueryError("query() and json_execute_serialized_sql() are not allowed: write the SELECT itself")
