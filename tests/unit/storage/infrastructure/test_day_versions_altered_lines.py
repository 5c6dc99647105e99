"""Lines of a version index that a power loss has altered: it is not synced, and each line can be read all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.storage.infrastructure.compacted.index_lines import INDEX_TITLE, index_lines
from marketpipe.storage.infrastructure.day_versions import VersionIndex
from tests.support.store_on_disk import StoreOnDisk

DATES = [TradingDate.parse(f"2024-07-0{number}") for number in (1, 2, 3)]
SINCE = Timestamp.parse("2024-07-04T01:32:49.334280Z")
LATER = Timestamp.parse("2025-01-01T00:00:00Z")
DIGEST = "ab" * 32
EARLY = f"2024-07-01,2024-07-02T01:00:00.000000Z,{DIGEST}\n".encode()
"""A line without a check, as versions of MarketPipe before it wrote them."""
APPENDED = index_lines((date, SINCE, DIGEST) for date in DATES[1:])


def known(root: Path, content: bytes) -> list[Timestamp | None]:
    store = StoreOnDisk(root)
    path = store.layout.version_index(Symbol("AAPL"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(INDEX_TITLE + content)
    assert VersionIndex(store.layout).problem(Symbol("AAPL")) is None or b"#" in content
    moments = VersionIndex(store.layout).of(Symbol("AAPL"))
    return [moments.published(date, DIGEST) for date in DATES]


def test_lines_that_were_appended_together_are_read_with_those_of_earlier_versions(tmp_path: Path) -> None:
    assert known(tmp_path, EARLY + APPENDED) == [Timestamp.parse("2024-07-02T01:00:00Z"), SINCE, SINCE]


@pytest.mark.parametrize(
    ("old", "new"), [(b"2024-07-04T01", b"2024-03-04T01"), (b"2024-07-04T01", b"3024-07-04T01"), (b"49.33", b"48.33")]
)
def test_of_an_altered_line_no_moment_is_taken_and_others_stay(tmp_path: Path, old: bytes, new: bytes) -> None:
    altered = APPENDED.replace(old, new, 1)
    assert known(tmp_path, EARLY + altered + index_lines([(DATES[2], SINCE, DIGEST)])) == [
        *(Timestamp.parse("2024-07-02T01:00:00Z"), None, SINCE),
    ]


def test_no_bit_of_what_was_appended_makes_another_moment_of_it(tmp_path: Path) -> None:
    for bit in range(0, 8 * len(APPENDED), 5):
        altered = bytearray(APPENDED)
        altered[bit // 8] ^= 1 << bit % 8
        store = StoreOnDisk(tmp_path)
        path = store.layout.version_index(Symbol("AAPL"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(INDEX_TITLE + altered)
        moments = VersionIndex(store.layout).of(Symbol("AAPL"))
        assert {moments.published(date, DIGEST) for date in DATES} <= {None, SINCE}


def test_a_check_of_more_lines_than_there_are_takes_none(tmp_path: Path) -> None:
    assert known(tmp_path, b"") == [None] * 3
    assert known(tmp_path, EARLY + b",99,00000000\n") == [None] * 3
    assert known(tmp_path, APPENDED[:-1]) == [None, SINCE, SINCE]
