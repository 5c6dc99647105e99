"""What the modelled disk has besides the calls of a real one: limits, a clock, damages, and those who watch it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections import Counter
from collections.abc import Callable

import pytest

from tests.simulation.disk.failing import CALLS, FailingProcess, Killed
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.disk.process_disk import SHORT_WRITE, ProcessDisk
from tests.simulation.story import Fault
from tests.simulation.traits import DiskTraits

DAY = f"{PLACE}/day"
NEW = os.O_WRONLY | os.O_CREAT


class Counting:
    """A process that counts its calls. ``returns`` is the fault of its next calls."""

    def __init__(self) -> None:
        self.dead, self.calls, self.targets, self.returns = False, Counter[str](), list[str](), None
        self.scheduler = self
        self.until: list[Callable[[], bool]] = []

    def call(self, kind: str, target: str = "") -> object:
        self.calls[kind] += 1
        self.targets.append(target)
        return self.returns

    def block(self, until: Callable[[], bool]) -> None:
        self.until.append(until)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_001

    def __call__(self) -> int:
        return self.now


def new_disk(**traits: object) -> ModelledDisk:
    return ModelledDisk(DiskTraits(**traits), Clock(), "seed")  # type: ignore[arg-type]


def write(disk: ProcessDisk, path: str = DAY, content: bytes = b"content") -> int:
    fd = disk.open(path, NEW, 0o666)
    try:
        return disk.write(fd, content)
    finally:
        disk.close(fd)


def code_of(act: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as error:
        act()
    return error.value.errno


def test_a_full_disk_takes_the_beginning_of_a_write_and_then_none() -> None:
    disk = new_disk()
    disk.space = 4
    fd = disk.outside.open(DAY, NEW)
    assert disk.outside.write(fd, b"content") == 4
    assert code_of(lambda: disk.outside.write(fd, b"ent")) == errno.ENOSPC
    assert disk.files() == {DAY: b"cont"}


def test_what_is_removed_is_free_again_when_nobody_has_it_open() -> None:
    disk = new_disk()
    disk.space, disk.inodes = 7, 1
    fd = disk.outside.open(DAY, NEW)
    disk.outside.write(fd, b"content")
    disk.outside.unlink(DAY)
    assert (disk.space, disk.inodes) == (0, 0)
    disk.outside.close(fd)
    assert (disk.space, disk.inodes) == (7, 1)


def test_a_write_over_what_is_there_needs_no_space() -> None:
    disk = new_disk()
    write(disk.outside)
    disk.space = 0
    fd = disk.outside.open(DAY, os.O_WRONLY)
    assert disk.outside.pwrite(fd, b"CON", 0) == 3


def test_a_disk_without_inodes_makes_neither_files_nor_folders_but_gives_files_other_names() -> None:
    disk = new_disk()
    write(disk.outside)
    disk.inodes = 0
    assert code_of(lambda: write(disk.outside, f"{PLACE}/other")) == errno.ENOSPC
    assert code_of(lambda: disk.outside.mkdir(f"{PLACE}/folder")) == errno.ENOSPC
    disk.outside.link(DAY, f"{PLACE}/second")
    disk.outside.replace(DAY, f"{PLACE}/third")
    assert sorted(disk.outside.listdir(PLACE)) == ["second", "third"]


def test_a_read_only_disk_refuses_each_change_and_answers_each_question() -> None:
    disk = new_disk()
    write(disk.outside)
    unsynced = disk.outside.open(DAY, os.O_RDWR)
    disk.read_only = True
    changes: list[Callable[[], object]] = [
        lambda: disk.outside.open(DAY, os.O_RDWR),
        lambda: disk.outside.open(f"{PLACE}/new", NEW),
        lambda: disk.outside.write(unsynced, b"x"),
        lambda: disk.outside.fsync(unsynced),
        lambda: disk.outside.mkdir(f"{PLACE}/folder"),
        lambda: disk.outside.unlink(DAY),
        lambda: disk.outside.rmdir(f"{PLACE}/folder"),
        lambda: disk.outside.replace(DAY, f"{PLACE}/new"),
        lambda: disk.outside.link(DAY, f"{PLACE}/new"),
        lambda: disk.outside.exchange(DAY, f"{PLACE}/new"),
        lambda: disk.outside.utime(DAY, ns=(1, 1)),
        lambda: disk.outside.chmod(DAY, 0o600),
        lambda: disk.outside.chown(DAY, -1, -1),
    ]
    assert {code_of(change) for change in changes} == {errno.EROFS}
    assert disk.outside.pread(disk.outside.open(DAY, os.O_RDONLY), 9, 0) == b"content"
    assert disk.outside.stat(DAY).st_size == 7


def test_a_disk_without_links_and_exchanges_says_so() -> None:
    disk = new_disk(has_links=False, can_exchange=False)
    for name in ("one", "other"):
        write(disk.outside, f"{PLACE}/{name}")
    pair = f"{PLACE}/one", f"{PLACE}/other"
    assert code_of(lambda: disk.outside.link(pair[0], DAY)) == errno.EPERM
    assert code_of(lambda: disk.outside.exchange(*pair)) == errno.EINVAL


@pytest.mark.parametrize(("step", "kept"), [(1, 5_000_000_123), (1_000, 5_000_000_000), (2_000_000_000, 4_000_000_000)])
def test_a_coarse_clock_cuts_the_times_that_are_set_and_those_of_writes(step: int, kept: int) -> None:
    disk = new_disk(step_ns=step)
    write(disk.outside)
    assert disk.outside.stat(DAY).st_mtime_ns == 1_000_000_001 // step * step
    disk.outside.utime(DAY, ns=(0, 5_000_000_123))
    assert disk.outside.stat(DAY).st_mtime_ns == kept


@pytest.mark.parametrize(("step", "kept"), [(1, 7), (0, 1_000_000_001)])
def test_a_copy_has_other_numbers_and_no_old_times_if_the_disk_keeps_none(step: int, kept: int) -> None:
    disk = new_disk(step_ns=step)
    write(disk.outside)
    disk.outside.utime(DAY, ns=(7, 7))
    before = disk.outside.stat(DAY).st_ino
    disk.restore_from_copy()
    after = disk.outside.stat(DAY)
    assert (after.st_mtime_ns, after.st_ino != before, disk.unsynced()) == (kept, True, [])


def test_the_first_write_to_each_descriptor_may_be_short() -> None:
    disk = new_disk(short_writes=True)
    fd = disk.outside.open(DAY, NEW)
    assert [disk.outside.write(fd, b"content"), disk.outside.write(fd, b"tent")] == [3, 4]
    assert disk.files() == {DAY: b"content"}


def test_a_fault_makes_one_write_short() -> None:
    disk, process = new_disk(), Counting()
    own = disk.of(process)
    fd = own.open(DAY, NEW)
    process.returns = Fault(SHORT_WRITE, "write", 1)
    assert own.write(fd, b"content") == 3


@pytest.mark.parametrize("listing", ["sorted", "reversed", "shuffled"])
def test_a_listing_has_the_order_that_was_drawn(listing: str) -> None:
    disk = new_disk(listing=listing)
    names = list("abcdefgh")
    for name in names:
        write(disk.outside, f"{PLACE}/{name}")
    found = disk.outside.listdir(PLACE)
    assert sorted(found) == names
    assert (found == names, found == names[::-1]) == (listing == "sorted", listing == "reversed")
    with disk.outside.scandir(PLACE) as entries:
        assert [entry.name for entry in entries] == found


def test_a_bit_that_rots_is_wrong_after_a_power_loss_too_and_no_time_tells() -> None:
    disk = new_disk()
    write(disk.outside)
    disk.sync_all()
    before = disk.outside.stat(DAY)
    disk.rot(DAY, 8 * 3 + 1)
    assert disk.files() == {DAY: b"convent"}
    assert disk.outside.stat(DAY) == before
    assert disk.unsynced() == []


def test_those_who_watch_are_told_each_name_that_appears_changes_and_goes() -> None:
    disk = new_disk()
    told = list[tuple[str, str, bytes | None]]()
    disk.watch(lambda *seen: told.append(seen))
    disk.outside.mkdir(f"{PLACE}/a")
    write(disk.outside, f"{PLACE}/a/day", b"1")
    disk.outside.replace(f"{PLACE}/a", f"{PLACE}/b")
    disk.outside.link(f"{PLACE}/b/day", DAY)
    disk.outside.unlink(f"{PLACE}/b/day")
    disk.outside.utime(DAY, ns=(1, 1))
    assert [(what, path.removeprefix(PLACE), content) for what, path, content in told] == [
        ("appears", "/a/day", b""),
        ("changes", "/a/day", b"1"),
        ("goes", "/a/day", None),
        ("appears", "/b/day", b"1"),
        ("appears", "/day", b"1"),
        ("goes", "/b/day", None),
    ]


def test_those_who_watch_see_an_exchange_as_one_change_of_each_file() -> None:
    disk = new_disk()
    for folder in ("old", "new"):
        disk.outside.mkdir(f"{PLACE}/{folder}")
        write(disk.outside, f"{PLACE}/{folder}/day", folder.encode())
    write(disk.outside, f"{PLACE}/new/only", b"here")
    told = list[tuple[str, str, bytes | None]]()
    disk.watch(lambda *seen: told.append(seen))
    disk.outside.exchange(f"{PLACE}/old", f"{PLACE}/new")
    assert [(what, path.removeprefix(PLACE), content) for what, path, content in told] == [
        ("changes", "/new/day", b"old"),
        ("goes", "/new/only", None),
        ("changes", "/old/day", b"new"),
        ("appears", "/old/only", b"here"),
    ]


def test_a_lock_keeps_others_out_until_its_holder_ends() -> None:
    disk, holder, other = new_disk(), Counting(), Counting()
    write(disk.outside)
    disk.of(holder).flock(disk.of(holder).open(DAY, os.O_RDONLY), fcntl.LOCK_EX)
    fd = disk.of(other).open(DAY, os.O_RDONLY)
    assert code_of(lambda: disk.of(other).flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)) == errno.EAGAIN
    disk.of(other).flock(fd, fcntl.LOCK_SH)
    assert [until() for until in other.until] == [False]
    disk.end(holder)
    assert [until() for until in other.until] == [True]


def refused(act: Callable[[], object]) -> None:
    """The model has no extended attributes."""
    assert code_of(act) == errno.ENOTSUP


def test_each_call_begins_with_a_call_of_the_process() -> None:
    disk, process = new_disk(), Counting()
    own = disk.of(process)
    fd = own.open(DAY, os.O_RDWR | os.O_CREAT)
    acts: dict[str, Callable[[], object]] = {
        **{name: lambda name=name: getattr(own, name)(fd) for name in ("fsync", "fstat", "begin_to_store")},
        **{name: lambda name=name: getattr(own, name)(DAY) for name in ("stat", "lstat", "opened", "mapped")},
        **{name: lambda name=name: getattr(own, name)(PLACE) for name in ("listdir", "scandir")},
        "write": lambda: own.write(fd, b"abc"),
        "pwrite": lambda: own.pwrite(fd, b"abc", 0),
        "read": lambda: own.read(fd, 1),
        "pread": lambda: own.pread(fd, 1, 0),
        "utime": lambda: own.utime(DAY, ns=(1, 1)),
        "chmod": lambda: own.chmod(DAY, 0o600),
        "chown": lambda: own.chown(DAY, -1, -1),
        "flock": lambda: own.flock(fd, fcntl.LOCK_SH),
        "mkdir": lambda: own.mkdir(f"{PLACE}/f"),
        "rmdir": lambda: own.rmdir(f"{PLACE}/f"),
        "link": lambda: own.link(DAY, f"{DAY}2"),
        "exchange": lambda: own.exchange(DAY, f"{DAY}2"),
        "replace": lambda: own.replace(f"{DAY}2", f"{DAY}3"),
        "getxattr": lambda: refused(lambda: own.getxattr(PLACE, "a")),
        "setxattr": lambda: refused(lambda: own.setxattr(PLACE, "a", b"")),
        "removexattr": lambda: refused(lambda: own.removexattr(PLACE, "a")),
        "unlink": lambda: own.unlink(DAY),
        "close": lambda: own.close(fd),
    }
    for act in acts.values():
        act()
    assert process.calls == Counter({"open": 1, **dict.fromkeys(acts, 1)})
    assert {"open", *acts} == CALLS
    assert all(target.startswith(PLACE) for target in process.targets)


def test_a_dead_process_closes_nothing_and_no_error_comes_of_it() -> None:
    disk, process = new_disk(), Counting()
    fd = disk.of(process).open(DAY, NEW)
    process.dead = True
    disk.of(process).close(fd)
    assert process.calls["close"] == 0


def test_a_process_that_begins_anew_has_no_descriptor_of_the_former_one() -> None:
    disk, process = new_disk(), Counting()
    fd = disk.of(process).open(DAY, NEW)
    disk.end(process)
    assert code_of(lambda: disk.of(process).fstat(fd)) == errno.EBADF


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failing_process_fails_at_one_call_and_its_next_call_works(code: int) -> None:
    disk, process = new_disk(), FailingProcess({}, at=2, code=code)
    assert code_of(lambda: write(disk.of(process))) == code
    assert write(disk.of(process)) == 7
    assert (disk.files(), process.count) == ({DAY: b"content"}, 6)


def test_a_close_that_fails_has_closed() -> None:
    disk = new_disk()
    disk.space, disk.inodes = 100, 1
    assert code_of(lambda: write(disk.of(FailingProcess({}, at=3, code=errno.EIO)))) == errno.EIO
    disk.outside.unlink(DAY)
    assert (disk.space, disk.inodes) == (100, 1)


def test_a_process_that_dies_at_a_call_reaches_nothing_any_more() -> None:
    disk, living = new_disk(), dict[int, int]()
    process = FailingProcess(living, at=2)
    own = disk.of(process)
    with pytest.raises(Killed):
        write(own)
    with pytest.raises(Killed):
        own.stat(DAY)
    assert (disk.files(), process.count, living) == ({DAY: b""}, 2, {})


def test_a_pipe_is_waited_for_for_ever_unless_it_is_opened_without_waiting() -> None:
    disk, waiting = new_disk(), Counting()
    disk.pipe_at(DAY)
    own = disk.of(waiting)
    own.fstat(own.open(DAY, os.O_RDONLY | os.O_NONBLOCK))
    assert waiting.until == []
    own.open(DAY, os.O_RDONLY)
    assert [until() for until in waiting.until] == [False]
    assert disk.files() == {}
