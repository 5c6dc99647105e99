"""Files that were made of a day file with other bytes under the same size and time: their fingerprint cannot tell."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.aggregate_fingerprints import DOUBTED
from marketpipe.storage.infrastructure.store_layout import COPY_FORMATS, StoreLayout


def doubt_files_of(layout: StoreLayout, months: Iterable[MonthPartition]) -> None:
    """Let the next refresh compare the digests of every aggregate and read copy of these months. None is fresh then.

    In a read-only store it has no effect.
    """
    for month in set(months):
        aggregates = [layout.aggregate(timeframe, month) for timeframe in layout.timeframes_of(month.symbol)]
        for path in [*aggregates, *(layout.copy(month, form) for form in COPY_FORMATS)]:
            doubt(path, layout.disk)


def doubt(path: str, disk: Disk = REAL_DISK) -> None:
    """Take the fingerprint of a file away, so that its digests decide. In a read-only store it has no effect."""
    with suppress(OSError):
        disk.utime(path, ns=(DOUBTED, DOUBTED))
