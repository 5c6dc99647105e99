"""What a power loss leaves of a disk: all that was synced, and of the rest what the draw says."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from tests.simulation.disk.inodes import Inode, Operation

SHARES: Final = (0.0, 0.1, 0.5, 0.9, 1.0)
"""How much of what is not synced may have reached the disk."""


class Loss:
    """One power loss. Every process has ended.

    Of entries it keeps a prefix of the unsynced operations if the disk is ``ordered``, or any subset. Of a file with
    an unsynced write it keeps the old content, the new one, a part of it (torn), zeros in its place, or one wrong bit.
    What was synced it never changes.
    """

    def __init__(self, root: Inode, ordered: bool, draw: Random) -> None:
        self._root, self._ordered, self._draw = root, ordered, draw
        self._lost = list[str]()

    def happens(self, operations: Sequence[Operation]) -> list[str]:
        """Return what was lost, in words. ``operations`` are all that are not synced, in their order."""
        for operation, is_kept in zip(operations, self._kept(len(operations)), strict=True):
            if is_kept:
                operation.make_durable()
            else:
                self._lost.append(operation.words)
        self._settle()
        return self._lost

    def _kept(self, count: int) -> list[bool]:
        if self._ordered:
            prefix = self._draw.randint(0, count)
            return [number < prefix for number in range(count)]
        share = self._draw.choice(SHARES)
        return [self._draw.random() < share for _ in range(count)]

    def _settle(self) -> None:
        """Make the durable entries and contents the ones that everyone sees."""
        self._root.names.clear()
        seen, left = {self._root}, [("", self._root)]
        while left:
            path, inode = left.pop()
            inode.opened = 0
            self._settle_one(path, inode)
            if inode.entries is None:
                continue
            inode.unsynced.clear()
            inode.entries = dict(sorted(inode.durable.items()))
            for name, found in inode.entries.items():
                if found not in seen:
                    seen.add(found)
                    found.names.clear()
                    left.append((f"{path}/{name}", found))
                found.names[inode, name] = None

    def _settle_one(self, path: str, inode: Inode) -> None:
        if inode.is_kept():
            return
        if inode.dirty and inode.backing is None:
            happens = self._draw.choice((self._old, self._new, self._torn, self._zeros, self._flipped))
            self._lost.append(f"content of {path}: {happens(inode)}")
        if self._draw.random() < 0.5 and inode.kept[1:] != inode.now_kept()[1:]:
            _, inode.mode, inode.user, inode.group, inode.accessed, inode.modified = inode.kept
            self._lost.append(f"mode and times of {path}")
        inode.keep()

    def _old(self, inode: Inode) -> str:
        inode.content = bytearray(inode.kept.content)
        return "as it was synced"

    def _new(self, _: Inode) -> str:
        return "nothing was lost"

    def _torn(self, inode: Inode) -> str:
        parts = _written(inode) or [(len(inode.content), len(inode.content))]
        at = self._draw.randint(min(first for first, _ in parts), max(end for _, end in parts))
        inode.content[at:] = inode.kept.content[at:]
        return f"torn after {at} bytes"

    def _zeros(self, inode: Inode) -> str:
        for first, end in _written(inode):
            inode.content[first:end] = bytes(end - first)
        return "zeros in the place of what was written"

    def _flipped(self, inode: Inode) -> str:
        if not (parts := _written(inode)):
            return "nothing was lost"
        first, end = self._draw.choice(parts)
        bit = self._draw.randrange(first * 8, end * 8)
        inode.content[bit // 8] ^= 1 << bit % 8
        return f"bit {bit} is wrong"


def _written(inode: Inode) -> list[tuple[int, int]]:
    """Return the unsynced parts that the content still has: it may have been cut."""
    size = len(inode.content)
    return [(first, min(end, size)) for first, end in inode.dirty if first < size]
