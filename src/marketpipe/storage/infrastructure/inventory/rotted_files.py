"""Finds files that have rotted since they were recorded: what such a file names, its dataset too, is damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import OfficialYearRegister, RecordedVersion, VersionRegister
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import has_rotted
from marketpipe.storage.infrastructure.parquet_files import sha256, stored_content
from marketpipe.storage.infrastructure.store_layout import YEAR_PATH, StoreLayout, symbol_of

DAY_PATH: Final = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)\.parquet", re.ASCII)

Registers = tuple[VersionRegister, OfficialYearRegister]


class RottedFiles:
    """Compares day files and files of official days with their records; the other areas have none."""

    def __init__(self, layout: StoreLayout, registers: Callable[[], Registers]) -> None:
        """``registers`` is called only if there is a file to compare."""
        self._layout, self._registers = layout, registers

    def __contains__(self, path: object) -> bool:
        """Return whether the file has rotted. Raises ``StateError``."""
        with suppress(OSError, PartitionUnreadableError):
            if isinstance(path, Path) and (found := stored_content(path, self._layout.disk)) is not None:
                return has_rotted(len(found[0]), sha256(found[0]), self._recorded(path))
        return False

    def _recorded(self, path: Path) -> RecordedVersion | None:
        is_official = path.is_relative_to(self._layout.official)
        root = self._layout.official if is_official else self._layout.data
        if not path.is_relative_to(root):
            return None
        folder, _, name = path.relative_to(root).as_posix().partition("/")
        fits = (YEAR_PATH if is_official else DAY_PATH).fullmatch(name)
        if (symbol := symbol_of(folder)) is None or fits is None:
            return None
        versions, years = self._registers()
        if is_official:
            known = years.years(symbol, int(fits[1]), int(fits[1])).get(int(fits[1]))
            return None if known is None else known.version
        date = TradingDate.parse("-".join(fits.groups()))
        return versions.versions(symbol, date, date).get(date)
