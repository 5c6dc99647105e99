"""A refresh publishes the files of a symbol in parts: what was made before an error need not be made again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.infrastructure.aggregates.aggregate_files import PUBLISHED_TOGETHER_FILES
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles, SameThread
from tests.support.aggregated_store import keep
from tests.support.store_on_disk import AGGREGATED, StoreOnDisk

P = ParamSpec("P")
T = TypeVar("T")
COPIES = (Timeframe.MINUTE_1,)
FILES = 2 * (6 * 12 + 1)
"""Of two years: five intraday timeframes and copies by month, daily bars by year."""


class FullDisk(SameThread):
    """Has no space for any file once one more was written than are published together."""

    def __init__(self) -> None:
        self._written = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._written > PUBLISHED_TOGETHER_FILES:
            raise OSError(errno.ENOSPC, "No space left on device", "a file")
        self._written += len(args[0]) if isinstance(args[0], list) else 0
        return super().submit(fn, *args, **kwargs)


def files_below(*roots: str | Path) -> int:
    return sum(1 for root in roots for _ in Path(root).rglob("*.parquet"))


def test_what_was_published_before_the_disk_was_full_stays_and_is_fresh(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    for year in (2023, 2024):
        for month in range(1, 13):
            keep(store, f"{year}-{month:02d}-05", 10.0)
    former = Path(store.layout.copies, "symbol=AAPL", "year=2023", "month=01.arrow")
    former.parent.mkdir(parents=True)
    former.write_bytes(b"a copy of the form that was configured before")

    with pytest.raises(StorageError, match="No space left"):
        evolve(store, files=DurableFiles(FullDisk())).refresh("AAPL", (*COPIES, *AGGREGATED))

    assert files_below(store.layout.copies, store.layout.aggregates) == PUBLISHED_TOGETHER_FILES
    assert not former.exists()  # a copy of the new form was published
    assert store.refresh("AAPL", (*COPIES, *AGGREGATED)).unchanged == PUBLISHED_TOGETHER_FILES
    assert files_below(store.layout.copies, store.layout.aggregates) == FILES


def test_a_folder_that_cannot_be_examined_is_not_damage_and_does_not_keep_other_years(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    keep(store, "2023-06-05", 10.0)
    keep(store, "2024-06-05", 10.0)
    folder = Path(store.layout.copies, "symbol=AAPL")
    folder.mkdir(parents=True)
    (folder / "year=2023").write_text("a file in the place of a folder")

    with pytest.raises(StorageError, match="year=2023") as caught:
        store.refresh("AAPL", COPIES)

    assert not isinstance(caught.value, PartitionUnreadableError)
    assert files_below(folder) == 1
