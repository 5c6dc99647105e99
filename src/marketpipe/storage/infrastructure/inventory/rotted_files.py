"""Finds files that have rotted since they were recorded: what such a file names, its dataset too, is damage."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.shared_kernel.domain.store_inventory import (
    FileDigests,
    OfficialYearRegister,
    RecordedVersion,
    VersionRegister,
)
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.domain.data_partition import has_rotted
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.parquet_files import sha256, stored_content
from marketpipe.storage.infrastructure.store_layout import YEAR_PATH, StoreLayout, symbol_of

DAY_PATH: Final = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)\.parquet", re.ASCII)

Registers = tuple[VersionRegister, OfficialYearRegister, FileDigests]


class RottedFiles:
    """Compares files with their records; read copies have none."""

    def __init__(self, layout: StoreLayout, registers: Callable[[], Registers]) -> None:
        """``registers`` is called only if there is a file to compare."""
        self._layout, self._registers = layout, registers
        self._with_digests = {
            layout.aggregates: StoreArea.AGGREGATES,
            layout.quarantine: StoreArea.QUARANTINE,
            layout.revisions: StoreArea.REVISIONS,
        }

    def __contains__(self, path: object) -> bool:
        """Return whether the file has rotted. Raises ``StateError``."""
        with suppress(OSError, PartitionUnreadableError):
            if isinstance(path, Path) and (found := stored_content(path, self._layout.disk)) is not None:
                content = found[0]
                if (digests := self._digests(path)) is not None:
                    return bool(digests) and sha256(content) not in digests
                return has_rotted(len(content), sha256(content), self._recorded(path))
        return False

    def _digests(self, path: Path) -> frozenset[str] | None:
        """Return the recorded digests of a file; None in an area that has other records, or none."""
        for root, area in self._with_digests.items():
            if path.is_relative_to(root):
                place = f"{area}/{path.relative_to(root).as_posix()}"
                _, _, register = self._registers()
                return register.below(f"{place.rpartition('/')[0]}/").get(place, frozenset())
        return None

    def _recorded(self, path: Path) -> RecordedVersion | None:
        is_official = path.is_relative_to(self._layout.official)
        root = self._layout.official if is_official else self._layout.data
        if not path.is_relative_to(root):
            return None
        folder, _, name = path.relative_to(root).as_posix().partition("/")
        fits = (YEAR_PATH if is_official else DAY_PATH).fullmatch(name)
        if (symbol := symbol_of(folder)) is None or fits is None:
            return None
        versions, years, _ = self._registers()
        if is_official:
            known = years.years(symbol, int(fits[1]), int(fits[1])).get(int(fits[1]))
            return None if known is None else known.version
        date = TradingDate.parse("-".join(fits.groups()))
        return versions.versions(symbol, date, date).get(date)
