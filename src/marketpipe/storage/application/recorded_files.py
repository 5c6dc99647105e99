"""The files that no checkpoint records, compared with their recorded digests. See docs/adr/0026."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.store_inventory import ABSENT, FileDigests
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.application.ports import StoredFiles
from marketpipe.storage.domain.integrity import CheckedFile, Damage, IntegrityProblem, StoreArea

ATTEMPTS: Final = 5
"""So often a file is read again if it is replaced each time."""
LEFTOVERS: Final = "leftover/"
"""In the register, before the path of a temporary file that is to be removed."""
Difference = tuple[IntegrityProblem, CheckedFile | None]
"""A problem, and the file it was found in; None for a lost file."""


class RecordedFiles:
    """Finds files that are lost, and files with other bytes than those that were recorded.

    A file that is not recorded is from an earlier version of MarketPipe, or its record was lost: it is recorded now.
    """

    def __init__(self, files: StoredFiles, digests: FileDigests) -> None:
        self._files, self._digests = files, digests

    def differences(
        self,
        symbol: Symbol,
        first: TradingDate,
        last: TradingDate,
        checked: Iterable[CheckedFile],
        areas: Collection[StoreArea],
    ) -> list[Difference]:
        """Compare the ``checked`` files of these areas, which are all that exist between the dates, both inclusive.

        A file with a problem of its own is passed over. Raises ``StateError`` and ``StorageError``.
        """
        found = {file.path: file for file in checked}
        recorded, unrecorded, differing = self._recorded(symbol, areas), dict[str, str](), list[Difference | None]()
        for path, file in found.items():
            digests = recorded.get(path) or self._files.published_digests(file)
            if file.problem is not None or file.sha256 in digests:
                continue
            if digests:
                differing.append(self._confirmed(path, file, digests if path not in recorded else None))
            else:
                unrecorded[path] = file.sha256
        lost = (path for path in self._lost(recorded, first, last) if path not in found)
        differing += [self._confirmed(path, None) for path in lost]
        if unrecorded:
            with suppress(StateError):  # of a state that may only be read
                self._adopt(unrecorded)
        return [difference for difference in differing if difference is not None]

    def _adopt(self, digests: Mapping[str, str]) -> None:
        """Record what was found. A drop may have removed some of it since, and then its records."""
        self._digests.adopt(digests)
        if gone := [path for path in digests if not self._files.exists(path)]:
            self._digests.settle(dict.fromkeys(gone, ABSENT))

    def lost(self, symbols: Iterable[Symbol], first: TradingDate, last: TradingDate) -> tuple[str, ...]:
        """Return the paths of recorded files of these symbols and dates that do not exist, by symbol, then path."""
        return tuple(
            path
            for symbol in sorted(symbols)
            for path in self._lost(self._recorded(symbol, StoreArea), first, last)
            if self._confirmed(path, None)
        )

    def note_leftovers(self, paths: Iterable[str]) -> None:
        """Note temporary files of processes that are gone, for ``remove_leftovers``: an ingestion lists no folders."""
        if found := {f"{LEFTOVERS}{path}": ABSENT for path in paths}:
            with suppress(StateError):  # of a state that may only be read
                self._digests.expect(found)

    def remove_leftovers(self) -> None:
        """Remove those that were noted and are still there. Raises ``StateError``."""
        if noted := self._digests.below(LEFTOVERS):
            for path in noted:
                self._files.remove_leftover(path.removeprefix(LEFTOVERS))
            self._digests.settle(dict.fromkeys(noted, ABSENT))

    def _recorded(self, symbol: Symbol, areas: Iterable[StoreArea]) -> Mapping[str, frozenset[str]]:
        found = dict[str, frozenset[str]]()
        for folder in self._files.folders_of(symbol, areas):
            found |= self._digests.below(folder)
        return found

    def _lost(self, recorded: Mapping[str, frozenset[str]], first: TradingDate, last: TradingDate) -> Iterator[str]:
        for path, digests in recorded.items():
            if ABSENT not in digests and not self._files.exists(path):
                dates = self._files.dates_of(path)
                if dates is not None and dates[0] <= last and first <= dates[1]:
                    yield path

    def _confirmed(
        self, path: str, file: CheckedFile | None, digests: frozenset[str] | None = None
    ) -> Difference | None:
        """Return the difference that an ingestion beside this check does not explain: it records, then publishes.

        So if the file is still the same after the record was read, the record differs from it for good. ``digests``
        are those of a revision that is not recorded: a revision never changes.
        """
        for _ in range(ATTEMPTS):
            recorded = self._digests.below(path).get(path, frozenset()) if digests is None else digests
            again = self._files.read_path(path)
            if not recorded or (ABSENT if again is None else again.sha256) in recorded:
                return None
            if (again and again.sha256) == (file and file.sha256):
                return _difference(path, again)
            file = again
        return None


def _difference(path: str, file: CheckedFile | None) -> Difference:
    if file is None:
        return IntegrityProblem(path, Damage.GONE, "was recorded, and does not exist"), None
    return file.problem_with(Damage.ALTERED, "its bytes are not those that were recorded"), file
