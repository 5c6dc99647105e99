"""Which bytes of which immutable object are a file of a store: what storage and the state exchange about it.

A path is that of the area and what is below it, with slashes: ``data/symbol=AAPL/year=2024/month=01/day=02.parquet``.
No path begins or ends with a slash. A folder exists as long as a file is below it; "" is that of all areas.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from attrs import evolve, field, frozen

INLINE = ""
"""In the place of an object: the content of the file is in the catalog itself."""
OF_ONE_STATE = "servers"
"""The folder, in no area, of what one state alone knows of its bucket: a copy or a recovered state has none of it."""


@frozen
class PlacedFile:
    """A file: ``size`` bytes of an object from ``offset`` on. No object has other bytes at any later time.

    ``content`` is that of a small text file that grows by appending; None of all others. It is in no object then.
    ``modified_ns`` is the modification time in nanoseconds since 1970.
    """

    path: str
    object: str
    offset: int
    size: int
    modified_ns: int
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def inline(cls, path: str, content: bytes, modified_ns: int) -> PlacedFile:
        return cls(path, INLINE, 0, len(content), modified_ns, content)

    def at(self, path: str) -> PlacedFile:
        """Return the same file under another path."""
        return evolve(self, path=path)


@frozen
class AppendedLines:
    """Lines that a text file gets at its end; ``first_lines`` go before them if there is no such file yet.

    A last line without an end gets one before them.
    """

    path: str
    lines: bytes
    first_lines: bytes
    modified_ns: int

    def appended_to(self, content: bytes | None) -> PlacedFile:
        """Return the file with the lines. ``content`` is what it had, None if there was none."""
        before = self.first_lines if content is None else content
        return PlacedFile.inline(self.path, before + self.added_after(before), self.modified_ns)

    def added_after(self, end: bytes) -> bytes:
        """Return what a file gets that ends so, b"" being the end of an empty one."""
        return b"\n" + self.lines if end and not end.endswith(b"\n") else self.lines


@frozen
class CatalogChange:
    """What changes at one moment: no reader sees a part of it, and after a crash there is all of it or nothing.

    In this order: ``second_names`` gives each file, by its path, another name too, under which it stays as it was; what
    has that name is replaced. ``removed`` are paths; one that has no file is none to remove. ``placed`` are files that
    are new or replace that at their path. ``appended`` are lines for files whose content is in the catalog, and
    ``times`` the modification times that files get, by their path. An append that adds no byte changes nothing.
    """

    placed: Sequence[PlacedFile] = field(default=(), eq=tuple)
    removed: Sequence[str] = field(default=(), eq=tuple)
    second_names: Mapping[str, str] = field(factory=dict)
    appended: Sequence[AppendedLines] = field(default=(), eq=tuple)
    times: Mapping[str, int] = field(factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.placed or self.removed or self.second_names or self.appended or self.times)


class FileCatalog(Protocol):
    """Where each file of a store is. What was changed is durable, and every later call sees it.

    Each method answers of one moment. It may be called by several threads. Raises ``StateError``.
    """

    def find(self, path: str) -> PlacedFile | None:
        """Return the file at a path; None if there is none, also if a folder is there."""

    def object_of(self, path: str) -> str | None:
        """Return which object has the file at a path, ``INLINE`` if the catalog has it itself; None if there is none.

        Costs the same however large a file in the catalog is.
        """

    def listed(self, folder: str) -> Sequence[PlacedFile]:
        """Return the files that are in the folder itself, ascending by path; none if there is no such folder."""

    def in_each(self, folders: Collection[str], name: str | None = None) -> Sequence[PlacedFile]:
        """Return the files that are in one of the folders itself, ascending by path; all, or those of this name.

        Of many folders, some hundreds at a time are of one moment.
        """

    def folders(self, folder: str) -> Sequence[str]:
        """Return the names of the folders that are in the folder itself, ascending; none if there is no such folder."""

    def below(self, folder: str) -> Sequence[PlacedFile]:
        """Return all files below the folder, however deep, ascending by path."""

    def has_any(self, folder: str) -> bool:
        """Return whether a file is below the folder, however deep: whether the folder exists."""

    def change(self, change: CatalogChange) -> None:
        """Change it at one moment. The caller lets no file have the path of a folder.

        A ``StateError`` also if a file does not exist that gets a second name or a time, and if lines would be appended
        to a file that is in an object. Nothing is changed then.
        """

    def objects(self) -> Mapping[str, int]:
        """Return how many files each object has. Objects that have none are not among them."""
