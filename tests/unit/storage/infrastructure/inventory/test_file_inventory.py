"""What only files can do: be copied, touched, linked, misnamed or in the way. See tests/contract for the rest."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, VersionCondition
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk
from marketpipe.storage.infrastructure.day_versions import file_mark
from tests.support.builders import day
from tests.support.inventories import KNOWN_SINCE, OnDisk, Recorded
from tests.support.system_calls import SystemCalls

TODAY, YESTERDAY = day("AAPL", "2024-01-03"), day("AAPL", "2024-01-02")
FIRST, LAST = YESTERDAY.trading_date, TODAY.trading_date
EARLIER_NS = 1_000_000_000_000_000_000
GONE, ALTERED, UNRECORDED, _ = VersionCondition


@pytest.fixture
def store(tmp_path: Path) -> OnDisk:
    made = OnDisk(tmp_path)
    made.store(YESTERDAY, TODAY)
    return made


def conditions(store: OnDisk, recorded: Recorded | None = None, symbol: str = "AAPL") -> dict[str, VersionCondition]:
    known = store.recorded(symbol) if recorded is None else recorded
    found = store.inventory.conditions(Symbol(symbol), FIRST, LAST, known)
    return {str(date): condition for date, condition in found.items()}


def touch(store: OnDisk, modified_ns: int = EARLIER_NS) -> None:
    os.utime(store.path(TODAY), ns=(modified_ns, modified_ns))


def modified_ns(store: OnDisk) -> int:
    return store.path(TODAY).stat().st_mtime_ns


def of_unknown_age(store: OnDisk) -> Recorded:
    return {date: evolve(file, known_since=None, mark=NO_MARK) for date, file in store.recorded().items()}


def test_a_file_with_another_time_and_the_recorded_bytes_gets_its_time_back(store: OnDisk) -> None:
    touch(store)

    assert conditions(store) == {}
    assert modified_ns(store) == KNOWN_SINCE.epoch_micros * 1000


def test_a_copied_store_gets_its_times_back(store: OnDisk, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "data", tmp_path / "copy" / "data", copy_function=shutil.copyfile)
    copy = OnDisk(tmp_path / "copy")
    assert modified_ns(copy) != modified_ns(store)

    assert conditions(copy, store.recorded()) == {}
    assert modified_ns(copy) == modified_ns(store)


def test_a_file_with_another_time_and_other_bytes_is_altered_and_keeps_its_time(store: OnDisk) -> None:
    store.alter(TODAY)
    touch(store)

    assert conditions(store) == {"2024-01-03": ALTERED}
    assert modified_ns(store) == EARLIER_NS


def test_a_file_that_was_cut_short_is_altered_whatever_its_time(store: OnDisk) -> None:
    os.truncate(store.path(TODAY), 100)
    touch(store, KNOWN_SINCE.epoch_micros * 1000)

    assert conditions(store) == {"2024-01-03": ALTERED}


def test_a_file_with_the_recorded_mark_is_not_read(store: OnDisk) -> None:
    store.alter(TODAY)
    touch(store, KNOWN_SINCE.epoch_micros * 1000)

    assert conditions(store) == {}


def test_a_fraction_of_a_microsecond_is_no_other_time(store: OnDisk) -> None:
    touch(store, KNOWN_SINCE.epoch_micros * 1000 + 999)

    assert conditions(store) == {}
    assert modified_ns(store) == KNOWN_SINCE.epoch_micros * 1000 + 999


@pytest.mark.parametrize("time_ns", [EARLIER_NS, 0])
def test_a_file_of_unknown_age_is_read_and_its_time_is_left_alone(store: OnDisk, time_ns: int) -> None:
    touch(store, time_ns)

    assert conditions(store, of_unknown_age(store)) == {}
    assert modified_ns(store) == time_ns


def test_a_file_of_unknown_age_is_altered_even_if_its_time_is_not_known_either(store: OnDisk) -> None:
    store.alter(TODAY)
    touch(store, 0)

    assert conditions(store, of_unknown_age(store)) == {"2024-01-03": ALTERED}


class ReadOnlyDisk(RealDisk):
    """As of a read-only file system, which no test can mount."""

    def utime(self, path: AnyPath | int, /, *, ns: tuple[int, int]) -> NoReturn:  # type: ignore[override]
        raise OSError(errno.EROFS, "Read-only file system")


def test_a_store_in_which_no_time_can_be_set_is_judged_the_same(store: OnDisk) -> None:
    touch(store)
    store.machine = evolve(HERE, disk=ReadOnlyDisk())

    assert conditions(store) == {}
    assert modified_ns(store) == EARLIER_NS


def test_a_link_to_nowhere_is_a_file_that_is_gone(store: OnDisk, tmp_path: Path) -> None:
    store.lose(TODAY)
    store.path(TODAY).symlink_to(tmp_path / "nowhere")

    assert conditions(store) == {"2024-01-03": GONE}


def test_a_link_to_the_recorded_bytes_is_the_recorded_file(store: OnDisk, tmp_path: Path) -> None:
    store.path(TODAY).rename(tmp_path / "elsewhere")
    store.path(TODAY).symlink_to(tmp_path / "elsewhere")

    assert conditions(store) == {}


def test_copies_temporary_files_and_days_that_no_calendar_has_are_not_stored_days(store: OnDisk) -> None:
    folder = store.path(TODAY).parent
    for name in (
        *(
            "day=02 (copy).parquet",
            "day=xx.parquet",
            ".day=04.parquet.1-1.tmp",
            "day=02.20240102T000000.000000Z.parquet",
        ),
        *("day=00.parquet", "day=32.parquet", "xday=02.parquet", "DAY=02.parquet", "day=02.parquet\n"),
    ):
        (folder / name).write_bytes(b"other")
    first, last = TradingDate.parse("2023-12-01"), TradingDate.parse("2024-02-29")

    assert store.inventory.dates(Symbol("AAPL"), first, last) == {FIRST, LAST}
    assert store.inventory.conditions(Symbol("AAPL"), first, last, store.recorded()) == {}


def test_only_the_folders_between_the_dates_are_listed(store: OnDisk, tmp_path: Path) -> None:
    store.store(day("AAPL", "2024-02-01"), day("AAPL", "2025-01-02"), day("MSFT", "2024-01-02"))

    with SystemCalls(tmp_path) as seen:
        assert conditions(store) == {}

    assert seen.names() == ["listdir", "scandir"]  # the symbol's years, and the month


def test_a_range_of_decades_costs_nothing_for_years_without_a_folder(store: OnDisk, tmp_path: Path) -> None:
    with SystemCalls(tmp_path) as seen:
        store.inventory.dates(Symbol("AAPL"), TradingDate.parse("1980-01-01"), TradingDate.parse("2030-12-31"))

    assert seen.names() == ["listdir", "scandir"]  # the months that do not exist cannot even be opened


@pytest.mark.parametrize("in_the_way", ["symbol=MSFT", "symbol=MSFT/year=2024", "symbol=MSFT/year=2024/month=01"])
@pytest.mark.parametrize("put", [lambda path: path.write_bytes(b"in the way"), lambda path: path.symlink_to("..")])
def test_what_is_in_the_place_of_a_folder_has_no_days(
    store: OnDisk, in_the_way: str, put: Callable[[Path], object]
) -> None:
    msft = day("MSFT", str(LAST))
    store.store(msft)
    path = store.on_disk.layout.data / in_the_way
    shutil.rmtree(path)
    put(path)

    assert conditions(store, store.recorded("MSFT"), symbol="MSFT") == {str(LAST): GONE}
    assert store.inventory.dates(Symbol("MSFT"), FIRST, LAST) == frozenset()


def _a_folder(path: Path) -> None:
    path.mkdir()


def _a_folder_with_files(path: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(b"x")


def _a_pipe(path: Path) -> None:
    os.mkfifo(path)


def _a_link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def _a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def _a_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@pytest.mark.parametrize(
    ("put", "condition"),
    [
        (_a_folder, ALTERED),
        (_a_folder_with_files, ALTERED),
        (_a_pipe, ALTERED),
        (_a_link_to_a_pipe, ALTERED),
        (_a_link_to_nowhere, GONE),
        (_a_link_to_itself, GONE),
    ],
)
def test_a_day_that_is_no_file_has_a_condition_of_its_own_alone(
    store: OnDisk, put: Callable[[Path], None], condition: VersionCondition
) -> None:
    path = store.path(TODAY)
    path.unlink()
    put(path)
    known = store.recorded()
    same_size = {**known, LAST: evolve(known[LAST], mark=file_mark(path.lstat().st_size, 0))}

    assert conditions(store) == conditions(store, same_size) == {"2024-01-03": condition}
