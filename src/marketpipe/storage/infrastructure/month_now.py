from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from attrs import define

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.domain.day_digests import day_digests
from marketpipe.storage.domain.storage_metadata import sources_in
from marketpipe.storage.infrastructure.aggregate_stamp import description_of, stamp_for
from marketpipe.storage.infrastructure.day_files import FileLook, date_in, day_file_looks, modified_ns, number_in
from marketpipe.storage.infrastructure.parquet_reader import bars_in, content_of, read_metadata
from marketpipe.storage.infrastructure.parquet_writer import sha256


@define(slots=False, eq=False)
class MonthNow:
    """The day files of a month as they are now, looked at and read when somebody first wants it, and no second time."""

    month: MonthPartition
    folder: str
    witness: str | None = None
    """An aggregate of this month alone. Where it bears the stamp of these files it says what their digests are."""

    @cached_property
    def looks(self) -> list[FileLook]:
        """Raises ``StorageError``."""
        return day_file_looks(self.folder)

    @cached_property
    def description(self) -> str:
        return description_of(self.month.month, self.looks)

    @cached_property
    def newest(self) -> int:
        """The modification time of the newest file; 0 where there is none."""
        return max([modified for _, _, modified in self.looks], default=0)

    @cached_property
    def stamp(self) -> int:
        return stamp_of([self])

    @cached_property
    def digests(self) -> str:
        """Raises ``PartitionUnreadableError``."""
        if self.witness and modified_ns(self.witness) == self.stamp and (said := self._said_by(self.witness)):
            return said
        return day_digests({number_in(name): sha256(content) for name, content in self._contents.items()})

    def bars(self) -> pa.Table:
        """Of the very bytes that have these digests. Raises ``PartitionUnreadableError``: no half month is made."""
        try:
            tables = [bars_in(content, f"{self.folder}/{name}") for name, content in self._contents.items()]
        except PartitionUnreadableError as error:
            raise PartitionUnreadableError(f"{error}. Remove the damaged file, then ingest again") from error
        return pa.concat_tables([BAR_SCHEMA.empty_table(), *tables])

    def _said_by(self, aggregate: str) -> str | None:
        try:
            return sources_in(read_metadata(Path(aggregate))).get(str(self.month))
        except PartitionUnreadableError:
            return None

    @cached_property
    def _contents(self) -> Mapping[str, pa.Buffer]:
        """Of the days that the month has."""
        names = (name for name, _, _ in self.looks if date_in(self.month, number_in(name)))
        found = ((name, content_of(f"{self.folder}/{name}")) for name in names)
        return {name: content for name, content in found if content is not None}


def stamp_of(months: Iterable[MonthNow]) -> int:
    """That of an aggregate which is made from all of them."""
    looked = list(months)
    newest = max((month.newest for month in looked), default=0)
    return stamp_for("".join([month.description for month in looked]), newest)
