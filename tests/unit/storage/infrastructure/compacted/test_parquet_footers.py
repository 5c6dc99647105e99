from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketpipe.storage.infrastructure.compacted.parquet_footers import (
    NotAFooter,
    footer_of,
    joined_footer,
)
from tests.support.builders import day
from tests.support.day_contents import day_content

FILES = [
    day_content(day("AAPL", f"2024-01-{number:02d}"), bars, compression)
    for number, bars, compression in ((2, 30, "zstd"), (3, 1, "snappy"), (4, 7, "zstd"))
]


def table(content: bytes) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(content)).read()


def joined(files: list[bytes], **stated: str) -> bytes:
    return b"".join(files) + joined_footer(files, stated)


def test_files_one_after_the_other_are_one_file_with_the_rows_of_all() -> None:
    content = joined(FILES, a="1", b="2")

    assert table(content).equals(pa.concat_tables(map(table, FILES)))
    found = pq.read_metadata(pa.BufferReader(content))
    assert found.metadata == {b"a": b"1", b"b": b"2"}
    assert [found.row_group(number).num_rows for number in range(found.num_row_groups)] == [30, 1, 7]
    assert content.startswith(FILES[0] + FILES[1] + FILES[2])


def test_each_file_is_a_row_group_that_is_read_alone() -> None:
    file = pq.ParquetFile(pa.BufferReader(joined(FILES)))

    assert [file.read_row_group(number).equals(table(FILES[number])) for number in range(3)] == [True] * 3


def test_duckdb_reads_every_row_once_and_filters_by_the_moved_statistics(tmp_path: Path) -> None:
    (tmp_path / "days.parquet").write_bytes(joined(FILES))
    closes, path = pa.concat_tables(map(table, FILES))["close"].to_pylist(), tmp_path / "days.parquet"

    with duckdb.connect() as connection:
        assert [row[0] for row in connection.sql(f"SELECT close FROM '{path}'").fetchall()] == closes
        later = connection.sql(f"SELECT count(*) FROM '{path}' WHERE timestamp >= TIMESTAMPTZ '2024-01-04 00:00Z'")
        assert later.fetchall() == [(7,)]


def test_more_files_than_a_short_list_has() -> None:
    files = [FILES[1]] * 40

    assert table(joined(files)).equals(pa.concat_tables([table(FILES[1])] * 40))


def test_files_with_other_columns_or_other_row_groups_are_refused() -> None:
    other, groups = pa.BufferOutputStream(), pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), other)
    pq.write_table(table(FILES[0]), groups, row_group_size=10, store_schema=False)

    with pytest.raises(NotAFooter, match="columns differ"):
        joined([FILES[0], other.getvalue().to_pybytes()])
    with pytest.raises(NotAFooter, match="not just one row group"):
        joined([groups.getvalue().to_pybytes()])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", FILES[1][:-1], b"XAR1" + FILES[1][4:]])
def test_what_is_no_parquet_file_is_refused(content: bytes) -> None:
    with pytest.raises(NotAFooter):
        footer_of(content)


def test_a_damaged_footer_is_refused_or_joined_and_nothing_else() -> None:
    content = FILES[1]
    start = len(content) - 8 - len(footer_of(content))
    for place in range(start, len(content)):
        damaged = content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        try:
            joined_footer([damaged], {})
        except NotAFooter:
            continue
