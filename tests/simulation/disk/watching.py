"""Tells what readers of a disk can see: each name of a file that appears, changes or goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.simulation.disk.inodes import Change, Inode

Seen = Callable[[str, str, "bytes | None"], None]
"""Takes "appears", "changes" or "goes", the path, and the content: None of a name that goes."""


def files_in(inode: Inode, path: str) -> Iterator[tuple[str, Inode]]:
    """Yield the files of a folder and of those in it, in the order of their paths; or the file itself."""
    if inode.is_file:
        yield path, inode
    for name, found in sorted((inode.entries or {}).items()):
        yield from files_in(found, f"{path}/{name}")


def _entry(folder: Inode, name: str) -> Iterator[tuple[str, Inode]]:
    inode, above = (folder.entries or {}).get(name), folder.path()
    if inode is not None and above is not None:
        yield f"{above}/{name}", inode


class Watching:
    """Those who watch. It is false while there is none, and then nothing has to be collected."""

    def __init__(self) -> None:
        self._all: list[Seen] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, seen: Seen) -> None:
        self._all.append(seen)

    def names_of(self, changes: Sequence[Change]) -> dict[str, Inode]:
        """Return the files that have the names which are about to change, or are in a folder that has one."""
        found = dict[str, Inode]()
        for folder, name, _ in changes:
            for path, inode in _entry(folder, name):
                found |= files_in(inode, path)
        return found

    def names_changed(self, before: Mapping[str, Inode], changes: Sequence[Change]) -> None:
        after = self.names_of(changes)
        for path in sorted({**before, **after}):
            former, new = before.get(path), after.get(path)
            if new is None:
                self._tell("goes", path, None)
            elif former is not new:
                self._tell("appears" if former is None else "changes", path, new.bytes())

    def content_changed(self, inode: Inode) -> None:
        for path in inode.paths():
            self._tell("changes", path, inode.bytes())

    def compare(self, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
        for path in sorted({**before, **after}):
            if path not in after:
                self._tell("goes", path, None)
            elif before.get(path) != after[path]:
                self._tell("changes" if path in before else "appears", path, after[path])

    def _tell(self, what: str, path: str, content: bytes | None) -> None:
        for seen in self._all:
            seen(what, path, content)
