"""A query can read bars, and do nothing else: write no file, open none outside the store, change no setting."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb
import pytest

from marketpipe.shared_kernel.domain.errors import QueryError
from marketpipe.testing import bar, bar_table
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk, tree

SECRET = "the keys of the kingdom"
NOT_READING = [
    "COPY (SELECT 1) TO '{data}/x.parquet'",
    "COPY bars FROM '/etc/passwd'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x.parquet'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{data}/x.parquet'",
    "explain/**/analyze copy bars to '{data}/symbol=AAPL/year=2024/month=01/day=02.parquet'",
    "EXPLAIN COPY (SELECT 1) TO '{data}/x.parquet'",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "WITH x AS (COPY (SELECT 1) TO '{data}/x.parquet') SELECT 1",
    "WITH x AS (COPY (SELECT 1) TO '{data}/x.parquet') SELECT * FROM x",
    "WITH x AS MATERIALIZED (COPY bars TO '{data}/symbol=AAPL/year=2024/month=01/day=02.parquet') FROM x",
    "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{data}/x.parquet') SELECT 1",
    "SELECT 1 UNION ALL (WITH x AS (COPY (SELECT 1) TO '{data}/x.parquet') SELECT 1)",
    "WITH x AS (DELETE FROM bars RETURNING *) SELECT * FROM x",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{data}/x.parquet''')",
    "SELECT * FROM system.main.\"QUERY\"('SELECT 1')",
    "FROM json_execute_serialized_sql(json_serialize_sql("
    "'WITH x AS (COPY (SELECT 1) TO ''{data}/x.parquet'') SELECT * FROM x'))",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '{data}/x.parquet'",
    "EXPLAIN SELECT 1; DROP VIEW bars",
    "",
    " ; ",
    "-- nothing",
    "ATTACH '{data}/x.db'",
    "DETACH memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET VARIABLE x = 1",
    "RESET lock_configuration",
    "PRAGMA enable_external_access",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW bars AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "CREATE SECRET s (TYPE s3)",
    "INSERT INTO bars SELECT * FROM bars",
    "UPDATE bars SET close = 0",
    "DELETE FROM bars",
    "DROP VIEW bars",
    "ALTER VIEW bars RENAME TO candles",
    "EXPORT DATABASE '{data}/x'",
    "IMPORT DATABASE '{data}/x'",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "PREPARE q AS SELECT 1",
    "USE memory",
]
OUT_OF_REACH = [
    "FROM read_csv('/etc/passwd')",
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('/etc/passwd')",
    "FROM read_json('/etc/passwd')",
    "FROM read_parquet('/etc/passwd')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM parquet_metadata('/etc/passwd')",
    "FROM read_duckdb('/etc/passwd')",
    "FROM '/etc/passwd'",
    "FROM '{state}'",
    "FROM read_text('{state}')",
    "FROM read_text('{data}/../state/marketpipe.sqlite')",
    "FROM read_text('{data}/symbol=AAPL/../../state/marketpipe.sqlite')",
    "FROM read_text('{data}-backup/secret.txt')",
    "FROM read_text('{data}/link')",
    "FROM read_text('{data}/linked/marketpipe.sqlite')",
    "FROM read_text('.tmp/secret.txt')",
    "FROM read_text('*')",
    "FROM glob('/*')",
    "FROM glob('{data}/../*')",
    "FROM glob('*')",
    "FROM read_parquet('http://127.0.0.1:9/x.parquet')",
    "FROM 'https://127.0.0.1:9/x.parquet'",
    "FROM read_parquet('s3://bucket/x.parquet')",
    "FROM sqlite_scan('{state}', 'jobs')",
    "FROM enable_logging(storage = 'file', storage_path = '{data}/log')",
    "FROM enable_profiling(save_location = '{data}/profile.json')",
    "SELECT getenv('HOME')",
    "FROM local_bars",
    "FROM layout",
]
UNLOCKING = [
    *("SET enable_external_access = true", "SET GLOBAL enable_external_access = true", "RESET enable_external_access"),
    *("SET lock_configuration = false", "RESET lock_configuration", "PRAGMA lock_configuration = false"),
    *("SET allowed_directories = ['/']", "SET allowed_paths = ['/etc/passwd']", "SET disabled_filesystems = ''"),
    *("SET temp_directory = '/tmp'", "SET memory_limit = '1TB'", "SET extension_directory = '/tmp'"),
    *("SET python_enable_replacements = true", "SET secret_directory = '/tmp'", "SET autoload_known_extensions = true"),
    *("INSTALL httpfs", "LOAD httpfs", "LOAD '/tmp/x.duckdb_extension'", "ATTACH '/tmp/x.db'", "ATTACH '{state}'"),
    *("CREATE PERSISTENT SECRET s (TYPE s3)", "EXPORT DATABASE '/tmp/x'", "COPY (SELECT 1) TO '/tmp/x.csv'"),
]
local_bars = bar_table([bar("2024-01-02T14:30:00Z")])
"""A query cannot see the variables of the program."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    """With a neighbour's secrets all around it, and links to them inside. No query changes it."""
    store = StoreOnDisk(tmp_path_factory.mktemp("sandbox") / "it's [a] store")
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z")]))
    for secret in ("state/marketpipe.sqlite", "data-backup/secret.txt", ".tmp/secret.txt"):
        (store.root / secret).parent.mkdir()
        (store.root / secret).write_text(SECRET)
    (store.layout.data / "link").symlink_to(store.root / "state" / "marketpipe.sqlite")
    (store.layout.data / "linked").symlink_to(store.root / "state")
    return store


