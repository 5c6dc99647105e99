from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, MonthUnreadableError, StorageError
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk, exchange_folders
from marketpipe.storage.domain.compaction import Condition
from marketpipe.storage.domain.data_partition import MonthPartition, Revision
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.inventory.stored_files import ParquetStoredFiles
from marketpipe.storage.infrastructure.publishing.durable_files import SameThread
from marketpipe.storage.infrastructure.publishing.folder_exchange import FolderExchange
from marketpipe.storage.infrastructure.publishing.month_folders import CHANGED_MEANWHILE, MonthFolders
from tests.support.bar_stores import at
from tests.support.builders import CALENDAR, day
from tests.support.store_on_disk import StoreOnDisk, recorded_as_stored, tree

JANUARY = MonthPartition(Symbol("AAPL"), 2024, 1)
DATES = ["2024-01-02", "2024-01-03", "2024-01-04"]
FOLDER = "symbol=AAPL/year=2024/month=01"
Tree = dict[str, tuple[bytes, int]]


@pytest.fixture
def store(tmp_path: Path) -> StoreOnDisk:
    made = StoreOnDisk(tmp_path)
    made.keep(*((day("AAPL", date), [at(0), at(1, 100.0 + n)]) for n, date in enumerate(DATES)))
    return made


def with_times(store: StoreOnDisk) -> Tree:
    data = store.layout.data
    return {name: (content, (data / name).stat().st_mtime_ns) for name, content in tree(data).items()}


def unsupported(one: Path, other: Path) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(one), None, str(other))


def without_exchange(store: StoreOnDisk) -> MonthFolders:
    exchange = FolderExchange(store.files, store.layout.data, store.layout.revisions, None, unsupported)
    return MonthFolders(store.layout, store.files, exchange, nullcontext)


def test_a_month_becomes_one_file_and_its_day_files_again_with_the_same_bytes_and_times(store: StoreOnDisk) -> None:
    before = with_times(store)
    size = sum(len(content) for content, _ in before.values())

    done = store.compact("AAPL")
    assert done is not None
    assert (done.condition, done.files_before, done.files_after, done.bytes_before) == (Condition.CHANGED, 3, 1, size)
    ((name, (content, modified_ns)),) = with_times(store).items()
    assert name == f"{FOLDER}/{MONTH_FILE}"
    assert (len(content), modified_ns) == (done.bytes_after, max(time for _, time in before.values()))

    undone = store.months.expand(JANUARY, {})
    assert undone is not None
    assert (undone.files_before, undone.files_after, undone.bytes_after) == (1, 3, size)
    assert with_times(store) == before
    assert not any(store.layout.revisions.glob(".*"))


def test_a_dry_run_tells_the_same_and_changes_nothing(store: StoreOnDisk) -> None:
    before = with_times(store)

    would_be = store.compact("AAPL", dry_run=True)
    assert with_times(store) == before
    assert store.compact("AAPL") == would_be
    compacted = with_times(store)
    would_be = store.months.expand(JANUARY, {}, dry_run=True)
    assert with_times(store) == compacted
    assert store.months.expand(JANUARY, {}) == would_be


def test_what_is_one_file_already_and_a_single_day_stay(store: StoreOnDisk) -> None:
    store.keep((day("MSFT", DATES[0]), [at(0)]))
    store.compact("AAPL")
    before = with_times(store)

    again = store.compact("AAPL")
    assert again is not None
    assert again.condition is Condition.UNCHANGED
    assert store.compact("MSFT") is None
    assert store.compact("GONE") is None
    assert store.months.expand(MonthPartition(Symbol("MSFT"), 2024, 1), {}) is None
    assert with_times(store) == before


def test_a_day_beside_the_month_file_is_joined_with_it(store: StoreOnDisk) -> None:
    days = with_times(store)
    late = store.path(day("AAPL", "2024-01-05"))
    store.compact("AAPL")
    other = StoreOnDisk(store.root / "other")
    other.keep((day("AAPL", "2024-01-05"), [at(0)]))
    os.replace(other.path(day("AAPL", "2024-01-05")), late)
    days |= {f"{FOLDER}/{late.name}": (late.read_bytes(), late.stat().st_mtime_ns)}

    done = store.compact("AAPL")
    assert done is not None
    assert (done.condition, done.files_before, done.files_after) == (Condition.CHANGED, 2, 1)
    store.months.expand(JANUARY, {})
    assert with_times(store) == days


def _unrecorded(store: StoreOnDisk, recorded: dict[TradingDate, RecordedVersion]) -> None:
    del recorded[TradingDate.parse(DATES[1])]


def _lost(store: StoreOnDisk, recorded: dict[TradingDate, RecordedVersion]) -> None:
    store.path(day("AAPL", DATES[1])).unlink()


