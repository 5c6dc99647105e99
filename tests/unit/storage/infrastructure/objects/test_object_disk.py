from __future__ import annotations

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StoreUnreachableError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.disk import (
    Disk,
    exists,
    is_folder,
    make_folders,
    matching,
    read_bytes,
    remove_tree,
)
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.infrastructure.objects.object_disk import ObjectDisk
from marketpipe.storage.infrastructure.objects.object_store import StoredObject
from marketpipe.storage.infrastructure.objects.packs import index_of
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.object_disks import NOW, STORE, ObjectsInMemory

MONTH = f"{STORE}/symbol=A/year=2024/month=01"
ONE, OTHER = f"{MONTH}/day=02.parquet", f"{MONTH}/day=03.parquet"


def put(disk: Disk, path: str, content: bytes) -> None:
    make_folders(disk, os.path.dirname(path))
    opened = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    disk.write(opened, content)
    disk.close(opened)


@pytest.fixture
def objects() -> ObjectsInMemory:
    made = ObjectsInMemory()
    disk = made.disk()
    put(disk, ONE, b"the first day")
    put(disk, OTHER, b"the second day")
    made.store.requests.clear()
    return made


@pytest.fixture
def disk(objects: ObjectsInMemory) -> ObjectDisk:
    return objects.disk()


def test_to_list_and_to_examine_costs_no_request(objects: ObjectsInMemory, disk: ObjectDisk) -> None:
    assert sorted(disk.files_in(MONTH)) == [("day=02.parquet", 13, NOW), ("day=03.parquet", 14, NOW)]
    assert disk.stat(ONE).st_size == 13
    assert [str(path) for path in matching(disk, Path(STORE), "symbol=*/year=*/month=*/day=02.*")] == [ONE]
    opened = disk.open(ONE, os.O_RDONLY)
    assert disk.fstat(opened).st_mtime_ns == NOW
    disk.close(opened)

    assert objects.store.requests == {}


def test_to_examine_is_one_question_and_folders_are_remembered_for_a_second(objects: ObjectsInMemory) -> None:
    now = [0.0]
    disk, calls = objects.disk(evolve(HERE, monotonic=lambda: now[0])), objects.catalog.calls  # type: ignore[attr-defined]
    calls.clear()
    for path, count in ((ONE, 1), (f"{MONTH}/day=09.parquet", 2), (MONTH, 0), (f"{STORE}/symbol=B/year=2024", 2)):
        exists(disk, path)
        assert (path, calls.total()) == (path, count)
        calls.clear()

    for path in (ONE, OTHER):
        objects.disk().unlink(path)
    assert exists(disk, MONTH)
    now[0] += 2
    assert not exists(disk, MONTH)
    assert not exists(disk, ONE)


def test_a_file_is_read_with_one_request_however_it_is_read(objects: ObjectsInMemory, disk: ObjectDisk) -> None:
    opened = disk.open(ONE, os.O_RDONLY)
    assert disk.read(opened, 3) + disk.read(opened, 99) == b"the first day"
    assert (disk.pread(opened, 5, 4), disk.read(opened, 1)) == (b"first", b"")
    disk.close(opened)
    assert disk.opened(ONE).read() == disk.mapped(ONE).to_pybytes() == b"the first day"

    assert objects.store.requests == {"get": 1}


def test_the_end_of_a_month_file_is_known_without_a_request(objects: ObjectsInMemory) -> None:
    content, path = os.urandom(10_000), f"{MONTH}/days.parquet"
    put(objects.disk(), path, content)
    objects.store.requests.clear()
    disk = objects.disk()
    opened = disk.open(path, os.O_RDONLY)

    assert disk.pread(opened, 4096, 10_000 - 4096) == content[-4096:]
    assert [disk.pread(opened, 10, 9_980), disk.pread(opened, 99, 9_980)] == [content[-20:-10], content[-20:]]
    assert disk.pread(opened, 10, 10_001) == b""
    assert objects.store.requests == {}

    assert disk.pread(opened, 4097, 10_000 - 4097) == content[-4097:]
    assert disk.pread(opened, 4096, 10_000 - 4096) == content[-4096:]
    assert objects.store.requests == {"get": 1}

    put(objects.disk(), path, content[::-1])  # at the same moment by the clock, so that only its time tells them apart
    objects.disk().utime(path, ns=(5, 5))
    assert disk.pread(disk.open(path, os.O_RDONLY), 4096, 10_000 - 4096) == content[::-1][-4096:]
    disk.unlink(path)
    assert not objects.catalog.has_any("ends")


