"""Each call of the disk fails once while a month changes its form, or is the last of its process; then power goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Final

import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, make_folders
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.publishing.access_rights import ACCESS_LISTS, AccessRights, give_rights
from marketpipe.storage.infrastructure.publishing.month_contents import Recorded
from marketpipe.storage.infrastructure.publishing.temporary_files import temporary_name
from marketpipe.storage.infrastructure.store_layout import translating
from tests.simulation.disk.failing import FailingProcess, Killed, Place, failures, places_in
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.oracle.files import StoreFiles
from tests.simulation.traits import DiskTraits
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.examples import tries_more
from tests.support.store_on_disk import IDENTITY, StoreOnDisk, recorded_as_stored

pytestmark = tries_more

ROOT: Final = Path(PLACE) / "store"
JANUARY: Final = MonthPartition(Symbol("AAPL"), 2024, 1)
DATES: Final = ("2024-01-02", "2024-01-03", "2024-01-04")
FOLDER: Final = ROOT / "data" / JANUARY.folder
NOON: Final = 1_700_000_000_000_000_000
ROOM: Final = "storage/infrastructure/publishing"
FILES: Final = ("access_rights.py", "folder_exchange.py", "left_folders.py", "month_contents.py", "month_folders.py")
ELSEWHERE: Final = b"another version of a day"
Files = Mapping[str, bytes]
Scenario = Callable[[StoreOnDisk, Recorded], object]


def compact(store: StoreOnDisk, recorded: Recorded) -> object:
    return store.months.compact(JANUARY, recorded, IDENTITY, dry_run=False)


def expand(store: StoreOnDisk, recorded: Recorded) -> object:
    """As it is done before a day of the month changes."""
    store.months.is_mixed(JANUARY, [*recorded])
    return store.months.expand(JANUARY, recorded)


def take_rights_back(store: StoreOnDisk, recorded: Recorded) -> None:
    with translating(FOLDER):
        give_rights(Path(DAY_FILES[0]), AccessRights(12, 34, 0o600, {}), store.layout.disk)


@define
class Month:
    """A month on a modelled disk, before anything goes wrong: durable files, and what processes that are gone left."""

    files: Files
    recorded: Recorded
    can_exchange: bool = True
    left: Files = field(factory=dict)
    rights: tuple[str, ...] = ()
    """Paths of another owner, another group, and with an access list."""

    def world(self) -> World:
        return World(self)


class World:
    def __init__(self, month: Month) -> None:
        traits = DiskTraits(can_exchange=month.can_exchange, ordered=False, short_writes=True)
        self.disk, self.month = ModelledDisk(traits, lambda: NOON, "1"), month
        self.living, self.errors = dict[int, int](), list[str]()
        self.disk.attributes = {}
        outside, dead = self.disk.outside, FailingProcess(self.living)
        above = ROOT / "revisions" / temporary_name("exchange", dead.machine(self.disk))
        dead.end()
        for path, content in {**month.files, **{f"{above}/{name}": each for name, each in month.left.items()}}.items():
            written(outside, Path(path), content)
        for path in month.rights:
            outside.chown(path, 12, 34)
            outside.chmod(path, 0o660)
            outside.setxattr(path, ACCESS_LISTS[0], b"may read")
        self.disk.sync_all()

    def goes_wrong(self, scenario: Scenario, process: FailingProcess) -> bool:
        """Let a process do it; return whether it failed or died. Its end is that of its descriptors."""
        store = StoreOnDisk(ROOT, machine=process.machine(self.disk))
        try:
            scenario(store, self.month.recorded)
        except StorageError as error:
            self.errors.append(str(error))
            return True
        except Killed:
            return True
        finally:
            process.end()
            self.disk.end(process)
        return False

    def does(self, scenario: Scenario) -> int:
        """Do it without a failure; return how many calls that takes."""
        process = FailingProcess(self.living)
        assert not self.goes_wrong(scenario, process)
        return process.count

    def files(self) -> Files:
        return self.disk.files(str(ROOT))


def written(disk: Disk, path: Path, content: bytes) -> None:
    make_folders(disk, path.parent)
    descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT)
    while content:
        content = content[disk.write(descriptor, content) :]
    disk.utime(descriptor, ns=(NOON, NOON))
    disk.close(descriptor)


def made() -> tuple[Files, Files, Recorded]:
    """Return a store of three days in both forms, and what is recorded of them."""
    disk = ModelledDisk(DiskTraits(), lambda: NOON, "1")
    store = StoreOnDisk(ROOT, machine=FailingProcess({}).machine(disk))
    store.keep(*((day("AAPL", date), [at(0), at(1, 100.0 + number)]) for number, date in enumerate(DATES)))
    days, recorded = dict(disk.files(str(ROOT))), recorded_as_stored(store.layout, JANUARY)
    store.compact("AAPL")
    return days, dict(disk.files(str(ROOT))), recorded


DAYS, WHOLE, RECORDED = made()
DAY_FILES: Final = tuple(f"{FOLDER}/day={date[8:]}.parquet" for date in DATES)
MONTH: Final = f"{FOLDER}/{MONTH_FILE}"
DAMAGED: Final = {**WHOLE, MONTH: WHOLE[MONTH][:-1]}
NO_FILE: Final = {f"{MONTH}/notes": b"mine", **{path: DAYS[path] for path in DAYS if path not in DAY_FILES[1:]}}
LEFT: Final = {f"{JANUARY.folder}/{Path(path).name}": DAYS[path] for path in DAY_FILES}
SCENARIOS: Final = {
    "compact": (compact, Month(DAYS, RECORDED)),
    "compact, rights of others": (compact, Month(DAYS, RECORDED, rights=(DAY_FILES[0], str(FOLDER)))),
    "compact, a folder was left": (compact, Month(DAYS, RECORDED, left=LEFT)),
    "compact, a day is in both forms": (compact, Month({**WHOLE, DAY_FILES[0]: ELSEWHERE}, RECORDED)),
    "expand": (expand, Month(WHOLE, RECORDED, rights=(MONTH,))),
    "expand, by links": (expand, Month(WHOLE, RECORDED, can_exchange=False, rights=(MONTH,))),
    "expand, damaged": (expand, Month(DAMAGED, RECORDED)),
    "expand, damaged and not recorded": (expand, Month(DAMAGED, {})),
    "expand, a folder in the place of the file": (expand, Month(NO_FILE, RECORDED)),
    "take rights back": (take_rights_back, Month(DAYS, RECORDED, rights=(DAY_FILES[0],))),
}
each_scenario = pytest.mark.parametrize(("scenario", "month"), SCENARIOS.values(), ids=SCENARIOS.keys())


def days_of(files: Files) -> Files:
    """Return the content of each day of the store, in either form."""
    start = len(str(ROOT)) + 1
    found = StoreFiles.of({path[start:]: content for path, content in files.items()}).days
    return {date: content for (_, date), content in found.items()}


def assert_nothing_is_lost(now: Files, before: Files, after: Files) -> None:
    """Each day has its bytes, or is in the damaged file still; and what gives way to others is kept in quarantine."""
    days = days_of(now)
    for date, content in days_of(after).items():
        assert days.get(date, content) == content or days_of(before).get(date) == days[date]
        assert date in days or before.get(MONTH) in now.values()
    given_way = {before[path] for path in (MONTH, *DAY_FILES) if path in before} - {*days_of(after).values()}
    assert given_way - {WHOLE[MONTH], DAMAGED[MONTH]} <= {*now.values()}


def without_temporary(files: Files) -> Files:
    return {path: content for path, content in files.items() if ".tmp" not in path}


@each_scenario
def test_no_day_is_lost_whatever_fails_and_to_repeat_it_ends_as_without_the_failure(
    scenario: Scenario, month: Month
) -> None:
    calm = month.world()
    before = calm.files()
    calls = calm.does(scenario)
    after = calm.files()
    for at_call, code in failures(calls, each_once=True):
        world = month.world()
        world.goes_wrong(scenario, FailingProcess(world.living, at_call, code))
        assert_nothing_is_lost(world.files(), before, after)
        assert all(str(ROOT) in error for error in world.errors)
        world.disk.lose_power(Random(at_call))
        assert_nothing_is_lost(world.files(), before, after)
        world.does(scenario)
        assert without_temporary(world.files()) == without_temporary(after), (at_call, code)


def reached(scenarios: Iterable[tuple[Scenario, Month]]) -> set[Place]:
    found = set[Place]()
    for scenario, month in scenarios:
        world = month.world()
        world.goes_wrong(scenario, FailingProcess(world.living, places=found))
    return found


def test_the_scenarios_reach_each_place_that_calls_the_disk() -> None:
    assert {place for file in FILES for place in places_in(f"{ROOM}/{file}")} - reached(SCENARIOS.values()) == set()