def _ask(store: StoreOnDisk, sql: str) -> str:
    places = {"data": store.layout.data, "state": store.root / "state" / "marketpipe.sqlite"}
    for name, path in places.items():
        sql = sql.replace(f"{{{name}}}", str(path).replace("'", "''"))
    with contextlib.chdir(store.root):
        return str(store.query.run(sql).to_pylist())


@pytest.mark.parametrize("sql", NOT_READING)
def test_what_is_not_one_select_is_refused_and_changes_nothing(store: StoreOnDisk, sql: str) -> None:
    before = tree(store.root)

    with pytest.raises(QueryError):
        _ask(store, sql)

    assert tree(store.root) == before


@pytest.mark.parametrize("sql", OUT_OF_REACH)
def test_what_is_outside_the_store_is_out_of_reach(store: StoreOnDisk, sql: str) -> None:
    before = tree(store.root)

    with pytest.raises(QueryError) as refused:
        _ask(store, sql)

    assert SECRET not in str(refused.value)
    assert "root:" not in str(refused.value)
    assert tree(store.root) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'COPY (SELECT 1) TO x' AS sql",
        """SELECT '"type":"COPY_QUERY_NODE"' AS sql""",
        """SELECT '"function_name":"query"' AS sql""",
        'SELECT close AS query, symbol AS "json_execute_serialized_sql" FROM bars',
        "SELECT close FROM bars -- ; DROP VIEW bars",
        "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 3) SELECT * FROM t",
        "(SELECT 1) UNION (SELECT 2) ORDER BY 1",
        "SELECT * FROM (PIVOT bars ON symbol IN ('AAPL') USING count(*))",
        "VALUES (1)",
        "TABLE bars",
        "FROM range(3)",
        "SELECT 1;",
    ],
)
def test_words_that_only_seem_dangerous_are_allowed(store: StoreOnDisk, sql: str) -> None:
    assert _ask(store, sql) != "[]"


@pytest.mark.parametrize("sql", OUT_OF_REACH)
def test_the_lock_protects_the_files_even_if_the_list_of_functions_has_a_hole(store: StoreOnDisk, sql: str) -> None:
    before = tree(store.root)
    places = {"{data}": store.layout.data, "{state}": store.root / "state" / "marketpipe.sqlite"}
    for name, path in places.items():
        sql = sql.replace(name, str(path).replace("'", "''"))

    with (
        store.query.connection() as connection,
        contextlib.chdir(store.root),
        pytest.raises(duckdb.Error) as refused,
    ):
        connection.execute(sql).fetchall()

    assert SECRET not in str(refused.value)
    assert tree(store.root) == before


@pytest.mark.parametrize("sql", UNLOCKING)
def test_the_lock_cannot_be_opened_from_within(store: StoreOnDisk, sql: str) -> None:
    before = tree(store.root)
    with store.query.connection() as connection:
        with pytest.raises((duckdb.PermissionException, duckdb.InvalidInputException)):
            connection.execute(sql.replace("{state}", str(store.root / "state" / "x").replace("'", "''")))
        connection.rollback()
        connection.begin()
        names = ["enable_external_access", "lock_configuration", "autoload_known_extensions"]
        found = [connection.execute("SELECT current_setting(?)", [name]).fetchall() for name in names]

    assert found == [[(False,)], [(True,)], [(False,)]]
    assert tree(store.root) == before


def test_a_query_leaves_nothing_in_the_working_folder(store: StoreOnDisk) -> None:
    before, query = tree(store.root), store.query

    with query.connection() as connection:
        scratch = Path(connection.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
        assert (scratch.stat().st_mode & 0o777, store.root in scratch.parents) == (0o700, False)

    query.close()

    assert not scratch.exists()
    assert tree(store.root) == before


def test_the_statements_that_write_do_so_without_the_protection(tmp_path: Path) -> None:
    """Or the sandbox would be tested with words that mean nothing to DuckDB."""
    with duckdb.connect() as connection:
        for number, sql in enumerate(
            (
                "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
                "WITH x AS (COPY (SELECT 1) TO '{file}') SELECT 1",
                "FROM json_execute_serialized_sql(json_serialize_sql("
                "'WITH x AS (COPY (SELECT 1) TO ''{file}'') SELECT * FROM x'))",
            )
        ):
            connection.execute(sql.format(file=tmp_path / f"{number}.parquet")).fetchall()

    assert sorted(tree(tmp_path)) == ["0.parquet", "1.parquet", "2.parquet"]


def test_a_day_file_that_is_a_link_to_outside_of_the_store_is_not_followed(tmp_path: Path) -> None:
    inside, outside = StoreOnDisk(tmp_path / "inside"), StoreOnDisk(tmp_path / "outside")
    for store in (inside, outside):
        store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z", 42.0)]))
    link = inside.path(day("MSFT", "2024-01-02"))
    link.parent.mkdir(parents=True)
    link.symlink_to(outside.path(day("AAPL", "2024-01-02")))

    with pytest.raises(QueryError, match="Permission"):
        inside.query.run("SELECT symbol, close FROM bars")