def _altered(store: StoreOnDisk, recorded: dict[TradingDate, RecordedVersion]) -> None:
    path = store.path(day("AAPL", DATES[1]))
    path.write_bytes(path.read_bytes() + b" ")


def _foreign(store: StoreOnDisk, recorded: dict[TradingDate, RecordedVersion]) -> None:
    (store.layout.month(JANUARY) / "notes.txt").write_text("mine")


def _link(store: StoreOnDisk, recorded: dict[TradingDate, RecordedVersion]) -> None:
    path = store.path(day("AAPL", DATES[1]))
    path.symlink_to(path.rename(store.root / "elsewhere"))


def _of_another_dataset(store: StoreOnDisk, recorded: dict[TradingDate, RecordedVersion]) -> None:
    other = store.path(day("AAPL", DATES[0])).read_bytes()
    store.path(day("AAPL", DATES[1])).write_bytes(other)
    recorded |= recorded_as_stored(store.layout, JANUARY)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_unrecorded, "2024-01-03 has a file and no record"),
        (_lost, "2024-01-03 is recorded and has no file"),
        (_foreign, "notes.txt in its folder is not a file of the store"),
        (_link, "day=03.parquet in its folder is not a file of the store"),
        (_of_another_dataset, "is of AAPL 1m 2024-01-02"),
    ],
)
def test_a_month_that_is_not_as_it_was_recorded_stays_and_tells_why(
    store: StoreOnDisk, spoil: object, reason: str
) -> None:
    assert callable(spoil)
    recorded = recorded_as_stored(store.layout, JANUARY)
    spoil(store, recorded)
    before = tree(store.layout.data)

    done = store.months.compact(JANUARY, recorded, store.identity, dry_run=False)

    assert done is not None
    assert (done.condition, tree(store.layout.data)) == (Condition.SKIPPED, before)
    assert reason in str(done.reason)


def test_a_month_with_an_altered_day_is_an_error(store: StoreOnDisk) -> None:
    recorded = recorded_as_stored(store.layout, JANUARY)
    _altered(store, recorded)

    with pytest.raises(StorageError, match="the file of 2024-01-03 is not the recorded one"):
        store.months.compact(JANUARY, recorded, store.identity, dry_run=False)


def test_a_tree_that_was_copied_without_times_has_the_recorded_ones_in_the_month_file(store: StoreOnDisk) -> None:
    recorded, before = recorded_as_stored(store.layout, JANUARY), with_times(store)
    for date in DATES:
        os.utime(store.path(day("AAPL", date)), ns=(1, 1))

    store.months.compact(JANUARY, recorded, store.identity, dry_run=False)
    store.months.expand(JANUARY, {})

    assert with_times(store) == before


def test_where_folders_cannot_be_exchanged_nothing_is_compacted(store: StoreOnDisk) -> None:
    before = with_times(store)

    with pytest.raises(ConfigurationError, match=r"nothing was compacted.*revisions_path"):
        without_exchange(store).compact(
            JANUARY, recorded_as_stored(store.layout, JANUARY), store.identity, dry_run=False
        )
    assert with_times(store) == before


def test_where_folders_cannot_be_exchanged_a_month_becomes_day_files_all_the_same(store: StoreOnDisk) -> None:
    before = with_times(store)
    store.compact("AAPL")

    without_exchange(store).expand(JANUARY, {})

    assert with_times(store) == before


def test_nothing_is_said_of_a_day_file_that_gives_way_before_it_has(
    store: StoreOnDisk, caplog: pytest.LogCaptureFixture
) -> None:
    recorded, path = recorded_as_stored(store.layout, JANUARY), store.path(day("AAPL", DATES[1]))
    store.compact("AAPL")
    other = StoreOnDisk(store.root / "other")
    other.keep((day("AAPL", DATES[1]), [at(0, 300.0)]))
    shutil.copy(other.path(day("AAPL", DATES[1])), path)

    with pytest.raises(ConfigurationError, match="nothing was compacted"):
        without_exchange(store).compact(JANUARY, recorded, store.identity, dry_run=False)
    assert (path.exists(), caplog.text) == (True, "")
    store.months.compact(JANUARY, recorded, store.identity, dry_run=False)
    assert not path.exists()
    assert f"{path} was not the version of that day that is recorded. It is {store.layout.quarantine}" in caplog.text
    assert len(tree(store.layout.quarantine)) == 1


def test_other_files_of_a_folder_stay_where_they_are(store: StoreOnDisk) -> None:
    before = with_times(store)
    store.compact("AAPL")
    notes = store.layout.month(JANUARY) / "notes.txt"
    notes.write_text("mine")

    store.months.expand(JANUARY, {})

    assert notes.read_text() == "mine"
    notes.unlink()
    assert with_times(store) == before


