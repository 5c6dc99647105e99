from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange
from marketpipe.storage.infrastructure.compacted.parquet_footers import NotAFooter
from marketpipe.storage.infrastructure.objects.packs import NewPackedFile, files_of, index_at_the_end
from marketpipe.storage.infrastructure.objects.table_objects import TableObject, new_table_object
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import StoreOnDisk

SYMBOLS = ("AAPL", "BRK.B", "MSFT")
DATES = ("2024-01-02", "2024-01-03", "2024-01-04")
NOTHING = CatalogChange()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[NewPackedFile]:
    """Return two month files, and the day files of a third symbol."""
    store = StoreOnDisk(tmp_path_factory.mktemp("store"))
    for symbol in SYMBOLS:
        for number, date in enumerate(DATES):
            store.keep((day(symbol, date), [at(minute) for minute in range(2 + 199 * number)]))
    for symbol in SYMBOLS[:2]:
        assert store.compact(symbol) is not None
    paths = sorted((store.root / "data").rglob("*.parquet"))
    return [NewPackedFile(str(path.relative_to(store.root)), path.read_bytes(), 7) for path in paths]


@pytest.fixture(scope="module")
def table(files: list[NewPackedFile]) -> TableObject:
    return new_table_object(files, NOTHING, 5)


@pytest.fixture
def path(table: TableObject, tmp_path: Path) -> Path:
    written = tmp_path / "object.parquet"
    written.write_bytes(table.pack.content)
    return written


def test_the_files_are_in_it_byte_for_byte(table: TableObject, files: list[NewPackedFile]) -> None:
    content = table.pack.content

    assert [*files_of(content)] == files
    assert index_at_the_end(content, len(content)) == table.pack.index
    placed = [file for file in table.pack.index.change_of("objects/it").placed if file.content is None]
    assert [(f.path, content[f.offset : f.offset + f.size]) for f in placed] == [(f.path, f.content) for f in files]


def test_readers_find_the_symbol_and_the_trading_date_of_each_row(path: Path) -> None:
    wanted = [(s, d, 2 + 199 * n) for s in SYMBOLS for n, d in enumerate(DATES)]

    with duckdb.connect() as connection:
        counted = f"SELECT symbol, trading_date::VARCHAR, count(*) FROM '{path}' GROUP BY ALL ORDER BY ALL"
        assert connection.sql(counted).fetchall() == wanted
        (found,) = connection.sql(f"SELECT count(*) FROM '{path}' WHERE symbol = 'BRK.B'").fetchall()
        assert found == (603,)
    by_arrow = pq.read_table(path, filters=[("symbol", "=", "MSFT")])
    assert by_arrow.num_rows == 603
    assert by_arrow.column_names[:3] == ["symbol", "trading_date", "timestamp"]


def test_polars_finds_them_too(path: Path) -> None:
    polars = pytest.importorskip("polars")
    scanned = polars.scan_parquet(path)
    assert scanned.filter(polars.col("symbol") == "AAPL").collect().height == 603
    assert scanned.collect().height == 3 * 603


def test_its_bars_are_those_of_the_files(path: Path, files: list[NewPackedFile]) -> None:
    of_files = [pq.ParquetFile(pa.BufferReader(file.content)).read().replace_schema_metadata() for file in files]
    found = pq.ParquetFile(path).read().drop_columns(["symbol", "trading_date"]).replace_schema_metadata()
    assert found.equals(pa.concat_tables(of_files))


def test_row_groups_that_are_not_wanted_are_told_by_their_statistics(path: Path) -> None:
    metadata = pq.ParquetFile(path).metadata
    bounds = [metadata.row_group(number).column(0).statistics for number in range(metadata.num_row_groups)]
    assert [(each.min, each.max) for each in bounds] == [(symbol, symbol) for symbol in SYMBOLS for _ in DATES]
    dates = [metadata.row_group(number).column(1).statistics.max for number in range(metadata.num_row_groups)]
    assert [str(date) for date in dates] == [*DATES] * 3


def test_it_says_what_it_has(table: TableObject, path: Path) -> None:
    figures, times = table.figures, pq.read_table(path)["timestamp"].cast(pa.int64()).to_pylist()
    assert (figures.files, figures.rows) == (5, 3 * 603)
    assert figures.symbols == ("AAPL", "MSFT")
    assert figures.dates == (DATES[0], DATES[-1])
    assert figures.times == (min(times), max(times))
    assert table.pack.index.figures == figures


def test_a_copy_names_no_file(files: list[NewPackedFile]) -> None:
    copy = new_table_object(files, NOTHING, 5, is_copy=True)
    content = copy.pack.content
    assert [*files_of(content)] == []
    assert index_at_the_end(content, len(content)) == copy.pack.index
    assert copy.pack.index.change_of("objects/it") == NOTHING
    assert pq.read_table(pa.BufferReader(content)).num_rows == 3 * 603


def test_files_of_other_columns_are_no_table(files: list[NewPackedFile]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"timestamp": [1]}), sink)
    other = NewPackedFile("data/symbol=X/year=2024/month=01/day=02.parquet", sink.getvalue().to_pybytes(), 7)
    with pytest.raises(NotAFooter, match="columns differ"):
        new_table_object([*files, other], NOTHING, 5)
