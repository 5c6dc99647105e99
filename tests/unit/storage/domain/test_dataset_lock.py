from __future__ import annotations

from hashlib import sha256

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import as_symbols
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.storage.domain.dataset_lock import DatasetLock, LockedFile, LockScope

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


def scope(symbols: str, first: str, last: str) -> LockScope:
    named = None if symbols == "*" else as_symbols(symbols.split(","))
    return LockScope(named, TradingDate.parse(first), TradingDate.parse(last))


SCOPED = DatasetLock(IDENTITY, SessionKind.REGULAR, [ONE, OTHER], scope("AAPL,BRK.B", "2024-01-01", "2024-03-15"))
OF_A_YEAR = DatasetLock(IDENTITY, None, [ONE, OTHER], scope("AAPL", "2024-01-01", "2024-12-31"))
OF_ALL = DatasetLock(IDENTITY, None, [ONE, OTHER], scope("*", "2024-01-02", "2024-12-31"))


@pytest.mark.parametrize("lock", [SCOPED, OF_ALL])
def test_a_scope_is_parsed_and_belongs_to_the_hash(lock: DatasetLock) -> None:
    assert DatasetLock.parse(lock.text()) == lock
    assert lock.text().startswith("marketpipe lock 2\n")
    assert lock.dataset_sha256 != DatasetLock(lock.identity, lock.session, lock.files).dataset_sha256


def test_the_scope_is_for_humans_too() -> None:
    assert SCOPED.text().splitlines()[5:8] == ["symbols AAPL,BRK.B", "first 2024-01-01", "last 2024-03-15"]


@pytest.mark.parametrize("line", ["symbols a b", "first 2024-02-30", "last never"])
def test_a_scope_that_names_nothing_is_refused(line: str) -> None:
    key = line.partition(" ")[0]
    lines = [line if text.startswith(key) else text for text in SCOPED.text().splitlines()]
    hashed = "".join(f"{text}\n" for text in lines if text and not text.startswith("sha256"))
    lines[9] = f"sha256 {sha256(hashed.encode()).hexdigest()}"

    with pytest.raises(ConfigurationError, match="freeze again"):
        DatasetLock.parse("\n".join(lines))


@pytest.mark.parametrize(
    ("lock", "path", "is_pinned"),
    [
        (SCOPED, "data/symbol=AAPL/year=2024/month=03/day=15.parquet", True),
        (SCOPED, "data/symbol=BRK.B/year=2024/month=01/day=01.parquet", True),
        (SCOPED, "data/symbol=AAPL/year=2024/month=03/day=18.parquet", False),
        (SCOPED, "data/symbol=AAPL/year=2023/month=12/day=29.parquet", False),
        (SCOPED, "data/symbol=MSFT/year=2024/month=02/day=01.parquet", False),
        (SCOPED, "data/symbol=AAPL/year=2024/month=02/day=30.parquet", False),
        (SCOPED, "data/symbol=AAPL/stray", False),
        (SCOPED, "aggregates/timeframe=5m/symbol=AAPL/year=2024/month=02.parquet", False),
        (SCOPED, "aggregates/timeframe=1d/symbol=AAPL/year=2024.parquet", False),
        (OF_ALL, "data/symbol=NEW/year=2024/month=07/day=01.parquet", True),
        (OF_ALL, "data/symbol=NEW/year=2025/month=01/day=02.parquet", False),
        (OF_A_YEAR, "official/symbol=AAPL/year=2024.parquet", True),
        (OF_A_YEAR, "official/symbol=AAPL/year=2025.parquet", False),
        (OF_A_YEAR, "official/symbol=MSFT/year=2024.parquet", False),
        (SCOPED, "official/symbol=AAPL/year=2024.parquet", False),
        (evolve(OF_A_YEAR, scope=None), "official/symbol=AAPL/year=2024.parquet", False),
        (LOCK, "data/symbol=AAPL/year=2024/month=01/day=03.parquet", False),
        (LOCK, "data/symbol=MSFT/year=2024/month=01/day=02.parquet", False),
    ],
)
def test_absence_is_pinned_between_the_frozen_dates(lock: DatasetLock, path: str, is_pinned: bool) -> None:
    assert lock.pins_absence_of(path) is is_pinned


def test_a_lock_of_official_days_alone_pins_the_absence_of_minutes() -> None:
    official = LockedFile("official/symbol=AAPL/year=2024.parquet", 1, "ef" * 32)
    lock = evolve(SCOPED, files=[official])

    assert lock.pins_absence_of("data/symbol=AAPL/year=2024/month=03/day=15.parquet")
    assert not lock.pins_absence_of("data/symbol=AAPL/year=2024/month=03/day=18.parquet")
    assert not lock.pins_absence_of("aggregates/timeframe=1h/symbol=AAPL/year=2024/month=02.parquet")


def test_a_lock_without_a_scope_pins_what_lies_between_its_own_dates() -> None:
    later = LockedFile(ONE.path.replace("month=01", "month=04"), 1, "ef" * 32)
    month = LockedFile("aggregates/timeframe=1h/symbol=AAPL/year=2024/month=02.parquet", 1, "ef" * 32)
    lock = DatasetLock(IDENTITY, None, [ONE, later, month])

    assert lock.pins_absence_of("data/symbol=AAPL/year=2024/month=02/day=20.parquet")
    assert lock.pins_absence_of("aggregates/timeframe=1h/symbol=AAPL/year=2024/month=03.parquet")
    assert not lock.pins_absence_of("aggregates/timeframe=5m/symbol=AAPL/year=2024/month=03.parquet")
    assert not lock.pins_absence_of("data/symbol=AAPL/year=2024/month=04/day=03.parquet")
    assert not DatasetLock(IDENTITY, None, [month]).pins_absence_of(month.path)
