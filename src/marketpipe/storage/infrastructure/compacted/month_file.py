"""The month file: the day files of a month, byte for byte and one directly after the other, under one footer.

Any reader of Parquet finds the rows of all days in it. MarketPipe cuts the day files out of it again: its metadata has
the name, the size and the modification time of each. So a month file is a function of its day files. See docs/adr/0042.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.infrastructure.compacted.parquet_end import LENGTH_AND_MAGIC, footer_length

MONTH_FILE: Final = "days.parquet"
"""In the folder of a month."""
KEY: Final = "marketpipe.days"
KEY_AND_TYPE: Final = KEY.encode() + b"\x18"
"""As Thrift writes it: the value follows as a string, the second field of an entry."""
END_BYTES: Final = 4096
"""So much of a month file's end is read to find its days. They are the last entry of its metadata: at most 1,500."""


class StoredDayFile(NamedTuple):
    """A day file with its bytes; ``modified_ns`` is its modification time in nanoseconds since 1970."""

    name: str
    content: bytes
    modified_ns: int


class DayPart(NamedTuple):
    """Where a day file is in a month file."""

    name: str
    offset: int
    size: int
    modified_ns: int


class MonthFileDamaged(ValueError):
    """What has the name of a month file does not name the days in it."""


def month_file(days: Sequence[StoredDayFile], metadata: Mapping[str, str]) -> bytes:
    """Return the month file of these day files, ascending. Raises ``NotAFooter`` for files that cannot be joined."""
    from marketpipe.storage.infrastructure.compacted.parquet_footers import joined_footer  # reading needs none of it

    named = " ".join(f"{day.name[4:6]}:{len(day.content)}:{day.modified_ns}" for day in days)
    contents = [day.content for day in days]
    return b"".join(contents) + joined_footer(contents, {**metadata, KEY: named})


def parts_at_the_end(end: bytes, size: int) -> dict[str, DayPart]:
    """Return the days of a month file of this size by name, ascending. ``end`` are its last bytes, ``END_BYTES`` if it
    has so many.

    Raises ``MonthFileDamaged``.
    """
    found, offset, before = dict[str, DayPart](), 0, ""
    for day, length, modified_ns in _named_days(end):
        if day <= before:
            raise MonthFileDamaged("the days that its end names do not ascend")
        name = f"day={day}.parquet"
        found[name] = DayPart(name, offset, length, modified_ns)
        offset, before = offset + length, day
    footer = footer_length(end)
    if footer is None or offset + footer + LENGTH_AND_MAGIC != size:
        raise MonthFileDamaged("the days that its end names are not what it consists of")
    return found


def _named_days(end: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield the day, size and time of each file that the end of a month file names; at least one."""
    for each in _value_of_key(end).split(" "):
        parts = each.split(":")
        if [len(parts), *(part.isascii() and part.isdecimal() for part in parts)] != [3, True, True, True]:
            raise MonthFileDamaged("its end does not name the days in it")
        yield parts[0], int(parts[1]), int(parts[2])


def _value_of_key(end: bytes) -> str:
    """Return the value of the last entry of the metadata that has our key. Nothing but this entry is parsed."""
    at, length, shift = end.rfind(KEY_AND_TYPE) + len(KEY_AND_TYPE), 0, 0
    for byte in end[at : at + 2] if at >= len(KEY_AND_TYPE) else b"":  # a number of up to 14 bits
        length |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            break
    return end[at : at + length].decode("ascii", "replace")


def parts_of(descriptor: int, disk: Disk = REAL_DISK) -> dict[str, DayPart]:
    """Return the days of an open month file. Raises ``MonthFileDamaged`` and ``OSError``."""
    size = disk.fstat(descriptor).st_size
    start = max(0, size - END_BYTES)
    return parts_at_the_end(disk.pread(descriptor, END_BYTES, start), size)


def days_in(content: bytes) -> list[StoredDayFile]:
    """Return the day files that a month file consists of, ascending. Raises ``MonthFileDamaged``."""
    parts = parts_at_the_end(content[-END_BYTES:], len(content))
    return [StoredDayFile(p.name, content[p.offset : p.offset + p.size], p.modified_ns) for p in parts.values()]


def is_intact(content: bytes, metadata: Mapping[str, str]) -> bool:
    """Return whether a month file is what its day files make. Raises ``MonthFileDamaged``."""
    from marketpipe.storage.infrastructure.compacted.parquet_footers import NotAFooter

    try:
        return month_file(days_in(content), metadata) == content
    except NotAFooter:
        return False
