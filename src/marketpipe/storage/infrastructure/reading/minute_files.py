"""The files that SQL reads minutes from: read copies that agree with their day files, and day files of other months.

A store without copies has one pattern for all of its day files.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from attrs import evolve, frozen

from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.aggregates.read_copies import FreshCopies, FreshCopy
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

    @classmethod
    def found(cls, layout: StoreLayout, months: Iterable[MonthPartition]) -> MinuteFiles:
        """List the files of these months. Raises ``StorageError``."""
        fresh, found, others, mapped = FreshCopies(layout), list[FreshCopy](), list[MonthPartition](), 0
        for month in months:
            copy = fresh.of(month)
            if copy is None or (copy.is_arrow and mapped >= MOST_MAPPED):
                others.append(month)
            else:
                mapped += copy.is_arrow
                found.append(copy)
        return cls(layout, found, others)

    def fingerprints(self) -> Fingerprints:
        """Return those of the copies and of the day files of the other months. Raises ``StorageError``."""
        return {**self.of_copies(), **fingerprints_below([self.layout.month(month) for month in self.others])}

    def of_copies(self) -> Fingerprints:
        found = dict[str, tuple[int, int]]()
        for copy in self.copies:
            try:
                status = os.stat(copy.path)
                found[copy.path] = status.st_ino, status.st_mtime_ns
            except OSError:
                found[copy.path] = ABSENT
        return found

    def among(self, months: Collection[MonthPartition] | None) -> MinuteFiles:
        """Return those of some months; None for all."""
        if months is None:
            return self
        copies = [copy for copy in self.copies if copy.month in months]
        return evolve(self, copies=copies, others=[month for month in self.others if month in months])

    def opened(self) -> tuple[MinuteFiles, pa.Table | None]:
        """Return the files without the copies in Arrow's format, and the bars of these with their symbols; None if
        there are none. Nothing of them is read before it is used. A torn copy counts as none.
        """
        left, tables, owners, torn = list[FreshCopy](), list[pa.Table](), list[str](), list[MonthPartition]()
        for copy in self.copies:
            if not copy.is_arrow:
                left.append(copy)
            elif (bars := copy.bars(BAR_SCHEMA)) is None:
                torn.append(copy.month)
            else:
                tables.append(bars)
                owners.append(str(copy.month.symbol))
        files = evolve(self, copies=left, others=[*self.others, *torn])
        return files, _with_symbols(tables, owners) if tables else None


def _with_symbols(tables: Sequence[pa.Table], owners: Sequence[str]) -> pa.Table:
    names = sorted(set(owners))
    numbers = {name: number for number, name in enumerate(names)}
    which = np.repeat(np.array([numbers[owner] for owner in owners], np.int32), list(map(len, tables)))
    symbols = pa.DictionaryArray.from_arrays(pa.array(which), pa.array(names, pa.string()))
    return pa.concat_tables(tables).append_column(SYMBOL.name, symbols)
