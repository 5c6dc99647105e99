from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.parquet_reader import bars_in, content_of

T = TypeVar("T")
R = TypeVar("R")
AT_A_TIME = 32
"""Files that a thread takes at once: so many that they cost far more than handing them over."""


def bars_at(path: str) -> pa.Table | None:
    """None where there is no such file. Raises ``PartitionUnreadableError``."""
    content = content_of(path)
    return None if content is None else bars_in(content, path)


def scan_bars(files: Sequence[Path]) -> pa.Table:
    """The bars of many files, in the order given. Raises ``PartitionUnreadableError``, where one is gone as well."""
    return pa.concat_tables([BAR_SCHEMA.empty_table(), *each(_bars_of, files)])


def each(read: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """In the order given, by several threads where it is worth while: decoding Parquet leaves Python alone."""
    if len(items) <= AT_A_TIME:
        return [read(item) for item in items]
    parts = [items[start : start + AT_A_TIME] for start in range(0, len(items), AT_A_TIME)]
    with ThreadPoolExecutor(os.cpu_count(), "marketpipe-load") as readers:
        done = readers.map(lambda part: [read(item) for item in part], parts)
        return [result for results in done for result in results]


def _bars_of(path: Path) -> pa.Table:
    bars = bars_at(str(path))
    if bars is None:
        raise PartitionUnreadableError(f"{path} is gone")
    return bars
