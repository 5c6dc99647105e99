from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST
from marketpipe.storage.application.recorded_files import RecordedFiles
from marketpipe.storage.domain.integrity import CheckedFile, StoreArea
from tests.support.in_memory_file_digests import InMemoryFileDigests

FOLDER, SINCE = "aggregates/timeframe=1d/symbol=AAPL/", Timestamp.parse("2024-01-03T00:00:00Z")
STAYS, REMOVED = f"{FOLDER}year=2023.parquet", f"{FOLDER}year=2024.parquet"


@define
class Files:
    there: Sequence[str]

    def folders_of(self, symbol: Symbol, areas: Iterable[StoreArea]) -> Sequence[str]:
        return [FOLDER]

    def published_digests(self, file: CheckedFile) -> frozenset[str]:
        return frozenset()

    def exists(self, path: str) -> bool:
        return path in self.there


def test_a_file_that_was_removed_after_it_was_read_is_not_recorded() -> None:
    """A drop beside the check removes files, and then their records: the check must not make new ones."""
    digests, symbol, files = InMemoryFileDigests(), Symbol("AAPL"), Files([STAYS])
    read = [
        CheckedFile(StoreArea.AGGREGATES, path, symbol, None, None, 100, "a mark", SINCE, "ab" * 32)
        for path in (STAYS, REMOVED)
    ]
    stored: Any = files

    found = RecordedFiles(stored, digests).differences(symbol, DISTANT_PAST, DISTANT_FUTURE, read, list(StoreArea))

    assert (found, dict(digests.below("aggregates/"))) == ([], {STAYS: frozenset({"ab" * 32})})