@pytest.mark.parametrize("added", [None, "day=31.parquet", "notes.txt"])
def test_the_former_folder_that_a_crash_left_stays_if_another_program_had_just_added_to_it(
    store: StoreOnDisk, added: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere, left = store.root / "elsewhere", store.layout.revisions / ".exchange.999999999-1.tmp"
    shutil.copytree(store.layout.data, elsewhere)
    store.compact("AAPL")
    shutil.move(elsewhere, left)
    if added is not None:
        (left / FOLDER / added).write_bytes(b"added")

    store.months.sweep()
    ParquetStoredFiles(store.layout, SameThread, FigureCalculator(CALENDAR)).remove_leftover(f"revisions/{left.name}")

    assert left.exists() is (added is not None)
    assert (f"{FOLDER}/{added}; copy what you need of it" in caplog.text) is (added is not None)


def test_a_damaged_month_file_is_named_and_stays(store: StoreOnDisk) -> None:
    store.compact("AAPL")
    path = store.layout.month(JANUARY) / MONTH_FILE
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(
        MonthUnreadableError, match=r"days\.parquet is damaged.*ingest --symbols AAPL --start 2024-01-01"
    ):
        store.months.compact(JANUARY, {}, store.identity, dry_run=False)
    assert path.exists()


def test_without_records_a_damaged_month_keeps_its_whole_days_and_stays_in_quarantine(store: StoreOnDisk) -> None:
    before = {name: content for name, (content, _) in with_times(store).items()}
    store.compact("AAPL")
    path = store.layout.month(JANUARY) / MONTH_FILE
    path.write_bytes(damaged := path.read_bytes()[:-1])

    undone = store.months.expand(JANUARY, {})

    assert undone is not None
    assert (undone.files_after, undone.reason) == (3, None)
    assert tree(store.layout.data) == before
    assert tree(store.layout.quarantine) == {f"{FOLDER}/{MONTH_FILE}.1.bak": damaged}


def test_a_run_that_was_killed_while_it_kept_the_days_of_a_damaged_month_is_finished_by_the_next(
    store: StoreOnDisk,
) -> None:
    recorded, before = recorded_as_stored(store.layout, JANUARY), with_times(store)
    kept = store.path(day("AAPL", DATES[0])).read_bytes()
    store.compact("AAPL")
    path = store.layout.month(JANUARY) / MONTH_FILE
    path.write_bytes(damaged := path.read_bytes()[:-1])
    place = store.layout.quarantine / FOLDER / f"{MONTH_FILE}.1.bak"
    place.parent.mkdir(parents=True)
    place.write_bytes(damaged)
    store.path(day("AAPL", DATES[0])).write_bytes(kept)
    os.utime(store.path(day("AAPL", DATES[0])), ns=(before[f"{FOLDER}/day=02.parquet"][1],) * 2)

    store.months.expand(JANUARY, recorded)

    assert with_times(store) == before
    assert tree(store.layout.quarantine) == {f"{FOLDER}/{place.name}": damaged}


def test_a_correction_of_a_day_inside_is_as_if_the_month_had_not_been_one_file(tmp_path: Path) -> None:
    stores = [StoreOnDisk(tmp_path / name) for name in ("plain", "compacted")]
    for number, store in enumerate(stores):
        store.keep(*((day("AAPL", date), [at(0), at(1)]) for date in DATES))
        if number:
            store.compact("AAPL")
        store.clock.advance(60)
        store.keep((day("AAPL", DATES[1]), [at(0, 200.0)]))
        store.partitions.withdraw([day("AAPL", DATES[2])])

    plain, compacted = (tree(store.root) for store in stores)
    assert plain == compacted
    assert with_times(stores[0]) == with_times(stores[1])
    former = stores[1].layout.revisions_of(JANUARY)
    assert [str(each.symbol_day.trading_date) for each in former] == [DATES[1], DATES[2], DATES[2]]
    assert all(isinstance(each, Revision) for each in former)


def test_it_knows_the_months_of_a_symbol_and_those_with_several_files(store: StoreOnDisk) -> None:
    store.keep((day("AAPL", "2024-02-01"), [at(0)]))
    (january, february) = store.months.months(Symbol("AAPL"))

    assert [store.months.has_several_files(month) for month in (january, february)] == [True, False]
    store.compact("AAPL")
    assert not store.months.has_several_files(january)


def test_a_month_whose_file_is_damaged_is_mixed(store: StoreOnDisk) -> None:
    store.compact("AAPL")
    dates = [TradingDate.parse(date) for date in DATES]
    assert not store.months.is_mixed(JANUARY, dates)

    path = store.layout.month(JANUARY) / MONTH_FILE
    path.write_bytes(path.read_bytes()[:-1])

    assert store.months.is_mixed(JANUARY, dates)


def test_a_month_that_another_process_expands_meanwhile_is_left_to_it(store: StoreOnDisk) -> None:
    before = with_times(store)
    store.compact("AAPL")

    @contextmanager
    def late() -> Iterator[None]:
        store.months.expand(JANUARY, {})
        yield

    assert MonthFolders(store.layout, store.files, store.exchange, late).expand(JANUARY, {}) is None
    assert with_times(store) == before


def beside_another_program(store: StoreOnDisk) -> MonthFolders:
    """It writes into a folder just before that is exchanged."""

    def exchange(one: Path, other: Path) -> None:
        if not (other / "notes.txt").exists() and not (one / "notes.txt").exists():
            (other / "notes.txt").write_text("mine")
        exchange_folders(one, other)

    changed = FolderExchange(store.files, store.layout.data, store.layout.revisions, None, exchange)
    return MonthFolders(store.layout, store.files, changed, nullcontext)


def test_a_month_that_another_program_changes_meanwhile_keeps_its_form(store: StoreOnDisk) -> None:
    months, folder = beside_another_program(store), store.layout.month(JANUARY)
    before, recorded = with_times(store), recorded_as_stored(store.layout, JANUARY)

    done = months.compact(JANUARY, recorded, store.identity, dry_run=False)
    assert done is not None
    assert (done.condition, done.reason) == (Condition.SKIPPED, CHANGED_MEANWHILE)
    assert with_times(store).items() >= before.items()
    (folder / "notes.txt").unlink()
    store.compact("AAPL")

    with pytest.raises(StorageError, match="month=01: "):
        months.expand(JANUARY, {})
    assert sorted(path.name for path in folder.iterdir()) == [MONTH_FILE, "notes.txt"]


@pytest.mark.parametrize("reason", [None, "is being written in its folder"])
def test_a_temporary_file_of_a_process_that_is_gone_is_no_reason_to_leave_a_month_as_it_is(
    store: StoreOnDisk, reason: str | None
) -> None:
    process = os.getpid() if reason else 999_999_999
    (store.layout.month(JANUARY) / f".day=02.parquet.{process}-1.tmp").write_bytes(b"staged")

    done = store.compact("AAPL")

    assert done is not None
    assert done.condition is (Condition.SKIPPED if reason else Condition.CHANGED)
    assert (reason or "") in str(done.reason)


def test_the_days_that_the_damage_of_a_month_has_cost_are_counted(store: StoreOnDisk) -> None:
    recorded = recorded_as_stored(store.layout, JANUARY)
    store.compact("AAPL")
    path = store.layout.month(JANUARY) / MONTH_FILE
    path.write_bytes(b"x" + path.read_bytes()[1:-1])

    undone = store.months.expand(JANUARY, recorded)

    assert undone is not None
    assert str(undone.reason).startswith("1 day of its damaged file cannot be read")


def test_without_records_and_version_index_nobody_knows_which_days_a_damaged_month_had(
    store: StoreOnDisk, caplog: pytest.LogCaptureFixture
) -> None:
    store.compact("AAPL")
    path = store.layout.month(JANUARY) / MONTH_FILE
    path.write_bytes(path.read_bytes()[:-1])
    shutil.rmtree(store.layout.revisions)

    undone = store.months.expand(JANUARY, {})

    assert undone is not None
    assert undone.reason == "which other days it had is not known (of its damaged file, 3 days can be read)"
    assert "3 days of it became files again, which other days it had is not known" in caplog.text


class Broken(RealDisk):
    """A disk that cannot read one day file."""

    def open(self, path: AnyPath, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("day=02.parquet") and flags & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return RealDisk.open(path, flags, mode, dir_fd=dir_fd)


def test_a_day_file_that_cannot_be_read_hinders_a_compaction_and_is_moved_before_the_month_becomes_day_files(
    store: StoreOnDisk,
) -> None:
    recorded, before = recorded_as_stored(store.layout, JANUARY), tree(store.layout.data)
    store.compact("AAPL")
    store.path(day("AAPL", DATES[0])).write_bytes(b"perhaps the latest version")
    broken = StoreOnDisk(store.root, machine=Machine(disk=Broken()))

    done = broken.months.compact(JANUARY, recorded, store.identity, dry_run=False)
    assert done is not None
    assert (done.condition, str(done.reason).endswith("day=02.parquet cannot be read")) == (Condition.SKIPPED, True)
    broken.months.expand(JANUARY, recorded)

    assert tree(store.layout.data) == before
    assert tree(store.layout.quarantine) == {f"{FOLDER}/day=02.parquet.1.bak": b"perhaps the latest version"}
