"""The version index: since when versions are known, also after the files have lost their times."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.day_figures import FigureCalculator
from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk
from marketpipe.storage.domain.data_partition import Revision
from marketpipe.storage.infrastructure.compacted.index_lines import INDEX_TITLE
from marketpipe.storage.infrastructure.day_versions import KnownMoments, VersionIndex
from marketpipe.storage.infrastructure.inventory.file_inventory import FileInventory
from marketpipe.storage.infrastructure.inventory.stored_files import ParquetStoredFiles
from marketpipe.storage.infrastructure.publishing.durable_files import SameThread
from marketpipe.testing import FakeClock, bar
from tests.support.bar_stores import at
from tests.support.builders import CALENDAR, columnar, day
from tests.support.store_on_disk import NOTHING, NothingRecorded, StoreOnDisk
from tests.support.system_calls import SystemCalls

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
NEXT_DAY = day("AAPL", "2024-01-03")
FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-03")
INDEX = "revisions/symbol=AAPL/known_since.csv"
START, LATER = "2024-01-03T21:30:00.123456Z", Timestamp.parse("2024-06-01T00:00:00Z")
ONE, OTHER = "ab" * 32, "cd" * 32


def copied_without_times(store: StoreOnDisk, to: Path) -> StoreOnDisk:
    shutil.copytree(store.root, to, copy_function=shutil.copyfile)
    return evolve(store, root=to)


def opens(store: StoreOnDisk, as_of: Timestamp | None, timeframe: Timeframe = Timeframe.MINUTE_1) -> list[float]:
    bars = store.loader.load([Symbol("AAPL"), Symbol("MSFT")], FIRST, LAST, timeframe, as_of)
    found: list[float] = bars["open"].to_pylist()
    return found


def since(store: StoreOnDisk, digest: str, modified: Timestamp = LATER) -> Timestamp:
    return VersionIndex(store.layout).of(Symbol("AAPL")).since(AAPL.trading_date, modified, lambda: digest)


def test_every_published_version_has_a_line(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path, clock=FakeClock(START))
    (first,) = store.keep((AAPL, [at(0)]))
    store.clock.advance(60)
    second, _ = store.keep((AAPL, [at(1)]), (MSFT, [at(1)]))

    lines = (tmp_path / INDEX).read_text().splitlines()
    assert [line for line in lines if not line.startswith(",1,")] == [
        "trading_date,known_since,sha256",
        f"2024-01-02,2024-01-03T21:30:00.123456Z,{first.sha256}",
        f"2024-01-02,2024-01-03T21:31:00.123456Z,{second.sha256}",
    ]


def test_bars_that_change_nothing_add_no_line(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    before = (tmp_path / INDEX).read_bytes()

    store.keep((AAPL, [at(0)]))

    assert (tmp_path / INDEX).read_bytes() == before


@pytest.mark.parametrize("loss", ["the file", "the line"])
def test_bars_that_change_nothing_restore_a_line_that_was_lost(tmp_path: Path, loss: str) -> None:
    store = StoreOnDisk(tmp_path)
    (first,) = store.keep((AAPL, [at(0)]))
    before = (tmp_path / INDEX).read_bytes()
    if loss == "the file":
        (tmp_path / INDEX).unlink()
    else:
        (tmp_path / INDEX).write_bytes(before.splitlines(keepends=True)[0])

    store.clock.advance(60)
    store.keep((AAPL, [at(0)]))

    assert (tmp_path / INDEX).read_bytes() == before
    assert since(store, str(first.sha256)) == first.known_since


class Recorded(NothingRecorded):
    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> dict[TradingDate, RecordedVersion]:
        known = {FIRST: RecordedVersion("a mark", LATER, ONE), LAST: RecordedVersion("a mark", None, OTHER)}
        return {date: file for date, file in known.items() if first <= date <= last}


def test_a_new_index_begins_with_what_the_state_has(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path, register=Recorded())

    store.keep((NEXT_DAY, [bar("2024-01-03T15:00:00Z")]))

    moments = VersionIndex(store.layout).of(Symbol("AAPL"))
    assert moments.published(FIRST, ONE) == LATER
    assert moments.published(LAST, OTHER) is None
    assert since(store, ONE, store.clock.now()) == LATER


def test_the_last_line_of_a_version_counts(tmp_path: Path) -> None:
    """A version that returns is known since its return; since its first appearance it is a revision."""
    store = StoreOnDisk(tmp_path)
    results = []
    for price in (100.0, 101.0, 100.0):
        results += store.keep((AAPL, [at(0, price)]))
        store.clock.advance(60)

    assert results[0].sha256 == results[2].sha256
    assert since(store, str(results[2].sha256), store.clock.now()) == results[2].known_since


@pytest.mark.parametrize("torn", [b"2024-01-02,2024-01-03T2", b"\0" * 40, b"2024-01-02,2024-13-03T00:00:00", b"\n\n"])
def test_a_torn_line_is_ignored_and_spoils_no_other(tmp_path: Path, torn: bytes) -> None:
    store = StoreOnDisk(tmp_path)
    (first,) = store.keep((AAPL, [at(0)]))
    with (tmp_path / INDEX).open("ab") as file:
        file.write(torn)

    store.clock.advance(60)
    (second,) = store.keep((AAPL, [at(1)]))

    assert since(store, str(first.sha256)) == first.known_since
    assert since(store, str(second.sha256)) == second.known_since


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be seen on this system")
def test_the_folder_of_an_index_is_durable_and_its_lines_need_not_be(tmp_path: Path) -> None:
    """Revisions come into that folder later, and rely on it."""
    store = StoreOnDisk(tmp_path)

    with SystemCalls(tmp_path) as seen:
        store.keep((AAPL, [at(0)]))

    synced = {call.target for call in seen.calls if call.name == "fsync"}
    assert "revisions" in synced
    assert not any("known_since" in str(target) for target in synced)


def test_lines_are_written_before_the_first_file_is_published(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)

    with SystemCalls(tmp_path) as seen:
        store.keep((AAPL, [at(0)]), (NEXT_DAY, [bar("2024-01-03T15:00:00Z")]))

    steps = [(call.name, INDEX in call.files) for call in seen.calls if call.name == "replace"]
    assert [has_index for _, has_index in steps] == [True, True]


def test_the_mark_that_storing_returns_is_the_one_that_the_inventory_finds(tmp_path: Path) -> None:
    store, inventory = StoreOnDisk(tmp_path), FileInventory(StoreOnDisk(tmp_path).layout)
    for price in (100.0, 101.0, 100.0):
        (result,) = store.keep((AAPL, [at(0, price)]))
        assert inventory.marks(AAPL.symbol, FIRST, LAST) == {FIRST.day: result.mark}


def test_a_file_with_a_time_of_the_index_is_not_hashed(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    (stored,) = store.keep((AAPL, [at(0)]))
    assert stored.known_since is not None

    def refuse() -> str:
        raise AssertionError("was hashed")

    moments = VersionIndex(store.layout).of(Symbol("AAPL"))
    assert moments.since(FIRST, stored.known_since, refuse) == stored.known_since
    assert moments.since(LAST, LATER, refuse) == LATER  # nor one of a day that the index does not have


def test_an_index_that_is_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    """As git-annex leaves it, whose objects must never change."""
    store, other = StoreOnDisk(tmp_path), tmp_path / "object"
    store.keep((AAPL, [at(0)]))
    (tmp_path / INDEX).rename(other)
    (tmp_path / INDEX).symlink_to(other)
    before = other.read_bytes()

    store.clock.advance(60)
    (second,) = store.keep((AAPL, [at(1)]))

    assert other.read_bytes() == before
    assert (tmp_path / INDEX).read_bytes().startswith(before)
    assert since(store, str(second.sha256)) == second.known_since


def test_an_index_with_a_second_name_is_replaced(tmp_path: Path) -> None:
    """As in a copy made of hard links, which is not to change."""
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    os.link(tmp_path / INDEX, tmp_path / "copy")
    before = (tmp_path / "copy").read_bytes()

    store.clock.advance(60)
    store.keep((AAPL, [at(1)]))

    assert (tmp_path / "copy").read_bytes() == before
    assert (tmp_path / INDEX).read_bytes().startswith(before)


def test_a_touched_file_is_known_since_the_same_moment(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    (stored,) = store.keep((AAPL, [at(0)]))
    store.clock.advance(60)
    os.utime(store.path(AAPL), ns=(0, store.clock.now().epoch_micros * 1000))

    assert opens(store, stored.known_since) == [100.0]


def test_a_restatement_in_a_copy_without_times_and_state_keeps_the_former_moment(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path / "store")
    (first,) = store.keep((AAPL, [at(0)]))
    copy = copied_without_times(store, tmp_path / "copy")

    copy.clock.advance(60)
    copy.keep((AAPL, [at(0, 200.0)]))

    assert opens(copy, first.known_since) == [100.0]
    assert opens(copy, copy.clock.now()) == [200.0]


def lost_lines(store: StoreOnDisk, moment: Timestamp | None) -> None:
    """Take the lines of a moment from the index of AAPL, each with its check."""
    path = store.root / INDEX
    path.write_text(re.sub(rf".*,{moment},.*\n,1,.*\n", "", path.read_text()))


def returned(store: StoreOnDisk, *prices: float) -> list[Timestamp]:
    moments = []
    for price in prices:
        (result,) = store.keep((AAPL, [at(0, price)]))
        assert result.known_since is not None
        moments.append(result.known_since)
        store.clock.advance(60)
    return moments


def test_the_former_line_of_a_version_that_returned_does_not_date_it(tmp_path: Path) -> None:
    """Its own line was lost: the times of the file and of the revisions are right."""
    store = StoreOnDisk(tmp_path, clock=FakeClock(START))
    moments = returned(store, 100.0, 200.0, 100.0)
    lost_lines(store, moments[-1])

    assert [opens(store, moment) for moment in moments] == [[100.0], [200.0], [100.0]]
    (recovered,) = ParquetStoredFiles(store.layout, SameThread, FigureCalculator(CALENDAR)).stored_days(
        AAPL.symbol, store.identity
    )
    assert recovered.known_since == moments[-1]

    moments += returned(store, 300.0)
    assert [opens(store, moment) for moment in moments] == [[100.0], [200.0], [100.0], [300.0]]


def test_a_lost_line_of_a_version_that_returned_is_restored_with_its_moment(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path, clock=FakeClock(START))
    moments = returned(store, 100.0, 200.0, 100.0)
    before = (tmp_path / INDEX).read_bytes()
    lost_lines(store, moments[-1])

    returned(store, 100.0)

    assert (tmp_path / INDEX).read_bytes() == before


def test_a_revision_of_the_stored_version_itself_changes_no_moment(tmp_path: Path) -> None:
    """As a crash leaves it, between the revision and the file that was to replace it."""
    store = StoreOnDisk(tmp_path / "store", clock=FakeClock(START))
    (moment,) = returned(store, 100.0)
    revision = store.layout.revision(Revision(AAPL, moment))
    revision.parent.mkdir(parents=True)
    os.link(store.path(AAPL), revision)
    copy = copied_without_times(store, tmp_path / "copy")

    (recovered,) = ParquetStoredFiles(copy.layout, SameThread, FigureCalculator(CALENDAR)).stored_days(
        AAPL.symbol, copy.identity
    )

    assert recovered.known_since == moment
    assert opens(copy, moment) == [100.0]


@pytest.mark.parametrize("moment", ["2026-11-31T00:00:00.000000Z", "2026-11-01T25:00:00.000000Z"])
def test_a_line_with_an_impossible_moment_is_ignored(tmp_path: Path, moment: str) -> None:
    store = StoreOnDisk(tmp_path)
    (first,) = store.keep((AAPL, [at(0)]))
    with (tmp_path / INDEX).open("a") as file:
        file.write(f"{FIRST},{moment},{first.sha256}\n")

    assert since(store, str(first.sha256)) == first.known_since


def test_an_index_that_is_a_link_to_nowhere_is_replaced(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    (tmp_path / INDEX).unlink()
    (tmp_path / INDEX).symlink_to(tmp_path / "nowhere")

    store.clock.advance(60)
    (second,) = store.keep((AAPL, [at(1)]))

    assert since(store, str(second.sha256)) == second.known_since
    assert (tmp_path / INDEX).read_bytes().startswith(INDEX_TITLE)
    assert not (tmp_path / INDEX).is_symlink()
    assert not (tmp_path / "nowhere").exists()


class RefusingTheIndex(RealDisk):
    """A disk on which no version index can be opened to be written, until ``code`` is 0."""

    def __init__(self, code: int) -> None:
        self.code = code

    def open(self, path: AnyPath, /, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if self.code and flags & (os.O_WRONLY | os.O_RDWR) and "known_since" in str(path):
            raise OSError(self.code, os.strerror(self.code), str(path))
        return os.open(path, flags, mode, dir_fd=dir_fd)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_an_index_that_may_not_be_written_holds_up_no_bars(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    disk = RefusingTheIndex(code)
    store = StoreOnDisk(tmp_path, machine=Machine(disk))
    partitions = store.partitions
    for price in (100.0, 200.0):
        (result,) = partitions.store(columnar((AAPL, [at(0, price)])), NOTHING)
        assert result.error is None
        store.clock.advance(60)
    disk.code = 0

    assert opens(store, None) == [200.0]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("marketpipe.storage", "WARNING")
    assert INDEX in record.getMessage()
    assert os.strerror(code) in record.getMessage()
    partitions.store(columnar((AAPL, [at(0, 200.0)])), NOTHING)
    assert since(store, str(result.sha256)) == result.known_since


@pytest.mark.parametrize("exists", [True, False])
def test_an_index_without_space_fails_as_a_file_of_bars_does(tmp_path: Path, exists: bool) -> None:
    if exists:
        StoreOnDisk(tmp_path).keep((AAPL, [at(0)]))
    store = StoreOnDisk(tmp_path, machine=Machine(RefusingTheIndex(errno.ENOSPC)))

    with pytest.raises(StorageError, match="No space left"):
        store.keep((AAPL, [at(1)]))

    assert opens(store, None) == [100.0] * exists


@pytest.mark.parametrize("line", [b"", b"\n\n", b"2024-01-02,2024-01-03T2\n", b"trading_date,kn", b"\0" * 200])
def test_an_index_as_marketpipe_or_a_crash_leaves_it_is_no_problem(tmp_path: Path, line: bytes) -> None:
    store = StoreOnDisk(tmp_path)
    index = VersionIndex(store.layout)
    assert index.problem(AAPL.symbol) is None
    returned(store, 100.0, 200.0)
    with (tmp_path / INDEX).open("ab") as file:
        file.write(line)

    assert index.problem(AAPL.symbol) is None


@pytest.mark.parametrize(
    "line",
    [
        b"garbage,,,\n",
        b"\xff\xfe\n",
        f"2024-01-02,2026-11-31T00:00:00.000000Z,{ONE}\n".encode(),
        f"2024-02-30,2026-11-30T00:00:00.000000Z,{ONE}\n".encode(),
        f"2024-01-02,2026-11-30T00:00:00.000000Z,{ONE}0\n".encode(),
    ],
)
def test_lines_that_are_not_of_an_index_are_a_problem(tmp_path: Path, line: bytes) -> None:
    store = StoreOnDisk(tmp_path)
    store.keep((AAPL, [at(0)]))
    with (tmp_path / INDEX).open("ab") as file:
        file.write(line * 2)

    assert VersionIndex(store.layout).problem(AAPL.symbol) == "has 2 lines that are not of a version index"


@given(
    versions=st.lists(
        st.tuples(st.sampled_from([AAPL, MSFT, NEXT_DAY]), st.sampled_from([100.0, 101.0, 102.0]), st.integers(0, 3)),
        min_size=1,
        max_size=7,
    )
)
def test_a_copy_without_times_answers_every_as_of_as_the_original(
    versions: list[tuple[SymbolDay, float, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = StoreOnDisk(Path(folder, "store"))
        moments = [store.clock.now()]
        for symbol_day, price, pause in versions:
            store.clock.advance(pause)
            date = str(symbol_day).split()[1]
            (result,) = store.keep((symbol_day, [bar(f"{date}T15:00:00Z", price)]))
            assert result.known_since is not None
            moments.append(result.known_since)
        copy = copied_without_times(store, Path(folder, "copy"))

        for moment in [Timestamp.from_epoch_micros(m.epoch_micros + step) for m in moments for step in (-1, 0, 1)]:
            assert opens(copy, moment) == opens(store, moment)
        assert opens(copy, max(moments)) == opens(copy, None)


def test_a_file_that_an_index_does_not_have_and_an_index_that_cannot_be_read(tmp_path: Path) -> None:
    store = StoreOnDisk(tmp_path, clock=FakeClock(START))
    (stored,) = store.keep((AAPL, [at(0)]))
    known, date = VersionIndex(store.layout).of(Symbol("AAPL")), AAPL.trading_date
    moment = Timestamp.parse(START)

    assert known.since(date, LATER, lambda: ONE) == LATER
    assert known.published_at(moment, date) == {stored.sha256}
    assert known.published_at(LATER, date) == known.published_at(moment, NEXT_DAY.trading_date) == frozenset()

    (tmp_path / INDEX).unlink()
    (tmp_path / INDEX).mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*known_since\.csv: Is a directory"):
        VersionIndex(store.layout).of(Symbol("AAPL"))
    assert VersionIndex(store.layout).problem(Symbol("AAPL")) == "cannot be read: Is a directory"


def test_a_day_is_current_until_its_newest_version_is_a_revision() -> None:
    first, last = TradingDate.parse("2024-01-01"), TradingDate.parse("2024-01-31")
    withdrawn, restored = TradingDate.parse("2024-01-04"), TradingDate.parse("2024-01-05")
    since, later = Timestamp.parse("2024-02-01T00:00:00Z"), Timestamp.parse("2024-02-02T00:00:00Z")
    index = {"2024-01-03": {"a": since}, str(withdrawn): {"b": since}, str(restored): {"c": later}, "2024-02-01": {}}
    moments = KnownMoments(index, {withdrawn: since, restored: since}.get)

    assert moments.current_dates(first, last) == {TradingDate.parse("2024-01-03"), restored}
