from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import FILE_SCHEMA
from marketpipe.storage.infrastructure.parquet_files import (
    ParquetWriter,
    bars_at,
    file_in,
    read_bars,
    read_file,
    read_metadata,
    read_rows,
)
from marketpipe.testing import bar, bar_table

CONTENT = ParquetWriter("zstd").encode_bars(bar_table([bar("2024-01-02T15:00:00Z")]), {"marketpipe.symbol": "AAPL"})


def test_a_file_of_bars_is_read_with_every_column(tmp_path: Path) -> None:
    path = tmp_path / "day=02.parquet"
    path.write_bytes(CONTENT)

    assert read_bars(path).schema.equals(FILE_SCHEMA)
    assert read_bars(path)["close"].to_pylist() == [100.5]
    assert read_metadata(path) == {"marketpipe.symbol": "AAPL"}


@given(st.integers(0, len(CONTENT) - 1))
def test_a_truncated_file_is_damaged_wherever_it_was_cut(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated.parquet"
    path.write_bytes(CONTENT[:size])

    for read in (read_bars, read_metadata):
        with pytest.raises(PartitionUnreadableError, match=r"truncated\.parquet is damaged"):
            read(path)


QUARANTINED = ParquetWriter("snappy").encode(
    pa.table({"rule": ["price_is_positive"] * 3, "raw": ['{"o": -1}'] * 3}), {"marketpipe.symbol": "BRK.B"}
)
READERS = [
    lambda path: read_bars(path),
    lambda path: read_rows(path),
    lambda path: read_metadata(path),
    lambda path: bars_at(str(path)),
    lambda path: file_in(path.read_bytes(), str(path), columns=True),
    lambda path: file_in(path.read_bytes(), str(path), columns=False),
]


@pytest.mark.parametrize("content", [CONTENT, QUARANTINED], ids=["bars", "quarantine"])
def test_flipped_bits_in_a_footer_raise_no_error_but_ours(tmp_path: Path, content: bytes) -> None:
    path, chance, causes = tmp_path / "day=02.parquet", random.Random(11), set[type]()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for _ in range(150):
        flipped = bytearray(content)
        for _ in range(chance.choice([1, 1, 3])):
            flipped[chance.randrange(footer, len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        for read in READERS:
            try:
                read(path)
            except PartitionUnreadableError as error:
                causes.add(type(error.__cause__))

    assert len(causes) > 1


@pytest.mark.parametrize("column", FILE_SCHEMA.names)
def test_a_column_whose_name_is_no_text_any_more_is_damage(tmp_path: Path, column: str) -> None:
    path, flipped = tmp_path / "day=02.parquet", bytearray(CONTENT)
    flipped[CONTENT.rindex(column.encode())] ^= 0x80
    flipped[CONTENT.index(column.encode())] ^= 0x80
    path.write_bytes(flipped)

    with pytest.raises(PartitionUnreadableError, match=r"day=02\.parquet is damaged"):
        read_bars(path)


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, put: Callable[[Path], object]) -> None:
    put(tmp_path / "day=02.parquet")

    for read in READERS[:4]:
        with pytest.raises(PartitionUnreadableError, match=r"day=02\.parquet is not a file; move away"):
            read(tmp_path / "day=02.parquet")
    with pytest.raises(OSError, match=r"day=02\.parquet"):
        read_file(tmp_path / "day=02.parquet")


def test_a_file_damaged_behind_an_intact_footer_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "day=02.parquet"
    path.write_bytes(CONTENT[:4] + b"\xff" * 60 + CONTENT[64:])

    assert read_metadata(path) == {"marketpipe.symbol": "AAPL"}
    with pytest.raises(PartitionUnreadableError, match="is damaged"):
        read_bars(path)


@pytest.mark.parametrize("read", [read_bars, read_metadata])
def test_a_missing_file_cannot_be_read(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(PartitionUnreadableError):
        read(tmp_path / "day=02.parquet")


@pytest.mark.parametrize(
    "foreign",
    [
        pa.table({"timestamp": [1], "price": [2.0]}),
        bar_table([bar("2024-01-02T15:00:00Z")]),
        FILE_SCHEMA.empty_table().select(FILE_SCHEMA.names[::-1]),
        FILE_SCHEMA.set(0, pa.field("timestamp", pa.timestamp("ms", tz="UTC"))).empty_table(),
        FILE_SCHEMA.set(5, pa.field("volume", pa.int64())).empty_table(),
    ],
    ids=["other columns", "a column missing", "another order", "milliseconds", "whole volume"],
)
def test_a_parquet_file_of_another_format_is_no_file_of_bars(tmp_path: Path, foreign: pa.Table) -> None:
    path = tmp_path / "day=02.parquet"
    pq.write_table(foreign, path)

    with pytest.raises(PartitionUnreadableError, match="not a file of bars"):
        read_bars(path)
