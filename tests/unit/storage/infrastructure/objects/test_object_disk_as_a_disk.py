"""A disk of objects answers as the file system, but for links, rights and files that change while they are open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.infrastructure.machine.disk import make_folders, read_bytes, walk
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from tests.contract.test_disk import LONG_AGO, Driver, quick_folder
from tests.support.examples import examples
from tests.support.object_disks import STORE, ObjectsInMemory

__all__ = ["quick_folder"]

NAMES = (
    *("a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b", "nowhere/a", "a/b"),
    *(".t", ".t/a", "d/.t", "d/.t/a"),
)
READS = ("stat", "lstat", "listdir", "scandir", "rmdir", "unlink", "opened", "mapped", "contents", "read")
LINES = st.sampled_from([b"one\n", b"another\n"])
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

name = st.sampled_from(NAMES)
data = st.sampled_from([b"", b"1\n", b"12345\n", bytes(range(9)) + b"\n"])  # a last line without an end gets one here
CALLS = st.one_of(
    st.tuples(st.just("put"), name, data, st.sampled_from([os.O_TRUNC, 0, os.O_EXCL])),
    st.tuples(st.just("put"), name, data, st.just(os.O_TRUNC)),
    st.tuples(st.just("appended_to"), name, LINES, st.sampled_from([0, os.O_CREAT])),
    st.tuples(st.sampled_from(READS), name),
    st.tuples(st.just("mkdir"), name),
    st.tuples(st.sampled_from(["replace", "replace", "exchange"]), name, name),
    st.tuples(st.just("utime"), name, st.tuples(st.integers(0, LONG_AGO - 1), st.integers(0, LONG_AGO - 1))),
)


class FileDriver(Driver):
    """Writes and reads files as a whole, so that none is open while another call is made."""

    def does(self, call: tuple[Any, ...]) -> object:
        found = super().does(call)
        if not (isinstance(found, tuple) and str(found[0]).endswith("Error")):
            return found
        return found[:2] if call[0] not in ("opened", "mapped") else found[0] == "FileNotFoundError"  # Arrow's differ

    def _plain(self, value: Any) -> object:
        """A folder has no time here."""
        if isinstance(value, os.stat_result) and not value.st_mode & 0o100000:
            return "a folder"
        return super()._plain(value)

    def _put(self, path: str, content: bytes, flags: int) -> object:
        return self._with(path, os.O_WRONLY | os.O_CREAT | flags, lambda fd: self.disk.write(fd, content))

    def _appended_to(self, path: str, lines: bytes, flags: int) -> object:
        return self._with(path, os.O_RDWR | os.O_APPEND | flags, lambda fd: self.disk.write(fd, lines))

    def _read(self, path: str, *_: int) -> object:
        return self._with(path, os.O_RDONLY, lambda fd: (self._plain(self.disk.fstat(fd)), self.disk.pread(fd, 9, 2)))

    def _contents(self, path: str) -> object:
        """By the descriptor of the folder, as days are read."""

        def contents(folder: int) -> object:
            found = []
            for each in sorted(self.disk.listdir(folder)):
                opened = self.disk.open(each, os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
                status = self._plain(self.disk.stat(each, dir_fd=folder))
                is_folder = self.disk.fstat(opened).st_mode & 0o40000
                found.append((each, status, None if is_folder else self.disk.read(opened, 99)))
                self.disk.close(opened)
            return found

        return self._with(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, contents)

    def _with(self, path: str, flags: int, use: Callable[[int], object]) -> object:
        opened = self.disk.open(path, flags, 0o666)
        try:
            return use(opened)
        finally:
            self.disk.close(opened)


@given(calls=st.lists(CALLS, min_size=3, max_size=25))
@examples(1500)
def test_a_disk_of_objects_answers_as_the_file_system(quick_folder: Path, calls: list[tuple[Any, ...]]) -> None:
    real_folder = mkdtemp(dir=quick_folder)
    still = evolve(HERE, monotonic=lambda: 0.0)  # a folder without files is there for a second, however long that takes
    here, real = FileDriver(ObjectsInMemory().disk(still), STORE), FileDriver(REAL_DISK, real_folder)
    make_folders(here.disk, STORE)
    for call in [("mkdir", "d"), ("put", "d/a", b"12345\n", 0), *calls]:
        assert (call, here.does(call)) == (call, real.does(call))
    assert here.seen() == real.seen()


def test_what_is_published_is_seen_by_all_processes_and_temporary_files_by_none() -> None:
    objects = ObjectsInMemory()
    one, other = objects.disk(), objects.disk()
    make_folders(one, f"{STORE}/symbol=A/year=2024/month=01")
    path = f"{STORE}/symbol=A/year=2024/month=01/day=02.parquet"
    temporary = path.replace("day", ".day") + ".tmp"
    opened = one.open(temporary, NEW_FILE, 0o666)
    one.write(opened, b"bars")
    one.utime(opened, ns=(5, 5))
    one.fsync(opened)

    assert [*walk(other, STORE)] == []
    assert objects.store.objects == {}

    one.close(opened)
    one.replace(temporary, path)

    assert (read_bytes(other, path), other.stat(path).st_mtime_ns) == (b"bars", 5)
    assert [names for _, _, names in walk(other, STORE)][-1] == ["day=02.parquet"]
    assert one.listdir(os.path.dirname(path)) == ["day=02.parquet"]
