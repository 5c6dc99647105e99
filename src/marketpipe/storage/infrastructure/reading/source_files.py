"""``SourceFiles``: the port through which SQL finds the files of a store. DuckDB reads files of this machine alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from attrs import frozen

from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.reading.needed_bars import NeededBars
from marketpipe.storage.infrastructure.store_layout import StoreLayout


class SourceFiles(Protocol):
    """A store whose files DuckDB can read. Several threads may call."""

    @property
    def layout(self) -> StoreLayout:
        """Where on this machine the files are."""

    def survey(self, needed: NeededBars, timeframes: Collection[Timeframe]) -> None:
        """See to it that all files are there from which bars of these timeframes are made, as they are now.

        Those of minutes need not have their content before ``bring``, only their sizes and times. Raises
        ``StorageError`` and ``StateError``.
        """

    def bring(self, months: Iterable[MonthPartition] | None) -> None:
        """See to it that the files of minutes of these months, or of all that were surveyed, have their content.

        Raises ``StorageError``.
        """

    def naming(self) -> AbstractContextManager[None]:
        """Let errors that are raised inside name the files as the store does."""

    def close(self) -> None:
        """Remove what was made for reading."""


@frozen
class FilesInPlace:
    """The files of a store on this machine, which are read where they are."""

    layout: StoreLayout

    def survey(self, needed: NeededBars, timeframes: Collection[Timeframe]) -> None: ...

    def bring(self, months: Iterable[MonthPartition] | None) -> None: ...

    def naming(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None: ...
