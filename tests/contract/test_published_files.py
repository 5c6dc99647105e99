"""The contract of the port ``PublishedFiles``: files of a store are published alike on a disk and in a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, exists, make_folders, read_bytes
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
from tests.support.object_disks import STORE, ObjectsInMemory

MOMENT = 1_700_000_000_123_456_000


@frozen
class Subject:
    files: PublishedFiles
    disk: Disk
    root: Path

    def content(self, name: str) -> bytes | None:
        path = self.root / name
        return read_bytes(self.disk, path) if exists(self.disk, path) else None

    def contents(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.content(name) for name in names]


@pytest.fixture(params=["disk", "bucket"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    if request.param == "disk":
        return Subject(DurableFiles(), REAL_DISK, tmp_path)
    objects = ObjectsInMemory()
    machine = objects.machine()
    return Subject(objects.files(machine), machine.disk, Path(STORE))


def test_files_have_the_content_and_the_time_that_they_are_published_with(subject: Subject) -> None:
    subject.files.publish({subject.root / "a/x": b"one", subject.root / "b/y": b""}, MOMENT)

    assert subject.contents(["a/x", "b/y", "a/y"]) == [b"one", b"", None]
    assert subject.disk.stat(subject.root / "a/x").st_mtime_ns == MOMENT


def test_a_group_says_which_times_its_files_have(subject: Subject) -> None:
    with subject.files.group() as group:
        group.add(subject.root / "a/x", b"one", MOMENT)
        group.add(subject.root / "a/y", b"two")
        assert not group.modified_ns
        group.publish()
        times = {path.name: modified_ns for path, modified_ns in group.modified_ns.items()}
        assert times == {name: subject.disk.stat(subject.root / "a" / name).st_mtime_ns for name in ("x", "y")}

    assert times["x"] == MOMENT


def test_of_a_group_that_ends_with_an_error_nothing_is_there(subject: Subject) -> None:
    subject.files.publish({subject.root / "a/x": b"old"})

    def publish() -> None:
        with subject.files.group() as group:
            group.add(subject.root / "a/x", b"new")
            group.add(subject.root / "a/y", b"new")
            raise LookupError

    with pytest.raises(LookupError):
        publish()

    assert subject.contents(["a/x", "a/y"]) == [b"old", None]


def test_what_a_group_has_published_stays_if_an_error_ends_it_later(subject: Subject) -> None:
    def publish() -> None:
        with subject.files.group() as group:
            group.add(subject.root / "a/x", b"first")
            group.publish()
            group.add(subject.root / "a/y", b"second")
            raise LookupError

    with pytest.raises(LookupError):
        publish()

    assert subject.contents(["a/x", "a/y"]) == [b"first", None]


def test_a_file_that_is_replaced_remains_under_its_second_name(subject: Subject) -> None:
    data, former = subject.root / "a/x", subject.root / "former/x"
    subject.files.publish({data: b"old"}, MOMENT)

    with subject.files.group() as group:
        group.add(data, b"new")
        subject.files.keep({data: former})
        group.publish()

    assert subject.contents(["a/x", "former/x"]) == [b"new", b"old"]
    assert subject.disk.stat(former).st_mtime_ns == MOMENT


def test_a_second_name_of_what_is_not_there_is_an_error(subject: Subject) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        subject.files.keep({subject.root / "a/x": subject.root / "former/x"})


def test_a_second_name_is_taken_over(subject: Subject) -> None:
    data, former = subject.root / "a/x", subject.root / "former/x"
    subject.files.publish({data: b"old", former: b"left behind"})

    subject.files.keep({data: former})

    assert subject.contents(["a/x", "former/x"]) == [b"old", b"old"]


def test_lines_are_appended_after_the_first_ones_of_a_new_file(subject: Subject) -> None:
    path = subject.root / "a/lines.csv"
    for lines in (b"one\n", b"two\n"):
        with subject.files.group() as group:
            group.append(path, lines, lambda: b"head\n")

    assert subject.content("a/lines.csv") == b"head\none\ntwo\n"


def test_lines_are_appended_to_a_file_that_was_published_as_a_whole(subject: Subject) -> None:
    path = subject.root / "a/lines.csv"
    subject.files.publish({path: b"whole\n"})

    with subject.files.group() as group:
        group.append(path, b"one\n", lambda: b"head\n")

    assert subject.content("a/lines.csv") == b"whole\none\n"


def test_a_removed_file_is_gone_and_one_that_is_not_there_is_none_to_remove(subject: Subject) -> None:
    subject.files.publish({subject.root / "a/x": b"one"})

    subject.files.remove(subject.root / "a/x")
    subject.files.remove(subject.root / "a/x")

    assert subject.content("a/x") is None


def test_a_file_and_a_folder_are_moved(subject: Subject) -> None:
    subject.files.publish({subject.root / "a/x": b"one", subject.root / "b/c/y": b"two"}, MOMENT)
    make_folders(subject.disk, subject.root / "kept")

    subject.files.move(subject.root / "a/x", subject.root / "kept/x")
    subject.files.move(subject.root / "b", subject.root / "kept/b")

    assert subject.contents(["a/x", "kept/x", "b/c/y", "kept/b/c/y"]) == [None, b"one", None, b"two"]
    assert subject.disk.stat(subject.root / "kept/b/c/y").st_mtime_ns == MOMENT
    with pytest.raises(FileNotFoundError):
        subject.files.move(subject.root / "nowhere", subject.root / "kept/nowhere")


def test_what_belongs_together_is_there_at_the_end(subject: Subject) -> None:
    subject.files.publish({subject.root / name: b"old" for name in ("a/x", "a/y", "a/z")})

    with subject.files.collected():
        subject.files.keep({subject.root / "a/x": subject.root / "former/x"})
        with subject.files.group() as group:
            group.add(subject.root / "a/x", b"new", MOMENT)
        assert group.modified_ns == {subject.root / "a/x": MOMENT}
        subject.files.remove(subject.root / "a/y")
        subject.files.remove(subject.root / "a/z")

    assert subject.contents(["a/x", "former/x", "a/y", "a/z"]) == [b"new", b"old", None, None]


def test_files_in_their_places_are_confirmed(subject: Subject) -> None:
    subject.files.publish({subject.root / "a/x": b"one"})
    subject.files.announce(subject.root / "a")
    subject.files.confirm([subject.root / "a/x"])
    subject.files.close()

    assert subject.content("a/x") == b"one"
