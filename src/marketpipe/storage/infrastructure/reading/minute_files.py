"""The files that SQL reads minutes from: read copies that agree with their day files, and day files of other months.

A store without copies has one pattern for all of its day files.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
from attrs import evolve, frozen

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.read_copies import FreshCopies, FreshCopy, OpenedCopies
from marketpipe.storage.infrastructure.inventory.day_file_scans import DayFileScans
from marketpipe.storage.infrastructure.inventory.stored_identity import StoredIdentity
from marketpipe.storage.infrastructure.parquet_files import map_in_threads
from marketpipe.storage.infrastructure.reading.consistent_reading import Fingerprints, fingerprints_below
from marketpipe.storage.infrastructure.reading.selected_bars import SYMBOL
from marketpipe.storage.infrastructure.store_layout import StoreLayout

MOST_MAPPED: Final = 20_000
"""A process may map three times as many files. The day files of other months are read instead of their copies."""
ABSENT: Final = (0, -1)
"""The fingerprint of a file that does not exist."""


@frozen
class MinuteFiles:
    """What was fresh when the files were listed. ``others`` are the months without a fresh copy."""

    layout: StoreLayout
    copies: Sequence[FreshCopy]
    others: Sequence[MonthPartition]
    found_copies: Fingerprints
    """The fingerprints that the copies had when they were found fresh."""

    @classmethod
    def found(
        cls,
        layout: StoreLayout,
        months: Sequence[MonthPartition],
        identity: StoredIdentity,
        opened: OpenedCopies | None,
        scans: DayFileScans,
    ) -> MinuteFiles:
        """List the files of these months. ``identity`` finds the dataset of the store, ``opened`` keeps opened copies,
        and ``scans`` what was found in folders.

        Raises ``StorageError``.
        """
        scan = partial(_scanned, layout=layout, scans=scans)
        scanned = dict(zip(months, map_in_threads(scan, months, layout.machine), strict=True))
        fresh = FreshCopies(layout, identity.read, scanned.get, opened)
        others, mapped = list[MonthPartition](), 0
        copies, fingerprints = list[FreshCopy](), dict[str, tuple[int, int]]()
        for month in months:
            copy = fresh.of(month)
            is_allowed = copy is not None and (not copy.is_arrow or mapped < MOST_MAPPED)
            if copy is None or not is_allowed or copy.status is None:
                others.append(month)
            else:
                mapped += copy.is_arrow
                copies.append(copy)
                fingerprints[copy.path] = copy.status.inode, copy.status.modified_ns
        return cls(layout, copies, others, fingerprints)

    @property
    def are_mapped(self) -> bool:
        """Whether copies in Arrow's format have all the bars: to open them takes no memory, and nothing is decoded."""
        return not self.others and all(copy.is_arrow for copy in self.copies)

    @property
    def are_unchanged(self) -> bool:
        """Whether each copy is still the file that was found fresh."""
        return all(_fingerprint(copy) == self.found_copies[copy.path] for copy in self.copies)

    def fingerprints(self) -> Fingerprints:
        """Return those of the copies when they were found fresh, and of the day files of the other months now.

        Raises ``StorageError``.
        """
        return {**self.found_copies, **fingerprints_below([self.layout.month(month) for month in self.others])}

    def among(self, months: Collection[MonthPartition] | None) -> MinuteFiles:
        """Return those of some months; None for all."""
        if months is None:
            return self
        copies = [copy for copy in self.copies if copy.month in months]
        return evolve(self, copies=copies, others=[month for month in self.others if month in months])

    def opened(self) -> tuple[MinuteFiles, pa.Table | None]:
        """Return the files without the copies in Arrow's format, and the bars of these with their symbols and trading
        dates; None if there are none. Nothing of them is read before it is used.

        Raises ``PartitionUnreadableError`` for a torn copy: the day files of its month are not among the
        ``fingerprints``, so SQL must not read them in its place without listing the files again.
        """
        left, tables, owners = list[FreshCopy](), list[pa.Table](), list[str]()
        for copy in self.copies:
            if copy.is_arrow:
                tables.append(_bars_of(copy))
                owners.append(str(copy.month.symbol))
            elif copy.names_its_place():
                left.append(copy)
            else:
                raise PartitionUnreadableError(f"{copy.path} is no copy of {copy.month} of {copy.month.symbol}")
        return evolve(self, copies=left), _with_symbols(tables, owners) if tables else None


def _bars_of(copy: FreshCopy) -> pa.Table:
    if (opened := copy.opened()) is None:
        raise PartitionUnreadableError(f"{copy.path} is torn, or was replaced while it was opened")
    return opened.bars(BAR_SCHEMA).append_column("trading_date", opened.trading_dates)


def _scanned(month: MonthPartition, layout: StoreLayout, scans: DayFileScans) -> int | None:
    found = scans.of(f"{layout.data}/{month.folder}")
    return None if found.is_damaged else found.fingerprint


def _fingerprint(copy: FreshCopy) -> tuple[int, int]:
    """Return the fingerprint of the file; ``ABSENT`` if it does not exist or no longer has the time of a fresh copy."""
    try:
        status = os.stat(copy.path)
    except OSError:
        return ABSENT
    return (status.st_ino, status.st_mtime_ns) if status.st_mtime_ns == copy.fingerprint else ABSENT


def _with_symbols(tables: Sequence[pa.Table], owners: Sequence[str]) -> pa.Table:
    """Put the tables together with a column of their symbols, whose parts of one symbol share their memory."""
    names, longest = sorted(set(owners)), dict[str, int]()
    for owner, bars in zip(owners, tables, strict=True):
        longest[owner] = max(len(bars), longest.get(owner, 0))
    texts = pa.array(names, pa.string())
    numbers = {name: pa.array(np.full(longest[name], number, np.int32)) for number, name in enumerate(names)}
    places = (numbers[owner].slice(0, len(bars)) for owner, bars in zip(owners, tables, strict=True))
    symbols = [pa.DictionaryArray.from_arrays(some, texts, safe=False) for some in places]
    return pa.concat_tables(tables).append_column(SYMBOL.name, pa.chunked_array(symbols))
