from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from marketpipe.storage.infrastructure.publishing.digest_recorder import DigestRecorder
from marketpipe.storage.infrastructure.store_layout import StoreLayout
from tests.support.in_memory_file_digests import InMemoryFileDigests

LAYOUT = StoreLayout(*(Path("/store", name) for name in ("data", "aggregates", "quarantine", "revisions")))
HISTORY = LAYOUT.revisions / "symbol=AAPL" / "year=2024" / "known_since.csv"
REJECTED = LAYOUT.quarantine / "symbol=AAPL" / "year=2024.parquet"


class Durable(InMemoryFileDigests):
    """Notes which digests no power loss may lose."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = dict[str, str]()

    def expect(self, digests: Mapping[str, str], *, durable: bool = False) -> None:
        super().expect(digests, durable=durable)
        self.durable |= digests if durable else {}


@pytest.mark.parametrize(
    ("path", "is_recorded"),
    [
        (HISTORY, True),
        (REJECTED, True),
        (LAYOUT.revisions / "symbol=AAPL" / "known_since.csv", False),
        (LAYOUT.revisions / "symbol=AAPL" / "year=2024" / "month=01" / "known_since.csv", False),
        (LAYOUT.aggregates / "timeframe=1d" / "symbol=AAPL" / "notes.csv", False),
        (LAYOUT.data / "symbol=AAPL" / "year=2024" / "known_since.csv", False),
    ],
)
def test_what_is_recorded(path: Path, is_recorded: bool) -> None:
    assert DigestRecorder(LAYOUT, InMemoryFileDigests).records(path) is is_recorded


def test_the_digest_of_a_history_is_durable_before_it_is_published() -> None:
    digests = Durable()
    recorder = DigestRecorder(LAYOUT, lambda: digests)

    with recorder.recorded({HISTORY: "aa"}), recorder.recorded({REJECTED: "bb"}):
        assert digests.durable == {"revisions/symbol=AAPL/year=2024/known_since.csv": "aa"}

    assert {*digests.below("revisions/").values(), *digests.below("quarantine/").values()} == {
        frozenset({"aa"}),
        frozenset({"bb"}),
    }
