"""Which day files may become one file, and the one that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import SCHEMA_VERSION
from marketpipe.storage.domain.data_partition import MonthPartition, size_and_time_in
from marketpipe.storage.domain.integrity import scope_of
from marketpipe.storage.domain.storage_metadata import StorageMetadata, identity_in, label_in
from marketpipe.storage.infrastructure.compacted.month_file import (
    MONTH_FILE,
    MonthFileDamaged,
    StoredDayFile,
    is_intact,
    month_file,
)
from marketpipe.storage.infrastructure.compacted.parquet_footers import NotAFooter
from marketpipe.storage.infrastructure.parquet_files import checked_bars, file_in, sha256
from marketpipe.storage.infrastructure.publishing.month_contents import Recorded
from marketpipe.storage.infrastructure.store_layout import date_of


def difference(month: MonthPartition, days: Sequence[StoredDayFile], recorded: Recorded) -> str | None:
    """Return why the day files of a month are not just what was recorded of it; None if they are.

    Raises ``StorageError`` for one that was altered: it is damaged.
    """
    stored = {_date(month, day): day for day in days}
    for date in sorted(stored.keys() | recorded.keys()):
        if date not in recorded:
            return f"{date} has a file and no record: the next ingestion, or 'marketpipe recover', records it"
        if date not in stored:
            return f"{date} is recorded and has no file: the next ingestion requests it again"
        if sha256(stored[date].content) != recorded[date].sha256:
            raise StorageError(f"the file of {date} is not the recorded one: 'marketpipe verify' tells more")
    return None


def joined(
    month: MonthPartition, days: Sequence[StoredDayFile], recorded: Recorded, identity: DatasetIdentity
) -> bytes:
    """Return the month file of these day files, ascending.

    Raises ``PartitionUnreadableError`` if they cannot be one: then the file would not have just their bars.
    """
    rows = [_bars_of(month, day, identity) for day in days]
    try:
        content = month_file([_with_recorded_time(month, day, recorded) for day in days], metadata(month, identity))
    except NotAFooter as error:
        raise PartitionUnreadableError(f"the files of {month.symbol} {month} cannot be one: {error}") from error
    found, _ = file_in(content, f"{month.folder}/{MONTH_FILE}", columns=True)
    if found is None or not found.equals(pa.concat_tables(rows)):
        raise PartitionUnreadableError(f"the files of {month.symbol} {month} cannot be one: it would have other bars")
    return content


def problem_of(month: MonthPartition, content: bytes) -> str | None:
    """Return what is wrong with a month file besides its days, as the end of a sentence that begins with its path.

    None if nothing is. Its days are known.
    """
    try:
        _, stated = file_in(content, f"{month.folder}/{MONTH_FILE}", columns=False)
        identity = identity_in(stated)
        if identity is not None and is_intact(content, metadata(month, identity)):
            return None
    except (PartitionUnreadableError, MonthFileDamaged):
        pass
    return (
        "has a damaged footer, by which other programs read it; its days are whole unless they are named too. "
        f"'marketpipe compact --undo {scope_of(month)}' makes day files of it again"
    )


def metadata(month: MonthPartition, identity: DatasetIdentity) -> Mapping[str, str]:
    stated = StorageMetadata(identity, month.symbol, str(month), Timeframe.MINUTE_1, SCHEMA_VERSION)
    return stated.as_mapping()


def _bars_of(month: MonthPartition, day: StoredDayFile, identity: DatasetIdentity) -> pa.Table:
    path = f"{month.folder}/{day.name}"
    rows, stated = file_in(day.content, path, columns=True)
    label = f"{month.symbol} {Timeframe.MINUTE_1} {_date(month, day)}"
    if label_in(stated) != label or identity_in(stated) != identity:
        raise PartitionUnreadableError(f"{path} is of {label_in(stated)} of {identity_in(stated)}, not of this store")
    return checked_bars(rows, path).replace_schema_metadata()


def _with_recorded_time(month: MonthPartition, day: StoredDayFile, recorded: Recorded) -> StoredDayFile:
    """A tree that was copied without its times gets them back: from now on they are in the month file."""
    known = recorded.get(_date(month, day))
    size, modified_us = (None, None) if known is None else size_and_time_in(known.mark)
    if size != len(day.content) or modified_us is None or modified_us == day.modified_ns // 1000:
        return day
    return day._replace(modified_ns=modified_us * 1000)


def _date(month: MonthPartition, day: StoredDayFile) -> TradingDate:
    found = date_of(month.year, month.month, day.name)
    if found is None:
        raise PartitionUnreadableError(f"{month.folder}/{day.name} is of no date of the calendar: move it away")
    return TradingDate(found)
