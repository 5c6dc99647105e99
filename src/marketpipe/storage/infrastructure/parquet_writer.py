from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, SCHEMA_VERSION

FILE_SCHEMA = BAR_SCHEMA.append(pa.field("schema_version", pa.int32()))
ENCODINGS = {field.name: "DELTA_BINARY_PACKED" for field in FILE_SCHEMA if not pa.types.is_floating(field.type)}
COMPRESSION_LEVELS = {"zstd": 1, "snappy": None}


class ParquetWriter:
    """Turns bars into the bytes of a Parquet file. The same bars and metadata give the same bytes.

    Prices do not repeat enough for dictionaries; times and counts are small differences. ``compression`` is zstd or
    snappy.
    """

    def __init__(self, compression: str) -> None:
        self._compression = compression

    def encode_bars(self, bars: pa.Table, metadata: Mapping[str, str]) -> bytes:
        return self.encode(versioned(bars), metadata)

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(
            sink,
            table.schema.remove_metadata(),
            compression=self._compression,
            compression_level=COMPRESSION_LEVELS[self._compression],
            use_dictionary=False,
            column_encoding=ENCODINGS,
            write_statistics=["timestamp"],
            store_schema=False,
        ) as writer:
            writer.write_table(table.replace_schema_metadata())
            writer.add_key_value_metadata(dict(metadata))
        content: bytes = sink.getvalue().to_pybytes()
        return content


def versioned(bars: pa.Table) -> pa.Table:
    """With the column ``schema_version``, as bars lie in a file."""
    version = pa.repeat(pa.scalar(SCHEMA_VERSION, pa.int32()), len(bars))
    return bars.append_column(FILE_SCHEMA.field("schema_version"), version)


def sha256(content: bytes | pa.Buffer) -> str:
    return hashlib.sha256(content).hexdigest()
