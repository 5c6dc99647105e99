from __future__ import annotations

import duckdb
import pytest

from marketpipe.shared_kernel.domain.errors import QueryError
from marketpipe.storage.infrastructure.reading.syntax_tree import parts_of, syntax_tree, without_explain


@pytest.mark.parametrize(
    ("sql", "explained"),
    [
        ("SELECT 1", "SELECT 1"),
        (" explain SELECT 1", "SELECT 1"),
        ("EXPLAIN ANALYZE\nSELECT 1", "SELECT 1"),
        ("SELECT ' EXPLAIN it'", "SELECT ' EXPLAIN it'"),
        ("SELECT 1 -- EXPLAIN\n+ 1", "SELECT 1 -- EXPLAIN\n+ 1"),
    ],
)
def test_an_explain_is_taken_away_at_the_beginning_alone(sql: str, explained: str) -> None:
    assert without_explain(sql) == explained


def test_every_object_of_a_tree_is_a_part() -> None:
    with duckdb.connect() as connection:
        tree = syntax_tree(connection, "EXPLAIN SELECT 1 FROM (SELECT 2 FROM bars)")

    assert [part["table_name"] for part in parts_of(tree) if "table_name" in part] == ["bars"]
    assert sum(part.get("type") == "SELECT_NODE" for part in parts_of(tree)) == 2


def test_a_query_that_is_nested_too_deeply_is_refused_in_words() -> None:
    connection = duckdb.connect(config={"max_expression_depth": 100_000})
    with connection, pytest.raises(QueryError, match="nested too deeply"):
        syntax_tree(connection, f"SELECT {'(' * 900}1{' + 1)' * 900}")
