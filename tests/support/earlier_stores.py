"""Make a store look as earlier versions of MarketPipe left it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

from marketpipe.storage.infrastructure.compacted.index_lines import CHECK_LINE
from marketpipe.storage.infrastructure.day_versions import file_mark
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter, sha256

UPDATE = "UPDATE partitions SET sha256 = ?, bytes = ?, mark = ? WHERE sha256 = ?"


def compress_small_days_with_zstd(root: Path) -> int:
    """Give small day files the bytes that they had before they got a codec of their own; return how many there are.

    Their times stay, and the state and the version indexes get their digests. Aggregates must be made afterwards.
    """
    changed = 0
    indexes = sorted((root / "revisions").rglob("known_since.csv"))
    with closing(sqlite3.connect(root / "state" / "marketpipe.sqlite")) as state, state:
        for path in sorted((root / "data").rglob("day=*.parquet")):
            now, former, time = path.read_bytes(), in_zstd(path), path.stat().st_mtime_ns
            path.write_bytes(former)
            os.utime(path, ns=(time, time))
            state.execute(UPDATE, (sha256(former), len(former), file_mark(len(former), time), sha256(now)))
            for index in indexes:
                index.write_text(CHECK_LINE.sub("", index.read_text().replace(sha256(now), sha256(former))))
            changed += former != now
    return changed


def in_zstd(path: Path) -> bytes:
    """Return the bytes of a day file as earlier versions wrote them."""
    table = pq.ParquetFile(path).read()
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}  # in their order
    return ParquetWriter("zstd").encode(table.replace_schema_metadata(), metadata)
