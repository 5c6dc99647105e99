"""A query reads the views: no file, no setting, nothing of DuckDB's own, whatever the words; and it comes to an end."""

from __future__ import annotations

import pytest

from marketpipe.shared_kernel.domain.errors import QueryError, StorageError
from marketpipe.storage.infrastructure.reading.duckdb_query import DuckDBQuery
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, day
from tests.support.store_on_disk import StoreOnDisk

NOT_A_VIEW = [
    *("FROM duckdb_settings()", "FROM duckdb_secrets()", "FROM duckdb_extensions()", "FROM duckdb_views()"),
    *("FROM duckdb_settings", "FROM duckdb_views", "FROM sqlite_master", "FROM pg_catalog.pg_settings"),
    *("FROM information_schema.tables", "FROM system.main.duckdb_views", "FROM temp.main.bars", "SHOW DATABASES"),
    *("FROM pragma_database_size()", "FROM pragma_version()", "FROM duckdb_memory()", "FROM pg_timezone_names()"),
    *("FROM query_table('duckdb_views')", "FROM query_table(['bars'])", "FROM histogram('duckdb_views', 'sql')"),
    "FROM read_parquet('{data}/symbol=AAPL/year=2024/month=01/day=02.parquet')",
    "FROM '{data}/symbol=AAPL/year=2024/month=01/day=02.parquet'",
    'FROM "{data}/symbol=AAPL/year=2024/month=01/day=02.parquet"',
    "FROM glob('{data}/*')",
    "FROM parquet_kv_metadata('{data}/symbol=AAPL/year=2024/month=01/day=02.parquet')",
    "DESCRIBE '{data}/symbol=AAPL/year=2024/month=01/day=02.parquet'",
    "SUMMARIZE FROM '/etc/passwd'",
    "SHOW duckdb_views",
    "SELECT current_setting('temp_directory')",
    "SELECT 'allowed_directories'.current_setting()",
    "SELECT Current_Setting('allowed_directories')",
    "SELECT system.main.current_setting('allowed_directories')",
    "SELECT \"current_setting\"('home_directory')",
    "SELECT current_setting/**/('home_directory')",
    "SELECT 1 WHERE 'x' = (SELECT max(current_setting('home_directory')) FROM bars)",
    "SELECT list_transform(['home_directory'], lambda name: current_setting(name))",
    "SELECT close FROM bars ORDER BY current_setting('home_directory')",
    "SELECT getvariable('x')",
    "SELECT pg_get_viewdef(1)",
    "SELECT json_serialize_plan('FROM duckdb_settings()')",
    "SELECT write_log('x')",
    "SELECT sleep_ms(1)",
    "FROM range(1), LATERAL (SELECT * FROM duckdb_settings())",
    "SELECT * FROM bars JOIN (FROM duckdb_settings()) ON true",
    "SELECT (SELECT max(name) FROM duckdb_settings())",
    "SELECT 1 WHERE EXISTS (FROM duckdb_settings())",
    "WITH x AS (FROM duckdb_settings()) FROM x",
    "WITH RECURSIVE x AS (FROM duckdb_settings() UNION ALL FROM x) FROM x",
    "FROM (PIVOT (FROM duckdb_settings()) ON name IN ('threads') USING max(value))",
    "EXPLAIN FROM duckdb_settings()",
    "EXPLAIN ANALYZE FROM duckdb_settings()",
    "SELECT 1 UNION ALL SELECT count(*) FROM duckdb_settings()",
    "FROM U&'\\0064uckdb_settings'",
    "FROM arrow_scan(1::UBIGINT, 2::UBIGINT, 3::UBIGINT)",
    "FROM register_external_resource('x', 'x', MAP {'a': 'b'}, 'x', 'x', 'x')",
    "FROM add_grammar_extension('x')",
    "FROM duckdb_logs",
    "FROM summary(bars)",
]
HIDDEN_BY_WITH = [
    "WITH duckdb_columns AS (FROM duckdb_columns) FROM duckdb_columns",
    "SELECT * FROM (WITH duckdb_views AS (SELECT 1) SELECT 1), duckdb_views",
    'WITH "{data}/symbol=AAPL/year=2024/month=01/day=02.parquet" AS (SELECT 1) SELECT 1',
    'WITH "/etc/passwd.csv" AS (FROM "/etc/passwd.csv") FROM "/etc/passwd.csv"',
    "WITH Duckdb_Views AS (FROM duckdb_views) FROM duckdb_views",
    "WITH tables AS (SELECT 1) FROM information_schema.tables",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreOnDisk:
    store = StoreOnDisk(tmp_path_factory.mktemp("store"))
    store.keep((day("AAPL", "2024-01-02"), [bar("2024-01-02T14:30:00Z")]))
    return store


def _ask(store: StoreOnDisk, sql: str) -> str:
    return str(store.query.run(sql.replace("{data}", str(store.layout.data))).to_pylist())


@pytest.mark.parametrize("sql", NOT_A_VIEW)
def test_a_query_reads_the_views_and_nothing_else(store: StoreOnDisk, sql: str) -> None:
    with pytest.raises(QueryError, match=r"not allowed|not one of the views|syntax error"):
        _ask(store, sql)


@pytest.mark.parametrize("sql", HIDDEN_BY_WITH)
def test_a_name_that_with_gives_hides_nothing_else_of_that_name(store: StoreOnDisk, sql: str) -> None:
    with pytest.raises(QueryError, match="WITH cannot define"):
        _ask(store, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DESCRIBE bars",
        "SUMMARIZE bars",
        "SHOW bars_1d",
        "SHOW TABLES",
        "FROM MAIN.Bars",
        "FROM memory.main.bars",
        "FROM range(3), bars",
        "FROM bars, unnest([1, 2])",
        "FROM generate_series(1, 2)",
        "FROM json_each('[1]')",
        "WITH Days AS (FROM bars) FROM days",
        "WITH bars AS (SELECT 1) FROM bars",
        "FROM bars POSITIONAL JOIN bars_1d",
    ],
)
def test_every_way_to_name_a_view_works(store: StoreOnDisk, sql: str) -> None:
    assert _ask(store, sql) != ""


def test_a_query_that_is_nested_a_thousand_times_is_refused_without_a_crash(store: StoreOnDisk) -> None:
    with pytest.raises(QueryError, match="nested too deeply"):
        _ask(store, "SELECT " + "abs(" * 900 + "1" + ")" * 900)


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        ("FROM range(1000000000000)", QueryError, "the result is larger than .* bytes: select fewer rows or columns"),
        ("SELECT list(range) FROM range(1000000000000)", StorageError, "could not be run: Out of Memory"),
        ("SELECT a.range FROM range(100000000) a, range(9) b ORDER BY random()", StorageError, "Out of Memory"),
    ],
)
def test_a_query_that_would_fill_the_memory_or_the_disk_ends(
    store: StoreOnDisk, sql: str, error: type[Exception], message: str
) -> None:
    query = DuckDBQuery(
        store.layout, CALENDAR.reaching, limits={"memory_limit": "60MB", "max_temp_directory_size": "20MB"}
    )

    with pytest.raises(error, match=message):
        query.run(sql)
