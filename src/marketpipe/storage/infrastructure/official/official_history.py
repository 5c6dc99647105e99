"""Every version of the official days of a symbol and year, each with the moment since which the store has it.

It is a text file, ``known_since.csv`` beside the former day files of that year, always written as a whole. Its first
line has the SHA-256 of the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, TIMESTAMP, VALUES, differing_rows
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, read_bytes
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.infrastructure.parquet_files import sha256, times_of

HISTORY_SCHEMA: Final = BAR_SCHEMA.append(pa.field("known_since", TIMESTAMP))
"""Of a day that the provider has withdrawn, the last row has no prices."""
FIRST_LINE: Final = b"# sha256 of the lines below: %s\n"


def encode_history(history: pa.Table) -> bytes:
    """Return the bytes of a file with these versions. Numbers are written so that they read back exactly."""
    sink = pa.BufferOutputStream()
    csv.write_csv(history, sink)
    lines: bytes = sink.getvalue().to_pybytes()
    return FIRST_LINE % sha256(lines).encode() + lines


def read_history(path: Path, disk: Disk = REAL_DISK) -> pa.Table:
    """Return the versions by day, then moment; none if there is no file. Raises ``PartitionUnreadableError``."""
    try:
        content = read_bytes(disk, path)
    except (FileNotFoundError, NotADirectoryError):
        return HISTORY_SCHEMA.empty_table()
    except OSError as error:
        raise PartitionUnreadableError(f"{path} cannot be read: {error.strerror}") from error
    first, _, lines = content.partition(b"\n")
    if first + b"\n" != FIRST_LINE % sha256(lines).encode():
        raise PartitionUnreadableError(f"{path} is damaged: its lines are not those that were written")
    types = csv.ConvertOptions(column_types=HISTORY_SCHEMA)
    rows = csv.read_csv(pa.BufferReader(lines), convert_options=types).cast(HISTORY_SCHEMA)
    return rows.sort_by([("timestamp", "ascending"), ("known_since", "ascending")])


def history_or_none(path: Path, disk: Disk = REAL_DISK) -> pa.Table:
    """Return the same; none of a damaged file either: then the moments of its days are lost."""
    try:
        return read_history(path, disk)
    except PartitionUnreadableError:
        return HISTORY_SCHEMA.empty_table()


def newest_of(history: pa.Table) -> pa.Table:
    """Return the last version of each day, in the columns of bars, withdrawn ones included."""
    times = times_of(history)
    last = np.append(times[1:] != times[:-1], np.ones(min(1, len(times)), np.bool_))
    return history.filter(pa.array(last)).select(BAR_SCHEMA.names)


def with_prices(days: pa.Table) -> pa.Table:
    """Return the days that are not withdrawn."""
    return days.filter(days["open"].is_valid())


def known_at(history: pa.Table, moment: Timestamp) -> pa.Table:
    """Return the days as the store had them at that moment, in the columns of bars."""
    since = history["known_since"].cast(pa.int64()).to_numpy()
    return with_prices(newest_of(history.filter(pa.array(since <= moment.epoch_micros))))


def same_rows(rows: pa.Table, others: pa.Table) -> npt.NDArray[np.bool_]:
    """Return for each of the rows whether the others have one of the same time and values. Both ascend by time."""
    times, known = times_of(rows), times_of(others)
    same: npt.NDArray[np.bool_] = np.isin(times, known)
    both = rows.filter(pa.array(same)), others.filter(pa.array(np.isin(known, times)))
    same[same] = ~differing_rows(*both)
    return same


def withdrawn_rows(days: pa.Table) -> pa.Table:
    """Return rows of the same days without values."""
    nothing = {name: pa.nulls(len(days), BAR_SCHEMA.field(name).type) for name in VALUES}
    return pa.table({"timestamp": days["timestamp"], **nothing}, schema=BAR_SCHEMA)
