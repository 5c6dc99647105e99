from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, FILE_SCHEMA
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter, sha256, versioned
from marketpipe.testing import bar, bar_table

COMPRESSIONS = ("zstd", "snappy")
METADATA = {"marketpipe.symbol": "AAPL", "marketpipe.schema_version": "1"}
OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
ROWS = [
    bar((OPEN + timedelta(minutes=i)).isoformat(), 100 + i / 7, trade_count=None if i % 5 == 0 else i, vwap=None)
    for i in range(390)
]

DIGESTS = {
    ("zstd", 101): "4070432057d24918c055d3759772667a3f4818e57160822b4a9485b9ca3c898c",
    ("zstd", 390): "fe3ca248af235417f482e98e9dd08021ceb7bd61fa1b187234cd8bd07151766f",
    ("snappy", 101): "7980445582ad679a1ff0a8a7ffc96b4368ba2e8d46b8764fb3670340f8bfe01a",
    ("snappy", 390): "1b629f42db13003f8e27359ee6dd34c9e9267a481afe23c8c65befb8146f28e5",
}
"""Of day files as the versions wrote them that had one codec for all; a file names the version of Arrow."""

floats = st.floats(allow_nan=False)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "timestamp": st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
            **dict.fromkeys(("open", "high", "low", "close", "volume"), floats),
            "trade_count": st.none() | st.integers(-(2**63), 2**63 - 1),
            "vwap": st.none() | floats,
        }
    ),
    max_size=20,
)


def read(content: bytes) -> pa.Table:
    return pq.ParquetFile(BytesIO(content)).read()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(rows=rows)
def test_bars_come_back_as_they_were(compression: str, rows: list[dict[str, Any]]) -> None:
    found = read(ParquetWriter(compression).encode_bars(bar_table(rows), METADATA))

    assert found.drop_columns("schema_version").to_pylist() == rows
    assert found["schema_version"].to_pylist() == [1] * len(rows)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_file_has_the_canonical_columns_and_the_metadata(compression: str) -> None:
    content = ParquetWriter(compression).encode_bars(bar_table(ROWS), METADATA)

    found = read(content)
    assert [(field.name, str(field.type)) for field in found.schema] == [
        ("timestamp", "timestamp[us, tz=UTC]"),
        ("open", "double"),
        ("high", "double"),
        ("low", "double"),
        ("close", "double"),
        ("volume", "double"),
        ("trade_count", "int64"),
        ("vwap", "double"),
        ("schema_version", "int32"),
    ]
    assert found.schema.equals(FILE_SCHEMA)
    found = pq.read_metadata(BytesIO(content))
    assert {key.decode(): value.decode() for key, value in found.metadata.items()} == METADATA
    assert found.row_group(0).column(0).compression == compression.upper()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_same_bars_give_the_same_bytes(compression: str) -> None:
    once, again = (ParquetWriter(compression).encode_bars(bar_table(ROWS), METADATA) for _ in range(2))

    assert once == again


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(cuts=st.sets(st.integers(0, 390), max_size=5))
def test_the_layout_of_the_bars_in_memory_does_not_show(compression: str, cuts: set[int]) -> None:
    whole = bar_table(ROWS)
    marks = [0, *sorted(cuts), 390]
    chunks = [whole.slice(start, end - start) for start, end in pairwise(marks)]
    writer = ParquetWriter(compression)

    assert writer.encode_bars(pa.concat_tables(chunks), METADATA) == writer.encode_bars(whole, METADATA)


@pytest.mark.skipif(pa.__version__ != "26.0.1", reason="another Arrow gives other bytes")
@pytest.mark.parametrize(("compression", "count"), DIGESTS)
def test_day_files_of_over_100_rows_have_the_bytes_that_they_always_had(compression: str, count: int) -> None:
    table = versioned(bar_table(ROWS[:count]))

    assert sha256(ParquetWriter(compression).encode_day(table, METADATA)) == DIGESTS[compression, count]


@pytest.mark.parametrize("count", [0, 1, 20, 100])
def test_day_files_of_up_to_100_rows_are_compressed_with_snappy(count: int) -> None:
    table = versioned(bar_table(ROWS[:count]))
    by_default, snappy = ParquetWriter("zstd"), ParquetWriter("snappy")

    content = by_default.encode_day(table, METADATA)

    assert content == snappy.encode_day(table, METADATA) == snappy.encode(table, METADATA)
    assert read(content).equals(table)
    assert by_default.has_two_forms(table)
    assert not snappy.has_two_forms(table)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_aggregates_are_compressed_with_snappy_whatever_is_configured(compression: str) -> None:
    content = ParquetWriter(compression).encode_aggregate(bar_table(ROWS), METADATA)

    assert content == ParquetWriter("snappy").encode_bars(bar_table(ROWS), METADATA)


def test_the_value_behind_a_null_is_not_written() -> None:
    hidden = [pa.array(np.array([value, 5]), mask=np.array([True, False])) for value in (1, 2)]
    assert [column.to_pylist() for column in hidden] == [[None, 5], [None, 5]]

    contents = {_encoded_with("trade_count", column) for column in hidden}

    assert len(contents) == 1


def test_metadata_of_the_table_does_not_reach_the_file() -> None:
    annotated = bar_table(ROWS).replace_schema_metadata({"pandas": "{}", "run": "2025-06-02T12:00:00Z"})
    writer = ParquetWriter("zstd")

    assert writer.encode_bars(annotated, METADATA) == writer.encode_bars(bar_table(ROWS), METADATA)


def test_a_changed_bar_changes_the_bytes() -> None:
    changed = [*ROWS[:-1], {**ROWS[-1], "close": ROWS[-1]["close"] + 1e-9}]
    writer = ParquetWriter("zstd")

    assert writer.encode_bars(bar_table(changed), METADATA) != writer.encode_bars(bar_table(ROWS), METADATA)


def test_an_empty_file_of_bars_keeps_the_columns() -> None:
    assert read(ParquetWriter("zstd").encode_bars(BAR_SCHEMA.empty_table(), METADATA)).schema.equals(FILE_SCHEMA)


def test_columns_besides_the_bars_can_be_written_too() -> None:
    rejected = bar_table(ROWS[:1]).append_column("reason", pa.array(["the bar has no volume"]))

    assert read(ParquetWriter("zstd").encode(rejected, METADATA))["reason"].to_pylist() == ["the bar has no volume"]


def test_a_digest_is_the_sha256_of_the_bytes() -> None:
    assert sha256(b"bars") == hashlib.sha256(b"bars").hexdigest()


def _encoded_with(name: str, column: pa.Array) -> bytes:
    bars = bar_table(ROWS[:2])
    return ParquetWriter("zstd").encode_bars(bars.set_column(bars.column_names.index(name), name, column), METADATA)
