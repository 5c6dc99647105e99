from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.parquet_reader import bars_in, content_of

T = TypeVar("T")
R = TypeVar("R")
WORTH_A_THREAD = 16
"""Files that cost far more to read than a thread to begin."""


def bars_at(path: str) -> pa.Table | None:
    """None where there is no such file. Raises ``PartitionUnreadableError``."""
    content = content_of(path)
    return None if content is None else bars_in(content, path)


def scan_bars(files: Sequence[Path]) -> pa.Table:
    """The bars of many files, in the order given. Raises ``PartitionUnreadableError``, where one is gone as well."""
    return pa.concat_tables([BAR_SCHEMA.empty_table(), *each(_bars_of, files)])


def each(read: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """In the order given, by several threads where it is worth while: decoding Parquet leaves Python alone.

    Each thread takes its share in one go, spread over all of them: whoever hands out less at a time gets in their way.
    """
    count = min(os.cpu_count() or 1, len(items) // WORTH_A_THREAD)
    if count < 2:
        return [read(item) for item in items]
    results: list[Any] = [None] * len(items)
    with ThreadPoolExecutor(count, "marketpipe-load") as readers:
        shares = readers.map(lambda first: [read(item) for item in items[first::count]], range(count))
        for first, share in enumerate(shares):
            results[first::count] = share
    return results


def _bars_of(path: Path) -> pa.Table:
    bars = bars_at(str(path))
    if bars is None:
        raise PartitionUnreadableError(f"{path} is gone")
    return bars
