from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.storage.domain.dataset_lock import DatasetLock, LockedFile

IDENTITY = DatasetIdentity("alpaca", "sip", "raw")
ONE = LockedFile("data/symbol=AAPL/year=2024/month=01/day=02.parquet", 10_000, "ab" * 32)
OTHER = LockedFile("aggregates/timeframe=1d/symbol=AAPL/year=2024.parquet", 5_000, "cd" * 32)
LOCK = DatasetLock(IDENTITY, SessionKind.EXTENDED, [ONE, OTHER])
POSITIONS = st.integers(0, len(LOCK.text()) - 1)


def test_the_text_is_parsed_to_the_same_lock() -> None:
    assert DatasetLock.parse(LOCK.text()) == LOCK
    assert DatasetLock.parse(LOCK.text()).text() == LOCK.text()


def test_the_order_of_files_does_not_matter() -> None:
    assert DatasetLock(IDENTITY, SessionKind.EXTENDED, [OTHER, ONE]) == LOCK
    assert [file.path for file in LOCK.files] == [OTHER.path, ONE.path]


def test_the_text_is_for_humans_too() -> None:
    lines = LOCK.text().splitlines()
    assert lines[:6] == [
        "marketpipe lock 1",
        "provider alpaca",
        "feed sip",
        "adjustment raw",
        "session extended",
        "files 2",
    ]
    assert lines[6] == f"sha256 {LOCK.dataset_sha256}"
    assert lines[-1] == f"{'ab' * 32}  10000  {ONE.path}"


def test_a_session_that_is_not_known_is_unknown() -> None:
    lock = DatasetLock(IDENTITY, None, [ONE])
    assert "session unknown" in lock.text()
    assert DatasetLock.parse(lock.text()) == lock


def test_a_mapping_of_symbols_is_part_of_the_lock_and_without_one_the_lock_is_as_ever() -> None:
    mapped = DatasetLock(evolve(IDENTITY, asof="2022-06-09"), SessionKind.REGULAR, [ONE])
    assert "\nasof 2022-06-09\n" in mapped.text()
    assert DatasetLock.parse(mapped.text()) == mapped
    assert "asof" not in LOCK.text()
    with pytest.raises(ConfigurationError, match="edited or cut short"):
        DatasetLock.parse(mapped.text().replace("asof 2022-06-09\n", ""))


def test_other_files_or_another_dataset_have_another_hash() -> None:
    hashes = {
        LOCK.dataset_sha256,
        DatasetLock(IDENTITY, SessionKind.EXTENDED, [ONE]).dataset_sha256,
        DatasetLock(IDENTITY, SessionKind.REGULAR, [ONE, OTHER]).dataset_sha256,
        DatasetLock(DatasetIdentity("alpaca", "iex", "raw"), SessionKind.EXTENDED, [ONE, OTHER]).dataset_sha256,
    }
    assert len(hashes) == 4


def test_line_ends_of_another_system_change_nothing() -> None:
    assert DatasetLock.parse(LOCK.text().replace("\n", "\r\n")) == LOCK


@given(POSITIONS, st.characters(codec="ascii", exclude_categories=["Cc"]))
def test_no_character_can_be_changed(position: int, other: str) -> None:
    text = LOCK.text()
    changed = text[:position] + other + text[position + 1 :]
    if changed != text and text[position] != "\n":
        with pytest.raises(ConfigurationError, match="lock"):
            DatasetLock.parse(changed)


@given(POSITIONS)
def test_no_line_can_be_cut_off(length: int) -> None:
    cut = LOCK.text()[:length]
    if cut.splitlines() != LOCK.text().splitlines():
        with pytest.raises(ConfigurationError, match="lock"):
            DatasetLock.parse(cut)
