"""``PublishedFiles``: the port through which files of a store are written, wherever they are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

TOGETHER_BYTES: Final = 32_768
"""Bytes of small files that go to a thread together, where a group is written to a disk."""
AGGREGATES_TOGETHER: Final = 262_144
"""Bytes of aggregates and read copies that go to a thread together: they are larger, and come hundreds at a time."""


class FileGroup(Protocol):
    """Files that are published together. They may be written while the caller still makes the next ones."""

    @property
    def modified_ns(self) -> Mapping[Path, int]:
        """The modification times of the published files, as they are kept."""

    def add(
        self, path: Path, content: bytes, modified_ns: int | None = None, taken_times: Collection[int] = ()
    ) -> None:
        """Add a file, with this modification time if it is given, or a later one that is none of the ``taken_times``
        (in microseconds since 1970). Raises ``OSError``.
        """

    def append(self, path: Path, lines: bytes, first_lines: Callable[[], bytes]) -> None:
        """Add lines to a text file that others may append to at the same time; ``first_lines`` if it is new.

        Use it for what can be recovered. Raises ``OSError``; the group can then be published without the lines.
        """

    def publish(self) -> None:
        """Put all files in their places. Does nothing if repeated. Raises ``OSError``."""

    def discard(self) -> None:
        """Remove the files that are not published."""


class PublishedFiles(Protocol):
    """Publishes files so that each is, at any moment and after any crash, wholly the old one or wholly the new one."""

    def publish(self, contents: Mapping[Path, bytes], modified_ns: int | None = None) -> None:
        """Put all files in their places, durably. ``modified_ns``, if given, becomes the modification time.

        Raises ``StorageError``; each file is then wholly the old one or wholly the new one.
        """

    def group(self, together: int = TOGETHER_BYTES) -> AbstractContextManager[FileGroup]:
        """Publish the files that are added, all of them at the end, or none of them if an error ends the block; but the
        block may publish those that it has added so far. They are durable at the end, if no error ends it.

        Raises ``StorageError``; each file is then wholly the old one or wholly the new one.
        """

    def collected(self) -> AbstractContextManager[None]:
        """Say that what this thread publishes, keeps and removes inside belongs together: where each change costs a
        request, it is one change at the end. The caller relies on none of it inside.

        Raises ``StorageError``.
        """

    def keep(self, second_names: Mapping[Path, Path]) -> None:
        """Give each file a second name, under which it remains when another file is published over the first.

        The second names are durable when this returns. Raises ``StorageError``.
        """

    def confirm(self, paths: Collection[Path]) -> None:
        """Make files durable that are in their places already. Raises ``StorageError``."""

    def remove(self, path: Path) -> None:
        """Remove the file if it exists. Raises ``StorageError``."""

    def move(self, path: Path, target: Path) -> None:
        """Move a file or folder that cannot be kept by a second name, durably. Raises ``OSError``."""

    def announce(self, folder: Path) -> None:
        """Show other processes that files are staged below the root of this folder, until ``close``.

        Raises ``StorageError``.
        """

    def close(self) -> None:
        """Show other processes that this one has no staged files any more."""
