"""Each call of the disk fails once with each error, or is the last one of its process; then power is lost too."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.infrastructure.machine.disk import lexists, read_bytes
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.temporary_files import temporary_name
from tests.simulation.disk.failing import FailingProcess, Killed, Place, failures, places_in
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.traits import DiskTraits
from tests.support.examples import ALL, tries_more

pytestmark = tries_more

ROOT: Final = Path(PLACE) / "store"
JANUARY, FEBRUARY, REVISIONS = ROOT / "AAPL" / "01", ROOT / "AAPL" / "02", ROOT / "revisions"
NOON: Final = 1_700_000_000_000_000_000
ROOM: Final = "storage/infrastructure/publishing"
FILES: Final = ("durable_files.py", "staged_files.py", "temporary_files.py")
Files = Mapping[str, bytes]


class Writer(DurableFiles):
    """Knows what it writes over, as those do who keep former versions."""

    def publishes_over(self, path: Path, content: bytes) -> bool:
        return read_bytes(self._disk, path) == content

    def moves(self, path: Path, target: Path) -> None:
        try:
            if lexists(self._disk, path):
                self.move(path, target)
        except OSError as error:
            raise StorageError(f"cannot write {error.filename}") from error

    def takes_the_next_temporary_name(self, folder: Path, name: str) -> None:
        taken = re.sub(r"\d+\.tmp", lambda it: f"{int(it[0][:-4]) + 1}.tmp", temporary_name(name, self._machine))
        with suppress(OSError):
            self._disk.close(self._disk.open(folder / taken, os.O_WRONLY | os.O_CREAT))


def publish_new(files: Writer) -> None:
    """A file of a new folder, and one of an old folder."""
    files.publish({folder / "day": b"new" * 9 for folder in (JANUARY, FEBRUARY)}, NOON)


def publish_over_old(files: Writer) -> None:
    """A former file is kept under a second name before a new one takes its place."""
    with files.group() as group:
        group.add(JANUARY / "old", b"newer", NOON, [NOON // 1000])
        group.append(JANUARY / "index", b"3\n", lambda: b"# of old\n")
        if files.publishes_over(JANUARY / "old", b"old"):
            files.keep({JANUARY / "old": REVISIONS / "AAPL" / "old.1"})


def begin_an_index(files: Writer) -> None:
    with files.group() as group:
        group.append(FEBRUARY / "index", b"1\n", lambda: b"# first\n")


def replace_an_index_with_a_second_name(files: Writer) -> None:
    with files.group() as group:
        group.append(JANUARY / "linked-index", b"2\n", lambda: b"# first\n")


def publish_where_another_file_has_the_temporary_name(files: Writer) -> None:
    files.takes_the_next_temporary_name(JANUARY, "day")
    files.publish({JANUARY / "day": b"new"})


def remove(files: Writer) -> None:
    files.announce(JANUARY)
    files.remove(JANUARY / "old")
    files.confirm([JANUARY / "old"])


def move(files: Writer) -> None:
    files.moves(JANUARY / "old", FEBRUARY / "kept" / "old")


SCENARIOS: Final = (
    *((publish_new, True), (publish_over_old, True), (publish_over_old, False), (begin_an_index, True)),
    *((replace_an_index_with_a_second_name, True), (remove, True)),
    *((publish_where_another_file_has_the_temporary_name, True), (move, True)),
)
"""Each with whether the disk has links."""
Scenario = Callable[[Writer], None]


class World:
    """A store with some files, durably; and whatever a process that is gone has left."""

    def __init__(self, *, has_links: bool = True) -> None:
        self.disk = ModelledDisk(DiskTraits(has_links=has_links, ordered=False, short_writes=True), lambda: NOON, "1")
        self.living, self.errors = dict[int, int](), list[str]()
        with_links = {JANUARY / "linked-index": ROOT / "second"} if has_links else {}
        self.does(lambda files: files.publish({JANUARY / "old": b"old", JANUARY / "index": b"# of old\n1\n2"}))
        self.does(lambda files: files.publish({JANUARY / "linked-index": b"# first\n1"}))
        self.does(lambda files: files.keep(with_links))
        self._leave_temporary_files()
        self.disk.sync_all()

    def does(self, scenario: Scenario) -> FailingProcess:
        process = FailingProcess(self.living)
        self.goes_wrong(scenario, process)
        return process

    def goes_wrong(self, scenario: Scenario, process: FailingProcess) -> bool:
        """Let a process do it; return whether it failed or died. Its end is that of its descriptors."""
        files = Writer(roots=[ROOT], machine=process.machine(self.disk))
        try:
            scenario(files)
            files.close()
        except StorageError as error:
            self.errors.append(str(error))
            return True
        except Killed:
            return True
        finally:
            process.end()
            self.disk.end(process)
        return False

    def files(self) -> Files:
        return {path: content for path, content in self.disk.files().items() if not path.endswith(".tmp")}

    def leftovers(self) -> list[str]:
        return [path for path in self.disk.files() if path.endswith(".tmp")]

    def _leave_temporary_files(self) -> None:
        dead = FailingProcess(self.living)
        name = temporary_name("day", dead.machine(self.disk))
        dead.end()
        for each in (name, name.replace("-2-", "-3-")):  # the second one is of another space of process numbers
            self.disk.outside.close(self.disk.outside.open(JANUARY / each, os.O_WRONLY | os.O_CREAT))


def calm(scenario: Scenario, has_links: bool) -> tuple[Files, Files, int]:
    """Return the files before and after, and how many calls it takes."""
    world = World(has_links=has_links)
    before = world.files()
    calls = world.does(scenario).count
    return before, world.files(), calls


def assert_whole(now: Files, before: Files, after: Files) -> None:
    """Each file is wholly the old one or wholly the new one; lines of an index may be torn."""
    for path, content in now.items():
        if not path.endswith("index"):
            assert content in (before.get(path), after.get(path)), path
    assert {path for path in before if path in after} <= set(now)


@pytest.mark.parametrize(("scenario", "has_links"), SCENARIOS)
def test_a_file_is_the_old_or_the_new_one_whatever_fails_and_to_repeat_it_ends_as_without_the_failure(
    scenario: Scenario, has_links: bool
) -> None:
    before, after, calls = calm(scenario, has_links)
    assert before != after
    for at, code in failures(calls):
        world = World(has_links=has_links)
        world.goes_wrong(scenario, FailingProcess(world.living, at, code))
        assert_whole(world.files(), before, after)
        assert all(error.startswith("cannot write /proc") for error in world.errors)
        world.disk.lose_power(Random(at))
        assert_whole(world.files(), before, after)
        assert not world.goes_wrong(scenario, FailingProcess(world.living))
        assert_same(world.files(), after)
        assert scenario not in (publish_new, publish_over_old) or world.leftovers() == []


@pytest.mark.parametrize(("scenario", "has_links"), SCENARIOS)
def test_what_was_reported_as_stored_is_stored_after_a_power_loss(scenario: Scenario, has_links: bool) -> None:
    _, after, _ = calm(scenario, has_links)
    for loss in range(25 if ALL else 5):
        world = World(has_links=has_links)
        world.does(scenario)
        world.disk.lose_power(Random(loss))
        now = world.files()
        assert {path: now.get(path) for path in after if not path.endswith("index")}.items() <= after.items()


@pytest.mark.parametrize(("scenario", "has_links"), [each for each in SCENARIOS if each[0] is not move])
def test_what_is_reported_after_another_process_has_failed_or_died_is_stored_after_a_power_loss(
    scenario: Scenario, has_links: bool
) -> None:
    """The other one may have made the folders, and not have synced them."""
    _, after, calls = calm(scenario, has_links)
    for at, code in failures(calls, each_once=True):
        world = World(has_links=has_links)
        world.goes_wrong(scenario, FailingProcess(world.living, at, code))
        assert not world.goes_wrong(scenario, FailingProcess(world.living))
        world.disk.lose_power(Random(at))
        now = world.files()
        assert {path: now.get(path) for path in after if not path.endswith("index")}.items() <= after.items()


class Closed(FailingProcess):
    """A process that may not list a folder."""

    def __init__(self, living: dict[int, int], folder: Path) -> None:
        super().__init__(living)
        self._folder = str(folder)

    def call(self, kind: str, target: str = "") -> None:
        super().call(kind, target)
        if (kind, target) == ("open", self._folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)


def test_the_folder_that_has_the_store_may_be_closed_and_no_folder_of_the_store() -> None:
    world = World()
    assert not world.goes_wrong(publish_new, Closed(world.living, ROOT.parent))
    assert world.goes_wrong(publish_new, Closed(world.living, FEBRUARY))


def test_the_scenarios_reach_each_place_that_calls_the_disk() -> None:
    reached = set[Place]()
    for scenario, has_links in SCENARIOS:
        for at in range(calm(scenario, has_links)[2] + 1):
            world = World(has_links=has_links)
            world.goes_wrong(scenario, FailingProcess(world.living, at, errno.EEXIST, reached))
    assert {place for file in FILES for place in places_in(f"{ROOM}/{file}")} - reached == set()


def assert_same(now: Files, after: Files) -> None:
    for path in {*now, *after}:
        assert now[path] == after[path] or path.endswith("index")