def test_an_open_folder_is_a_snapshot_whose_files_stay_readable(objects: ObjectsInMemory, disk: ObjectDisk) -> None:
    folder = disk.open(MONTH, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    compacted = PlacedFile("data/symbol=A/year=2024/month=01/days.parquet", "objects/month", 0, 5, 1)
    objects.store.put_new("objects/month", b"month")
    removed = [f"data{path.removeprefix(STORE)}" for path in (ONE, OTHER)]
    objects.catalog.change(CatalogChange(placed=[compacted], removed=removed))

    assert sorted(disk.listdir(folder)) == ["day=02.parquet", "day=03.parquet"]
    opened = disk.open("day=02.parquet", os.O_RDONLY | os.O_NONBLOCK, dir_fd=folder)
    assert disk.read(opened, 99) == b"the first day"
    with pytest.raises(FileNotFoundError) as caught:
        disk.open("days.parquet", os.O_RDONLY, dir_fd=folder)
    assert caught.value.filename == "days.parquet"
    assert disk.listdir(MONTH) == ["days.parquet"]
    assert disk.lstat(MONTH).st_ino == disk.fstat(folder).st_ino


def test_each_file_that_is_written_is_a_pack_that_names_it(objects: ObjectsInMemory, disk: ObjectDisk) -> None:
    opened = disk.open(f"{ONE}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    disk.write(opened, b"new ")
    disk.write(opened, b"content")
    disk.utime(opened, ns=(7, 7))
    disk.fsync(opened)
    disk.close(opened)

    assert objects.store.requests == {"put": 1}
    (key,) = set(objects.store.objects) - {"objects/0001.pack", "objects/0002.pack"}
    index = index_of(objects.store, StoredObject(key, len(objects.store.objects[key]), 1))
    assert [(file.path, file.size, file.modified_ns) for file in index.files] == [
        ("data/symbol=A/year=2024/month=01/day=02.parquet.tmp", 11, 7)
    ]

    disk.replace(f"{ONE}.tmp", ONE)

    assert (read_bytes(disk, ONE), disk.stat(ONE).st_mtime_ns) == (b"new content", 7)
    assert not exists(disk, f"{ONE}.tmp")


def test_a_second_name_shares_the_bytes_and_stays_when_the_first_is_replaced(
    objects: ObjectsInMemory, disk: ObjectDisk
) -> None:
    former = f"{STORE}_revisions/symbol=A/year=2024/month=01/day=02.former.parquet"
    make_folders(disk, os.path.dirname(former))
    disk.link(ONE, former)
    assert disk.stat(former).st_ino == disk.stat(ONE).st_ino

    put(disk, ONE, b"corrected")

    assert (read_bytes(disk, former), read_bytes(disk, ONE)) == (b"the first day", b"corrected")
    assert disk.stat(former).st_ino != disk.stat(ONE).st_ino
    with pytest.raises(FileExistsError):
        disk.link(ONE, former)


def test_a_time_is_that_of_the_file_that_was_opened_and_of_no_other(disk: ObjectDisk) -> None:
    opened = disk.open(ONE, os.O_RDONLY)
    put(disk, ONE, b"another one")
    disk.utime(opened, ns=(5, 5))
    assert disk.stat(ONE).st_mtime_ns == NOW

    disk.utime(ONE, ns=(6, 6))
    assert disk.stat(ONE).st_mtime_ns == 6


def test_a_lost_object_is_an_error_of_its_file_and_a_server_that_fails_is_not(objects: ObjectsInMemory) -> None:
    class Down(InMemoryObjectStore):
        def get(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
            raise StoreUnreachableError("the server did not answer")

    objects.store.objects.pop("objects/0001.pack")
    with pytest.raises(OSError, match=r"objects/0001\.pack") as caught:
        read_bytes(objects.disk(), ONE)
    assert (caught.value.errno, caught.value.filename) == (errno.ENXIO, ONE)

    with pytest.raises(StoreUnreachableError, match="did not answer"):
        read_bytes(ObjectsInMemory(objects.catalog, Down()).disk(), ONE)


def test_paths_elsewhere_are_those_of_the_file_system(disk: ObjectDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    put(disk, path, b"content")
    opened = disk.open(path, os.O_RDWR)
    disk.flock(opened, fcntl.LOCK_EX)
    disk.pwrite(opened, b"C", 0)
    disk.close(opened)
    folder = disk.open(tmp_path, os.O_RDONLY)
    assert disk.stat("file", dir_fd=folder).st_ino == os.stat(path).st_ino
    disk.close(folder)

    assert read_bytes(disk, path) == (tmp_path / "file").read_bytes() == b"Content"
    assert disk.lstat(path) == REAL_DISK.lstat(path)
    disk.replace(path, f"{path}2")
    assert disk.listdir(tmp_path) == ["file2"]
    for both in (disk.replace, disk.link, disk.exchange):
        with pytest.raises(OSError, match="file2") as caught:
            both(f"{path}2", ONE)
        assert caught.value.errno == errno.EXDEV


def test_nothing_is_made_beside_the_places_of_the_store(disk: ObjectDisk) -> None:
    assert is_folder(disk, "/s3:/bucket")
    for path in ("/s3:/bucket/another", "/s3:/other", f"{STORE}x"):
        assert not exists(disk, path)
        with pytest.raises(FileNotFoundError):
            disk.mkdir(path)
    assert not Path("/s3:").exists()


def test_files_have_no_locks_no_attributes_and_the_same_rights(disk: ObjectDisk) -> None:
    opened = disk.open(ONE, os.O_RDONLY)
    for refused in (
        lambda: disk.flock(opened, fcntl.LOCK_SH),
        lambda: disk.getxattr(ONE, "user.a"),
        lambda: disk.chmod(ONE, 0o600),
    ):
        with pytest.raises(OSError, match=r".") as caught:
            refused()
        assert caught.value.errno == errno.ENOTSUP
    disk.chmod(ONE, 0o644)
    disk.chown(ONE, -1, 0)
    with pytest.raises(PermissionError):
        disk.chown(ONE, 1000, -1)


def test_a_closed_descriptor_and_one_of_another_kind_are_refused(disk: ObjectDisk) -> None:
    opened, folder = disk.open(ONE, os.O_RDONLY), disk.open(MONTH, os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        disk.listdir(opened)
    with pytest.raises(IsADirectoryError):
        disk.read(folder, 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.write(opened, b"x")
    disk.close(opened)
    for refused in (lambda: disk.close(opened), lambda: disk.fstat(opened)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            refused()


def test_a_month_is_exchanged_at_one_moment(objects: ObjectsInMemory, disk: ObjectDisk) -> None:
    new = MONTH.replace("month", ".month") + ".tmp"
    put(disk, f"{new}/days.parquet", b"the whole month")
    changes = objects.catalog.calls["change"]  # type: ignore[attr-defined]

    disk.exchange(new, MONTH)

    assert objects.catalog.calls["change"] == changes + 1  # type: ignore[attr-defined]
    assert objects.disk().listdir(MONTH) == ["days.parquet"]
    assert sorted(disk.listdir(new)) == ["day=02.parquet", "day=03.parquet"]
    assert read_bytes(disk, f"{new}/day=02.parquet") == b"the first day"
    remove_tree(disk, new)
    assert not exists(disk, new)
    assert read_bytes(disk, f"{MONTH}/days.parquet") == b"the whole month"


def test_several_threads_write_and_read(disk: ObjectDisk) -> None:
    def write(number: int) -> None:
        path = f"{STORE}/symbol=B{number % 3}/year=2024/month=01/day={number:02d}.parquet"
        put(disk, path, str(number).encode())
        assert read_bytes(disk, path) == str(number).encode()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(60)))

    assert sum(len(disk.files_in(f"{STORE}/symbol=B{n}/year=2024/month=01")) for n in range(3)) == 60
