from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.infrastructure.publishing.durable_files import TOGETHER_BYTES, DurableFiles
from tests.support.child_processes import start
from tests.support.store_on_disk import tree
from tests.support.system_calls import SystemCalls

OLD, NEW = b"old" * 50, b"new" * 50
LARGE = NEW * (TOGETHER_BYTES // len(NEW) + 1)
"""So large that it is handed on alone."""
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be seen on this system")


@contextmanager
def full_disk(after: int) -> Iterator[None]:
    """Writing more than so many bytes to a file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def dead_process() -> int:
    process = start([sys.executable, "-S", "-c", ""], outlives_test=True)
    process.communicate()
    return process.pid


def test_files_are_published_with_the_folders_they_need(tmp_path: Path) -> None:
    DurableFiles().publish({tmp_path / "a" / "b" / "x": OLD, tmp_path / "a" / "y": NEW})

    assert tree(tmp_path) == {"a/b/x": OLD, "a/y": NEW}


def test_publishing_nothing_does_nothing(tmp_path: Path) -> None:
    DurableFiles().publish({})

    assert tree(tmp_path) == {}


@ON_LINUX
def test_every_file_is_synced_whole_before_any_is_renamed_and_the_folder_after(tmp_path: Path) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "a" / "x": OLD, tmp_path / "b" / "y": OLD})

    with SystemCalls(tmp_path) as seen:
        files.publish({tmp_path / "a" / "x": NEW, tmp_path / "b" / "y": NEW})

    steps = [(call.name, call.target) for call in seen.calls if call.name in ("fsync", "replace")]
    assert [name for name, _ in steps] == ["fsync"] * 2 + ["replace"] * 2 + ["fsync"] * 2
    assert [Path(str(target)).parent.name for _, target in steps[:2]] == ["a", "b"]
    assert [call.size for call in seen.calls if call.name == "fsync"][:2] == [len(NEW), len(NEW)]
    assert {target for _, target in steps[4:]} == {"a", "b"}


@ON_LINUX
def test_no_reader_ever_sees_half_a_file(tmp_path: Path) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "a" / "x": OLD})

    with SystemCalls(tmp_path) as seen:
        files.publish({tmp_path / "a" / "x": NEW, tmp_path / "a" / "y": NEW})

    assert [call.files["a/x"] for call in seen.calls if call.name == "replace"] == [OLD, NEW]
    assert {content for call in seen.calls for content in call.files.values()} == {OLD, NEW}


@ON_LINUX
def test_every_new_folder_is_synced_into_the_one_above_it(tmp_path: Path) -> None:
    with SystemCalls(tmp_path) as seen:
        DurableFiles().publish({tmp_path / "a" / "b" / "x": NEW})

    names = [call.name for call in seen.calls if call.name in ("fsync", "replace")]
    synced = [call.target for call in seen.calls if call.name == "fsync"][1:]
    assert names == [*["fsync"] * 3, "replace", "fsync"]
    assert (set(synced[:2]), synced[2:]) == ({".", "a"}, ["a/b"])


@ON_LINUX
def test_a_folder_that_another_process_made_is_synced_into_the_ones_above_it_unless_it_has_a_file(
    tmp_path: Path,
) -> None:
    root = tmp_path / "store"
    (root / "a" / "b").mkdir(parents=True)
    for above in ({".", "store", "store/a"}, set[str]()):
        with SystemCalls(tmp_path) as seen:
            DurableFiles(roots=[root]).publish({root / "a" / "b" / "x": NEW})
        synced = [call.target for call in seen.calls if call.name == "fsync"][1:]
        assert {str(each) for each in synced} == {*above, "store/a/b"}


def test_a_given_modification_time_is_set(tmp_path: Path) -> None:
    DurableFiles().publish({tmp_path / "x": NEW}, modified_ns=1_700_000_000_123_456_789)

    assert (tmp_path / "x").stat().st_mtime_ns == 1_700_000_000_123_456_789


def test_each_file_may_have_a_modification_time_of_its_own(tmp_path: Path) -> None:
    one, other, neither = (tmp_path / name for name in "xyz")

    with DurableFiles().group() as group:
        group.add(one, NEW, modified_ns=1_000)
        group.add(other, NEW, modified_ns=2_000)
        group.add(neither, NEW)

    assert group.modified_ns == {path: path.stat().st_mtime_ns for path in (one, other, neither)}
    assert (one.stat().st_mtime_ns, other.stat().st_mtime_ns) == (1_000, 2_000)
    assert neither.stat().st_mtime_ns > 2_000


def test_a_given_modification_time_is_synced_with_the_file(tmp_path: Path) -> None:
    def see(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ == "fsync":
            seen.extend(path.stat().st_mtime_ns for path in tmp_path.glob("*.tmp"))

    seen: list[int] = []
    sys.setprofile(see)
    DurableFiles().publish({tmp_path / "x": NEW}, modified_ns=1_000)
    sys.setprofile(None)

    assert seen == [1_000]


def test_removing_is_content_with_a_file_that_is_gone(tmp_path: Path) -> None:
    DurableFiles().publish({tmp_path / "x": NEW})

    for _ in range(2):
        DurableFiles().remove(tmp_path / "x")

    assert tree(tmp_path) == {}


def test_a_full_disk_leaves_the_old_files_and_no_temporary_one(tmp_path: Path) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "x": OLD, tmp_path / "y": OLD})

    with full_disk(after=200), pytest.raises(StorageError, match=rf"cannot write {tmp_path}"):
        files.publish({tmp_path / "x": NEW, tmp_path / "y": NEW * 10})

    assert tree(tmp_path) == {"x": OLD, "y": OLD}


class _Together(ThreadPoolExecutor):
    """Lets nobody begin before ``number`` want to: whoever does one after the other waits for ever."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._all_here = threading.Barrier(number)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        def begin_together() -> Any:
            self._all_here.wait(60)
            return fn(*args, **kwargs)

        return super().submit(begin_together)


def test_the_files_of_a_group_wait_for_the_disk_together(tmp_path: Path) -> None:
    contents = {tmp_path / name / "x": NEW for name in "abcd"}
    DurableFiles().publish(contents)  # their folders are there: four files to sync, then four folders

    with _Together(4) as at_once:
        DurableFiles(at_once).publish(dict.fromkeys(contents, LARGE))

    assert tree(tmp_path) == {f"{name}/x": LARGE for name in "abcd"}


@ON_LINUX
def test_no_file_stays_open(tmp_path: Path) -> None:
    def still_open() -> list[Path]:
        opened = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return [path for path in opened if tmp_path in path.parents]

    with full_disk(after=200), pytest.raises(StorageError):
        DurableFiles().publish({tmp_path / "x": NEW, tmp_path / "y": NEW * 10})
    DurableFiles().publish({tmp_path / name: NEW for name in "abcd"})

    assert still_open() == []


@ON_LINUX
def test_the_disk_is_told_of_all_small_files_before_the_first_sync_is_waited_for(tmp_path: Path) -> None:
    contents = {tmp_path / name: NEW for name in "abcd"}

    with SystemCalls(tmp_path, {"write", "posix_fadvise", "fsync"}) as seen:
        DurableFiles().publish(contents)

    assert seen.names() == 4 * ["write"] + 4 * ["posix_fadvise"] + (4 + 1) * ["fsync"]


@ON_LINUX
def test_small_files_are_all_written_before_the_first_of_them_is_synced(tmp_path: Path) -> None:
    contents = {tmp_path / name: NEW for name in "abcd"}

    with SystemCalls(tmp_path) as seen:
        DurableFiles().publish(contents)

    assert tree(tmp_path) == dict.fromkeys("abcd", NEW)
    assert [name for name in seen.names() if name in ("write", "fsync")] == ["write"] * 4 + ["fsync"] * 5


def test_a_file_waits_for_the_disk_while_the_next_one_is_made(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as at_once, DurableFiles(at_once).group() as group:
        group.add(tmp_path / "x", LARGE)
        while not list(tmp_path.glob(".x.*.tmp")):
            time.sleep(0.001)
        group.add(tmp_path / "y", NEW)
        assert not (tmp_path / "x").exists()

    assert tree(tmp_path) == {"x": LARGE, "y": NEW}


def test_a_group_that_ends_in_an_error_publishes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    DurableFiles().publish({tmp_path / "x": OLD})

    def fail() -> None:
        with ThreadPoolExecutor(2) as at_once, DurableFiles(at_once).group() as group:
            group.add(tmp_path / "x", NEW)
            group.add(tmp_path / "y", NEW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert tree(tmp_path) == {"x": OLD}


@ON_LINUX
def test_a_thread_that_finds_a_folder_only_just_made_syncs_it_too(tmp_path: Path) -> None:
    """The thread that made it may die before it does."""
    files = DurableFiles()

    with files.group() as first:
        first.add(tmp_path / "a" / "b" / "x", NEW)
        with SystemCalls(tmp_path) as seen:
            files.publish({tmp_path / "a" / "b" / "y": NEW})
    with SystemCalls(tmp_path) as seen_later:
        files.publish({tmp_path / "a" / "b" / "y": OLD})

    assert {call.target for call in seen.calls if call.name == "fsync"} >= {".", "a", "a/b"}
    assert {call.target for call in seen_later.calls if call.name == "fsync"}.isdisjoint({".", "a"})


def test_where_one_of_a_group_fails_none_is_published_and_nothing_is_left(tmp_path: Path) -> None:
    contents = {tmp_path / name: LARGE * (2 if name == "b" else 1) for name in "abcd"}

    with full_disk(after=len(LARGE)), _Together(4) as at_once, pytest.raises(StorageError, match="cannot write"):
        DurableFiles(at_once).publish(contents)

    assert tree(tmp_path) == {}


def test_a_name_that_the_file_system_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="name too long"):
        DurableFiles().publish({tmp_path / "x": NEW, tmp_path / ("y" * 250): NEW})

    assert tree(tmp_path) == {}


def test_a_folder_in_the_place_of_a_file_leaves_no_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()

    with pytest.raises(
        StorageError, match=f"cannot write {tmp_path}/x: Is a directory.*; move away what is in its place$"
    ):
        DurableFiles().publish({tmp_path / "x": NEW})

    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_in_the_place_of_a_folder_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "symbol=AAPL").write_bytes(OLD)

    with pytest.raises(StorageError, match="symbol=AAPL"):
        DurableFiles().publish({tmp_path / "other": NEW, tmp_path / "symbol=AAPL" / "year=2024" / "x": NEW})

    assert tree(tmp_path) == {"symbol=AAPL": OLD}


def test_temporary_files_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path, dead_process: int) -> None:
    for leftover in (f".x.{dead_process}-1.tmp", ".x.1-1.tmp", f".day=02.parquet.{dead_process}-140581385419648.tmp"):
        (tmp_path / leftover).write_bytes(b"half")

    DurableFiles().publish({tmp_path / "x": NEW})

    assert tree(tmp_path) == {".x.1-1.tmp": b"half", "x": NEW}


