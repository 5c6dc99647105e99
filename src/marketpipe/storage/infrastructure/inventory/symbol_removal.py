"""Removing what is made of a symbol's bars, and the folders that are empty without them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.machine.disk import walk
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.inventory.store_walk import StoreWalk
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
from marketpipe.storage.infrastructure.store_layout import StoreLayout

DERIVED: Final = (StoreArea.AGGREGATES, StoreArea.COPIES)
EMPTIED: Final = (StoreArea.DATA, StoreArea.OFFICIAL, *DERIVED)
"""The areas that have nothing of a dropped symbol. Its former versions and its rejected bars stay."""


class SymbolRemoval:
    """Removes files of one symbol; those that MarketPipe did not name are left where they are.

    Raises ``StorageError``.
    """

    def __init__(self, layout: StoreLayout, files: PublishedFiles) -> None:
        self._walk, self._files, self._disk = StoreWalk(layout), files, layout.disk

    def remove_derived(self, symbol: Symbol) -> None:
        """Remove the aggregates and the read copies."""
        with self._files.collected():
            for found in self._walk.of_symbol(symbol):
                if not isinstance(found, str) and found.area in DERIVED:
                    self._files.remove(Path(found.on_disk))

    def prune(self, symbol: Symbol) -> None:
        """Remove the empty folders of a symbol: a folder would let it count as stored."""
        for folder in self._walk.folders_of(symbol, EMPTIED):
            below = [inner for inner, _, _ in walk(self._disk, self._walk.on_disk(folder))]
            for inner in reversed(below):
                with suppress(OSError):  # it has something in it, or a link is in its place
                    self._disk.rmdir(inner)
