from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, PartitionUnreadableError, QueryError
from marketpipe.shared_kernel.infrastructure.written_files import OwnPlaces
from marketpipe.storage.domain.exported_file import FileFormat
from marketpipe.storage.infrastructure.reading.exporting import ROWS_OF_A_GROUP, TableFile, in_groups

TABLE = pa.table({"n": [1, 2, 3], "x": [1.5, None, 2.0], "name": ["a", "b", None]})
READERS = {
    FileFormat.PARQUET: lambda path: pq.read_table(path),
    FileFormat.ARROW: lambda path: pa.ipc.open_file(path).read_all(),
    FileFormat.CSV: lambda path: pacsv.read_csv(
        path, convert_options=pacsv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    ),
    FileFormat.JSON: lambda path: pa.Table.from_pylist(json.loads(path.read_text())),
}


@pytest.mark.parametrize("file_format", FileFormat)
def test_batches_become_one_file_that_reads_back_the_same(file_format: FileFormat, tmp_path: Path) -> None:
    path = tmp_path / "out"
    report = TableFile(path, file_format).write(TABLE.schema, [TABLE.slice(0, 2), TABLE.slice(2)])
    assert READERS[file_format](path).equals(TABLE)
    assert (report.rows, report.columns, report.size_bytes) == (3, ("n", "x", "name"), path.stat().st_size)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("file_format", FileFormat)
def test_no_rows_are_a_file_too(file_format: FileFormat, tmp_path: Path) -> None:
    assert TableFile(tmp_path / "out", file_format).write(TABLE.schema, []).rows == 0
    assert READERS[file_format](tmp_path / "out").num_rows == 0


def test_a_file_that_exists_is_replaced_only_if_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="exists; give another name, or --overwrite"):
        TableFile(path, FileFormat.CSV)
    assert path.read_text() == "mine"
    TableFile(path, FileFormat.CSV, overwrite=True).write(TABLE.schema, [TABLE])
    assert path.read_text().startswith('"n","x","name"\n')


def test_a_file_that_another_program_wrote_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    file = TableFile(path, FileFormat.CSV)
    path.write_text("theirs")
    with pytest.raises(ConfigurationError, match="written by another program meanwhile"):
        file.write(TABLE.schema, [TABLE])
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_failure_on_the_way_leaves_what_was_there(tmp_path: Path) -> None:
    def failing() -> Iterator[pa.Table]:
        yield TABLE
        raise PartitionUnreadableError("damaged")

    path = tmp_path / "out.parquet"
    path.write_text("former")
    with pytest.raises(PartitionUnreadableError, match=r"^damaged$"):
        TableFile(path, FileFormat.PARQUET, overwrite=True).write(TABLE.schema, failing())
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["out.parquet"]


@pytest.mark.parametrize("place", ["store/out.csv", "store/deep/out.csv", "link/out.csv"])
def test_the_folders_of_the_store_take_no_export(place: str, tmp_path: Path) -> None:
    (tmp_path / "store" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with pytest.raises(ConfigurationError, match="is inside the store"):
        TableFile(tmp_path / place, FileFormat.CSV, OwnPlaces((tmp_path / "store",)))


@pytest.mark.parametrize(
    ("place", "message"),
    [("none/out.csv", "there is no folder"), (".", "is not a file"), ("a\0b", "cannot be written")],
)
def test_a_path_that_cannot_be_written_is_refused_at_once(place: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TableFile(tmp_path / place, FileFormat.CSV, overwrite=True)


@pytest.mark.parametrize(
    ("table", "file_format", "message"),
    [
        (pa.table({"l": [[1, 2]]}), FileFormat.CSV, "csv cannot hold the result"),
        (pa.table([[1], [2]], names=["a", "a"]), FileFormat.JSON, "two columns are named 'a'"),
        (pa.table({"d": pa.array([2**31 - 1], pa.date32())}), FileFormat.JSON, "json cannot hold a value"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    table: pa.Table, file_format: FileFormat, message: str, tmp_path: Path
) -> None:
    with pytest.raises(QueryError, match=message):
        TableFile(tmp_path / "out", file_format).write(table.schema, [table])
    assert os.listdir(tmp_path) == []


def test_small_tables_share_a_row_group_and_large_ones_do_not_wait() -> None:
    small, large = pa.table({"n": range(10)}), pa.table({"n": range(ROWS_OF_A_GROUP)})
    assert [len(table) for table in in_groups([small, small, large, small])] == [ROWS_OF_A_GROUP + 20, 10]


def test_no_more_than_a_group_and_the_next_part_of_it_is_kept_in_memory(tmp_path: Path) -> None:
    rows, part = ROWS_OF_A_GROUP // 5, np.zeros(ROWS_OF_A_GROUP // 5)
    before, allocated = pa.total_allocated_bytes(), list[int]()

    def tables() -> Iterator[pa.Table]:
        for _ in range(20):
            allocated.append(pa.total_allocated_bytes() - before)
            yield pa.table({"n": pc.add(pa.array(part), 1.0)})

    schema = pa.schema([("n", pa.float64())])
    report = TableFile(tmp_path / "out.arrow", FileFormat.ARROW).write(schema, in_groups(tables()))
    assert report.rows == 20 * rows
    assert max(allocated) < 1.1 * ROWS_OF_A_GROUP * 8
