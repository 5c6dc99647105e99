from __future__ import annotations

from marketpipe.ingestion.infrastructure.postgres.native_sql import for_each, for_many, is_one_for_many, native

INSERT = "INSERT INTO t (a, b, c) VALUES (?,?,(SELECT max(n) FROM s WHERE k = ?)) ON CONFLICT (a) DO NOTHING"


def test_places_are_numbered_as_sqlite_numbers_them() -> None:
    assert native("SELECT 1 WHERE a = ? AND b = ? AND c & ?3 = ?3 AND d = ?") == (
        "SELECT 1 WHERE a = $1 AND b = $2 AND c & $3 = $3 AND d = $4"
    )
    assert native("SELECT ?2, ?1, ?") == "SELECT $2, $1, $3"


def test_many_rows_are_inserted_by_one_statement_whose_values_are_columns() -> None:
    assert for_many(INSERT, [(1, "x", 7), (2, "y", 8)]) == (
        "INSERT INTO t (a, b, c)  SELECT given.c1,given.c2,(SELECT max(n) FROM s WHERE k = given.c3) "
        "FROM unnest($1::bigint[], $2::text[], $3::bigint[]) WITH ORDINALITY AS given (c1, c2, c3, number) "
        " ON CONFLICT (a) DO NOTHING",
        [[1, 2], ["x", "y"], [7, 8]],
    )


def test_a_value_that_all_rows_have_is_given_once_and_none_at_all_is_null() -> None:
    statement, values = for_many(INSERT, [(1, None, 7), (2, None, 7)])

    assert "SELECT given.c1,NULL,(SELECT max(n) FROM s WHERE k = $2::bigint) FROM unnest($1::bigint[])" in statement
    assert values == [[1, 2], 7]


def test_a_single_row_needs_no_array() -> None:
    statement, values = for_many(INSERT, [(1, b"x", 2.5)])

    assert "SELECT $1::bigint,$2::bytea,(SELECT max(n) FROM s WHERE k = $3::double precision) " in statement
    assert "FROM generate_series(1, $4::bigint) AS given (number)" in statement
    assert values == [1, b"x", 2.5, 1]


def test_whole_numbers_among_others_are_numbers_like_them() -> None:
    _, values = for_many(INSERT, [(1, 0.5, None), (2, 1, 3)])

    assert values == [[1, 2], [0.5, 1.0], [None, 3]]


def test_what_is_no_plain_insert_is_not_for_many() -> None:
    assert is_one_for_many(INSERT)
    assert not is_one_for_many("INSERT INTO t (a) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM t WHERE a = ?1)")
    assert not is_one_for_many("DELETE FROM t WHERE a = ?")


def test_a_query_for_each_of_several_values_numbers_them() -> None:
    statement, values = for_each("SELECT a FROM t WHERE store = ? AND b = ? ORDER BY a", [(1, "x"), (1, "y")])

    assert statement == (
        "SELECT given.number, found.* FROM unnest($1::text[]) WITH ORDINALITY AS given (c1, number), "
        "LATERAL (SELECT a FROM t WHERE store = $2::bigint AND b = given.c1 ORDER BY a) AS found"
    )
    assert values == [["x", "y"], 1]


def test_a_left_join_is_by_key() -> None:
    assert native("SELECT x FROM a LEFT JOIN b USING (i, j) WHERE i = ?") == (
        "SELECT x FROM a LEFT JOIN LATERAL (SELECT * FROM b AS keyed WHERE keyed.i = a.i AND keyed.j = a.j OFFSET 0) "
        "AS b USING (i, j) WHERE i = $1"
    )
