from __future__ import annotations

from typing import Protocol

from marketpipe.shared_kernel.domain.store_inventory import RecordedFile
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay


class RecordedFiles(Protocol):
    """What the state has written down of the files of a store, for those who write them."""

    def recorded_file(self, day: SymbolDay) -> RecordedFile | None:
        """As it was when it was last recorded; None where nothing ever was."""
        ...
