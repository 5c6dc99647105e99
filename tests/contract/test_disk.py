"""What every ``Disk`` does: each sequence of calls has the same results and the same errors on both."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from tempfile import mkdtemp
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.infrastructure.machine.disk import Disk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from tests.simulation.disk.failing import CALLS as CALLS_OF_A_DISK
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.traits import DiskTraits
from tests.support.examples import examples

NOW: Final = 2_000_000_000_000_000_000
LONG_AGO: Final = 100_000_000_000_000_000
"""Times before it were set by a test; those after it are of some clock."""
NAMES: Final = (
    *(
        "a",
        "b",
        "d",
        "d/a",
        "d/b",
        "d/e",
        "d/e/a",
        "nowhere/a",
        "a/b",
        "a/",
        "d/",
        "d/e/",
        "new/",
        "",
        ".",
        "..",
        "d/.",
    ),
    *(
        "d/..",
        "d/../a",
        "d/e/../../b",
        "link",
        "link/a",
        "link/",
        "folder_link",
        "folder_link/a",
        "folder_link/",
        "loop",
    ),
    *("loop/a", "n" * 256, "d/" + "n" * 256),
)
LINKS: Final = {"link": "a", "folder_link": "d", "loop": "loop", "d/up": "../b"}
FLAGS: Final = (
    *(os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_DIRECTORY, os.O_RDONLY | os.O_NOFOLLOW),
    *(os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    *(os.O_RDWR | os.O_APPEND | os.O_CREAT, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW),
    *(os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW),
)
LOCKS: Final = (fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN)

name, number, data = st.sampled_from(NAMES), st.integers(0, 3), st.binary(max_size=9)
offset, length = st.integers(-1, 12), st.integers(0, 12)
times = st.tuples(st.integers(0, LONG_AGO - 1), st.integers(0, LONG_AGO - 1))
CALLS: Final = st.one_of(
    st.tuples(st.just("open"), name, st.sampled_from(FLAGS)),
    st.tuples(st.just("open_at"), name, st.sampled_from(FLAGS), number),
    st.tuples(st.just("write"), number, data),
    st.tuples(st.just("pwrite"), number, data, offset),
    st.tuples(st.just("read"), number, length),
    st.tuples(st.just("pread"), number, length, offset),
    st.tuples(st.sampled_from(["close", "fsync", "fstat", "listdir_of", "scandir_of"]), number),
    st.tuples(st.just("flock"), number, st.sampled_from(LOCKS)),
    st.tuples(st.sampled_from(["stat", "lstat", "listdir", "scandir", "rmdir", "unlink", "opened", "mapped"]), name),
    st.tuples(st.just("mkdir"), name),
    st.tuples(st.sampled_from(["replace", "link", "exchange"]), name, name),
    st.tuples(st.just("utime"), name, times),
    st.tuples(st.just("utime_of"), number, times),
    st.tuples(st.just("chmod"), name, st.sampled_from([0o700, 0o755, 0o640, 0o666])),
)


class Driver:
    """Does calls on one disk below one folder, and tells what came of them without naming that folder."""

    def __init__(self, disk: Any, folder: str) -> None:
        self.disk, self.folder = disk, folder
        self.opened = list[int]()

    def does(self, call: tuple[Any, ...]) -> object:
        act: Callable[..., object] = getattr(self, f"_{call[0]}", None) or getattr(self.disk, call[0])
        try:
            return self._plain(act(*map(self._placed, call[1:])))
        except OSError as error:
            names = (error.filename, error.filename2)
            return type(error).__name__, error.errno, ["fd" if isinstance(n, int) else self._plain(n) for n in names]

    def seen(self, below: str = "") -> dict[str, object]:
        """Return all that is in the folder."""
        found = dict[str, object]()
        for each in sorted(self.disk.listdir(f"{self.folder}{below}")):
            path = f"{below}/{each}"
            status = self.disk.lstat(f"{self.folder}{path}")
            found[path] = self._plain(status)
            if stat.S_ISDIR(status.st_mode):
                found |= self.seen(path)
            if stat.S_ISREG(status.st_mode):
                found[path] = self._plain(status), self.disk.mapped(f"{self.folder}{path}").to_pybytes()
        return found

    def ends(self) -> None:
        for fd in self.opened:
            try:
                self.disk.close(fd)
            except OSError:  # closed already
                continue

    def _placed(self, value: Any) -> Any:
        return f"{self.folder}/{value}" if isinstance(value, str) and value else value

    def _open(self, path: str, flags: int) -> str:
        self.opened.append(self.disk.open(path, flags, 0o666))
        return "opened"

    def _open_at(self, path: str, flags: int, number: int) -> str:
        relative = path.removeprefix(f"{self.folder}/")
        self.opened.append(self.disk.open(relative, flags, 0o666, dir_fd=self._number(number)))
        return "opened"

    def _number(self, number: int) -> int:
        """Return one of the descriptors that were opened; a wrong one if there are fewer."""
        return self.opened[-1 - number] if number < len(self.opened) else 1_000_000_000

    def _write(self, number: int, content: bytes) -> object:
        return self.disk.write(self._number(number), content)

    def _pwrite(self, number: int, content: bytes, at: int) -> object:
        return self.disk.pwrite(self._number(number), content, at)

    def _read(self, number: int, size: int) -> object:
        return self.disk.read(self._number(number), size)

    def _pread(self, number: int, size: int, at: int) -> object:
        return self.disk.pread(self._number(number), size, at)

    def _close(self, number: int) -> None:
        fd = self._number(number)
        self.disk.close(fd)
        self.opened = [1_000_000_000 if each == fd else each for each in self.opened]  # the number may be used again

    def _fsync(self, number: int) -> None:
        self.disk.fsync(self._number(number))

    def _fstat(self, number: int) -> object:
        return self.disk.fstat(self._number(number))

    def _flock(self, number: int, operation: int) -> None:
        self.disk.flock(self._number(number), operation)

    def _listdir(self, path: str) -> list[str]:
        return sorted(self.disk.listdir(path))

    def _listdir_of(self, number: int) -> list[str]:
        return sorted(self.disk.listdir(self._number(number)))

    def _scandir(self, path: str) -> list[object]:
        return self._entries(path)

    def _scandir_of(self, number: int) -> list[object]:
        return self._entries(self._number(number))

    def _entries(self, where: str | int) -> list[object]:
        with self.disk.scandir(where) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        return [
            (
                *(entry.name, self._plain(entry.path), entry.is_symlink()),
                *(entry.is_dir(), entry.is_dir(follow_symlinks=False), entry.is_file()),
                *(entry.is_file(follow_symlinks=False), self._plain(entry.stat(follow_symlinks=False))),
            )
            for entry in entries
            if entry.name != "loop"  # to ask where it leads is an error
        ]

    def _opened(self, path: str) -> bytes:
        return bytes(self.disk.opened(path).read())

    def _mapped(self, path: str) -> bytes:
        return bytes(self.disk.mapped(path).to_pybytes())

    def _utime(self, path: str, ns: tuple[int, int]) -> None:
        self.disk.utime(path, ns=ns)

    def _utime_of(self, number: int, ns: tuple[int, int]) -> None:
        self.disk.utime(self._number(number), ns=ns)

    def _plain(self, value: Any) -> object:
        if isinstance(value, os.stat_result):
            is_file = stat.S_ISREG(value.st_mode)
            modified = value.st_mtime_ns if value.st_mtime_ns < LONG_AGO else "of a clock"
            return value.st_mode, is_file and value.st_size, is_file and value.st_nlink, modified
        return value.removeprefix(self.folder) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def quick_folder() -> Iterator[Path]:
    """A folder whose file system needs no time to sync, if this machine has one."""
    memory = Path("/dev/shm")
    folder = Path(mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def modelled() -> tuple[ModelledDisk, Driver]:
    disk = ModelledDisk(DiskTraits(), lambda: NOW, "seed")
    disk.umask = os.umask(0o022)
    os.umask(disk.umask)
    return disk, Driver(disk.outside, PLACE)


def real_one(quick_folder: Path) -> tuple[Driver, Path]:
    above = Path(mkdtemp(dir=quick_folder))
    above.chmod(0o755)
    below = above / PurePath(PLACE).name
    below.mkdir(mode=0o755)
    return Driver(REAL_DISK, str(below)), below


@given(calls=st.lists(CALLS, min_size=3, max_size=25))
@examples(1500)
def test_both_disks_answer_the_same(quick_folder: Path, calls: list[tuple[Any, ...]]) -> None:
    disk, model = modelled()
    real, below = real_one(quick_folder)
    for driver in (model, real):
        driver.does(("mkdir", "d"))
        driver.does(("open", "d/a", os.O_WRONLY | os.O_CREAT))
    for path, target in LINKS.items():
        disk.link_to(f"{PLACE}/{path}", target)
        (below / path).symlink_to(target)
    try:
        for call in calls:
            assert (call, model.does(call)) == (call, real.does(call))
        assert model.seen() == real.seen()
    finally:
        real.ends()


def test_a_lock_that_cannot_be_exchanged_for_one_of_the_other_kind_is_lost(quick_folder: Path) -> None:
    opened = ("open", "a", os.O_RDWR | os.O_CREAT)
    shared, alone = fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.LOCK_EX | fcntl.LOCK_NB
    calls = [opened, opened, ("flock", 0, shared), ("flock", 1, shared), ("flock", 0, alone), ("flock", 1, alone)]
    refused = ("BlockingIOError", errno.EAGAIN, [None, None])
    for driver in (modelled()[1], real_one(quick_folder)[0]):
        assert [driver.does(call) for call in calls] == ["opened", "opened", None, None, refused, None]
        assert driver.does(("flock", 0, shared)) == refused
        assert [driver.does(("close", 1)), driver.does(("flock", 0, shared))] == [None, None]
        driver.ends()


def test_the_modelled_disk_has_each_call_of_the_port() -> None:
    port: Disk = modelled()[0].outside
    calls = {each for each in vars(Disk) if not each.startswith("_")}
    assert calls == CALLS_OF_A_DISK | {"files_in"}  # which the model makes of two others
    assert {each for each in calls if not hasattr(port, each)} == set()
