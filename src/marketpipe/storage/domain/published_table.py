"""The table that other programs read: the objects of a store with the live minute bars, each bar in one of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from attrs import field, frozen

BETWEEN_VERSIONS: Final = timedelta(seconds=10)
"""Readers of the table read its log: it must not grow faster."""
KEPT: Final = timedelta(hours=24)
"""For so long after an object has left the table it is kept, for readers that began before."""


@frozen
class TableFigures:
    """What an object of a table has: its rows, and the range of its columns. Times are in microseconds since 1970.

    ``files`` are those that it consists of. ``times`` is None if a file does not say it. All ranges are inclusive.
    """

    files: int
    rows: int
    symbols: tuple[str, str]
    dates: tuple[str, str]
    times: tuple[int, int] | None


@frozen
class TableFile:
    """An object of the table: its key and size."""

    key: str
    size: int
    figures: TableFigures


@frozen
class TableContents:
    """What a table consists of.

    ``copied`` are keys of objects that were made for it just now, ``left`` what is not in it, with the reason.
    """

    files: tuple[TableFile, ...]
    copied: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@frozen
class TableVersion:
    """A version of the table, and how many objects it has more and fewer than the one before."""

    number: int
    added: int
    removed: int


@frozen
class PublicationReport:
    """What publishing did. ``version`` is that of the table now, and ``place`` where the table is.

    ``added`` and ``removed`` are objects that came to the table and left it; none if nothing had changed. ``copied`` of
    them were made for it just now: of days that are in no month object, or in one of which a day was superseded.
    ``left`` names days that are not in the table.
    """

    place: str
    version: int
    objects: int
    rows: int
    bytes: int
    added: int
    removed: int
    copied: int
    copied_bytes: int
    left: tuple[str, ...] = field(repr=lambda left: f"<{len(left)}>")

    @property
    def ok(self) -> bool:
        """Whether every bar is in the table."""
        return not self.left