@pytest.mark.parametrize(
    "foreign",
    [
        ".syncthing.day=02.parquet.tmp",
        ".backup.20240101123456789012345.tmp",
        ".x.0-1.tmp",
        ".x.\N{SUPERSCRIPT TWO}-1.tmp",
        ".tmp",
        "x.tmp",
    ],
)
def test_temporary_files_of_other_programs_stay(tmp_path: Path, foreign: str) -> None:
    (tmp_path / foreign).write_bytes(OLD)

    DurableFiles().publish({tmp_path / "x": NEW})

    assert tree(tmp_path) == {foreign: OLD, "x": NEW}


def test_a_folder_that_was_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "a" / "x": OLD})
    (tmp_path / "a" / "x").unlink()
    (tmp_path / "a").rmdir()

    files.publish({tmp_path / "a" / "x": NEW})

    assert tree(tmp_path) == {"a/x": NEW}


def test_threads_may_publish_the_same_file_at_once(tmp_path: Path) -> None:
    files, contents = DurableFiles(), [bytes([number]) * 5000 for number in range(4)]

    def publish(content: bytes) -> None:
        for _ in range(5):
            files.publish({tmp_path / "a" / "x": content})

    threads = [threading.Thread(target=publish, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(tree(tmp_path)) == ["a/x"]
    assert (tmp_path / "a" / "x").read_bytes() in contents


def test_below_the_roots_of_a_store_no_link_is_followed(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (root, elsewhere):
        folder.mkdir()
    (root / "symbol=AAPL").symlink_to(elsewhere)

    with pytest.raises(StorageError, match=r"cannot write .*symbol=AAPL: it is a link"):
        DurableFiles(roots=[root]).publish({root / "symbol=AAPL" / "day": b"bars"})
    assert list(elsewhere.iterdir()) == []


def test_a_file_has_the_latest_time_there_is_if_all_are_taken(tmp_path: Path) -> None:
    moment = 1_700_000_000_000_000_000
    taken = [moment // 1000 + seconds * 1_000_000 for seconds in (0, 2, 4)]

    with DurableFiles().group() as group:
        group.add(tmp_path / "day", b"bars", moment, taken)

    assert (tmp_path / "day").stat().st_mtime_ns == moment + 4_000_000_000


def test_a_pipe_takes_no_lines(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index")

    with pytest.raises(StorageError, match=r"it is not a file\. Nothing was lost; move away what is in its place"):
        append_a_line(tmp_path / "index")


def append_a_line(path: Path) -> None:
    with DurableFiles().group() as group:
        group.append(path, b"1\n", lambda: b"")


def test_a_pipe_in_the_place_of_a_folder_is_not_synced_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "folder")

    with pytest.raises(StorageError, match="Not a directory"):
        DurableFiles().confirm([tmp_path / "folder" / "x"])
