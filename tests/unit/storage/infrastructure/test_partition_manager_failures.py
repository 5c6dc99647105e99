"""Bars are stored, withdrawn and compacted while each call of the disk fails once, and then power is lost.

Nothing is lost, nothing is torn. A place is a line of the storage that calls the disk, or a function over it; of those
of ``publishing`` none is left out. Each call at each place fails with each of the errors, in turn in the scenarios that
come there.
"""

from __future__ import annotations

import ast
import errno
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import count, cycle
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Final

import pytest
from attrs import define, field, frozen

import marketpipe.storage.infrastructure.publishing as package
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.shared_kernel.infrastructure.machine import disk as functions
from marketpipe.shared_kernel.infrastructure.machine.disk import make_folders
from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.day_versions import INDEX_LINE
from marketpipe.storage.infrastructure.publishing.digest_recorder import DigestRecorder
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.store_layout import VERSION_INDEX
from marketpipe.testing import FakeClock
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.traits import DiskTraits
from tests.support.bar_stores import at
from tests.support.builders import columnar, day
from tests.support.examples import ALL, tries_more
from tests.support.store_on_disk import NothingRecorded, StoreOnDisk

NOT_MODELLED: Final = {"setxattr", "removexattr"}
"""A modelled disk has no access lists."""
CODES: Final = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE)
FOLDER: Final = os.path.dirname(str(package.__file__))
FUNCTIONS: Final = str(functions.__file__)
ROOT: Final = Path(PLACE, "store")
DATES: Final = ("2024-01-02", "2024-01-03")
MONTH: Final = MonthPartition(Symbol("AAPL"), 2024, 1)
DATA: Final = ROOT / "data" / MONTH.folder
START: Final = "2024-02-01T12:00:00Z"


@frozen(order=True)
class Place:
    """A line of a module of the storage, and a call of the disk that is made for it."""

    module: str
    line: int
    call: str

    def __str__(self) -> str:
        return f"{self.call}, {self.module}:{self.line}"


class WatchedDisk:
    """A disk that remembers from where it is called, and at one place fails once, before it does anything."""

    def __init__(self, inner: Any, fails_at: Place | None = None, code: int = 0) -> None:
        self._inner, self._fails_at, self._code = inner, fails_at, code
        self.places, self.has_failed = set[Place](), False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            place = _place(sys._getframe(1), name)
            if place is not None:
                self.places.add(place)
            if place is None or place != self._fails_at or self.has_failed:
                return call(*arguments, **options)
            self.has_failed = True
            if name == "close":  # as on Linux, where it closes all the same
                call(*arguments, **options)
            named = [str(arguments[0])] if isinstance(arguments[0], str | Path) else []
            raise OSError(self._code, os.strerror(self._code), *named)

        return watched


def _place(frame: FrameType | None, call: str) -> Place | None:
    while frame is not None and frame.f_code.co_filename == FUNCTIONS:
        frame = frame.f_back
    if frame is None or not frame.f_code.co_filename.startswith(os.path.dirname(FOLDER)):
        return None
    return Place(os.path.basename(frame.f_code.co_filename), frame.f_lineno, call)


class Digests:
    """A register of digests that keeps none."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


@frozen
class OneProcess:
    """The only process that lives; earlier ones have left what they had not published."""

    own: int

    def number(self) -> int:
        return self.own

    def place(self) -> tuple[str, str, str]:
        return "0badcafe", "0badcafe", "0"

    def start_of(self, number: int, /) -> int | None:
        return 1 if number == self.own else None

    def file_system_of(self, _: Path, /) -> str | None:
        return None


@define
class Recorded(NothingRecorded):
    """What the state has of the days of one month."""

    days: dict[TradingDate, RecordedVersion] = field(factory=dict)

    def versions(self, symbol: Symbol, *_: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        return self.days if symbol == MONTH.symbol else {}


@define
class Scene:
    """A store on a modelled disk, and what the state has of it."""

    disk: ModelledDisk
    register: Recorded = field(factory=Recorded)
    processes: Iterator[int] = field(factory=lambda: count(1000))

    def store(self, calls: Any = None, minutes: int = 0) -> StoreOnDisk:
        """Return the store as a new process sees it so many minutes after the start."""
        processes, clock = OneProcess(next(self.processes)), FakeClock(START)
        machine = Machine(calls or self.disk.outside, processes=processes)
        clock.advance(60 * minutes)
        roots = [ROOT / name for name in ("data", "aggregates", "quarantine", "revisions")]
        store = StoreOnDisk(ROOT, machine=machine, clock=clock, register=self.register)
        recorder = DigestRecorder(store.layout, Digests)
        store.files = DurableFiles(None, roots, recorder, machine=machine)
        return store

    def record(self, results: Iterable[StoredSymbolDay]) -> None:
        for result in results:
            version = RecordedVersion(result.mark or NO_MARK, result.known_since, str(result.sha256))
            self.register.days[result.symbol_day.trading_date] = version

    def contents(self) -> dict[str, Any]:
        """Return all files but temporary ones; of a version index its lines."""
        found = {path: content for path, content in self.disk.files(str(ROOT)).items() if "/." not in path}
        indexes = {
            path: frozenset(INDEX_LINE.findall(content.decode("ascii", "replace")))
            for path, content in found.items()
            if path.endswith(".csv")
        }
        return {**found, **indexes}


Act = Callable[[Scene, StoreOnDisk], list[str]]
"""What is done in a scenario. Returns what it reported as not done."""


@frozen
class Scenario:
    name: str
    prepare: Callable[[Scene], None]
    act: Act
    traits: DiskTraits = field(factory=DiskTraits)

    def begun(self) -> Scene:
        scene = Scene(ModelledDisk(self.traits, lambda: 1_706_800_000_000_000_000, self.name))
        scene.disk.outside.mkdir(ROOT)
        for name in ("data", "aggregates", "quarantine", "revisions"):
            scene.disk.outside.mkdir(ROOT / name)
        self.prepare(scene)
        scene.disk.sync_all()
        return scene

    def __str__(self) -> str:
        return self.name


def keep(scene: Scene, store: StoreOnDisk, price: float = 100.0, dates: tuple[str, ...] = DATES) -> list[str]:
    """Store bars of each date, with one of the first date rejected, and let the state record what is stored."""
    parts = [(day("AAPL", date), [at(0, price), at(1)]) for date in dates]
    rejected = columnar((day("AAPL", dates[0]), [at(2, price)]), whole=False)
    results = store.partitions.store(columnar(*parts), rejected)
    failed = [result.error for result in results if result.error]
    if not failed:
        scene.record(results)
    return failed


def restate(scene: Scene, store: StoreOnDisk) -> list[str]:
    return keep(scene, store, 60.0)


def withdraw(scene: Scene, store: StoreOnDisk) -> list[str]:
    store.partitions.withdraw([day("AAPL", DATES[0])])
    return []


def compact(scene: Scene, store: StoreOnDisk) -> list[str]:
    done = store.months.compact(MONTH, scene.register.days, store.identity, dry_run=False)
    return [done.reason] if done is not None and done.reason else []


def expand(scene: Scene, store: StoreOnDisk) -> list[str]:
    store.months.expand(MONTH, scene.register.days)
    return []


def sweep(scene: Scene, store: StoreOnDisk) -> list[str]:
    store.months.sweep()
    return keep(scene, store, dates=("2024-01-04",))


def nothing(_: Scene) -> None:
    """An empty store."""


def stored(scene: Scene) -> None:
    store = scene.store()
    keep(scene, store, 50.0)
    store.files.close()


def compacted(scene: Scene) -> None:
    stored(scene)
    store = scene.store()
    compact(scene, store)
    store.files.close()


def make(scene: Scene, path: Path, content: bytes = b"other") -> Path:
    """Make a file, as a person or a process that is gone has left it."""
    make_folders(scene.disk.outside, path.parent)
    opened = scene.disk.outside.open(path, os.O_CREAT | os.O_WRONLY)
    scene.disk.outside.write(opened, content)
    scene.disk.outside.close(opened)
    return path


def left_name(name: str, process: int, space: str = "0") -> str:
    return f".{name}.0badcafe-0badcafe-{space}-{process}-1-1.tmp"


def on_another_disk(scene: Scene) -> None:
    compacted(scene)
    scene.disk.traits = DiskTraits(can_exchange=False)


def with_leftovers(scene: Scene) -> None:
    stored(scene)
    for process, name in (998, "day=02.parquet"), (999, "notes"):
        make(scene, ROOT / "revisions" / left_name("exchange", process) / MONTH.folder / name)
    for space in ("0", "f00"):
        make(scene, DATA / left_name("day=04.parquet", 999, space))


def with_its_own_leftover(scene: Scene) -> None:
    make(scene, DATA / left_name("day=02.parquet", 1000))


def with_two_names_of_the_index(scene: Scene) -> None:
    stored(scene)
    index = ROOT / "revisions" / "symbol=AAPL" / VERSION_INDEX
    scene.disk.outside.link(index, f"{index}.copy")


def with_rights(scene: Scene) -> None:
    stored(scene)
    scene.disk.outside.chmod(DATA / "day=02.parquet", 0o640)
    scene.disk.outside.chown(DATA / "day=02.parquet", 5, 7)


def with_a_folder_in_place(scene: Scene) -> None:
    stored(scene)
    make(scene, DATA / MONTH_FILE / "x")


def with_both_forms(scene: Scene) -> None:
    compacted(scene)
    make(scene, DATA / "day=02.parquet")
    make(scene, ROOT / "quarantine" / MONTH.folder / "day=02.parquet.1.bak", b"another")


def full(scene: Scene) -> None:
    scene.disk.space = 100


def full_and_stored(scene: Scene) -> None:
    stored(scene)
    full(scene)


SCENARIOS: Final = (
    Scenario("new days", nothing, keep),
    Scenario("new days over a leftover of its own", with_its_own_leftover, keep),
    Scenario("new days on a full disk", full, keep),
    Scenario("restated", stored, restate),
    Scenario("restated without links", stored, restate, DiskTraits(has_links=False, short_writes=True)),
    Scenario("restated with two names of the index", with_two_names_of_the_index, restate),
    Scenario("restated in one file", compacted, restate),
    Scenario("withdrawn", stored, withdraw),
    Scenario("compacted", with_rights, compact),
    Scenario("compacted on a full disk", full_and_stored, compact),
    Scenario("expanded", compacted, expand),
    Scenario("expanded without an exchange", on_another_disk, expand),
    Scenario("expanded with both forms", with_both_forms, expand),
    Scenario("expanded with a folder in place", with_a_folder_in_place, expand),
    Scenario("swept leftovers", with_leftovers, sweep),
)


def attempt(scenario: Scenario, scene: Scene, calls: Any = None) -> list[str]:
    """Do what the scenario does; return what it reported as not done."""
    store = scene.store(calls, 10)
    try:
        return scenario.act(scene, store)
    except StorageError as error:
        return [str(error)]
    finally:
        store.files.close()


@cache
def ends(scenario: Scenario) -> tuple[dict[str, Any], dict[str, Any], frozenset[Place]]:
    """Return what the store has before and after a scenario, and the places that it comes to."""
    scene = scenario.begun()
    before, watched = scene.contents(), WatchedDisk(scene.disk.outside)
    attempt(scenario, scene, watched)
    return before, scene.contents(), frozenset(watched.places)


def scenes_by_place() -> dict[Place, list[Scenario]]:
    found = defaultdict[Place, list[Scenario]](list)
    for scenario in SCENARIOS:
        for place in ends(scenario)[2]:
            found[place].append(scenario)
    return found


def check(found: Mapping[str, Any], scenario: Scenario) -> None:
    """Each file is wholly the old or wholly the new one, or what cannot be read was moved away."""
    before, after, _ = ends(scenario)
    moved = moved_away(found, scenario)
    assert {found[path] for path in moved} <= set(before.values())
    for path in {*found, *before, *after} - moved:
        if moved and path.endswith(MONTH_FILE):
            continue
        if not path.endswith((".csv", ".csv.copy")):
            assert found.get(path) in (before.get(path), after.get(path)), path


def moved_away(found: Mapping[str, Any], scenario: Scenario) -> set[str]:
    """Return what was moved away because it could not be read; without a failure nothing was."""
    return {path for path in found.keys() - ends(scenario)[1].keys() if path.endswith(".bak")}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return which files are not as wanted, without the indexes: their lines are not synced.

    Beside them there may be more revisions.
    """
    files = [path for path in wanted if not path.endswith(".csv")]
    return [path for path in files if found.get(path) != wanted.get(path)]


def lacking(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return which indexes lack a line that they are wanted to have."""
    return [path for path in wanted if path.endswith(".csv") and not wanted[path] <= found.get(path, frozenset())]


def codes(place: Place) -> tuple[int, ...]:
    """Return the errors to try: ``make test`` has time for one at each place."""
    return CODES if ALL else CODES[place.line % len(CODES) :][:1]


@tries_more
@pytest.mark.parametrize("place", sorted(scenes_by_place()), ids=str)
def test_a_call_that_fails_once_loses_nothing(place: Place) -> None:
    scenarios = scenes_by_place()[place]
    for number, (code, scenario) in enumerate(zip(codes(place), cycle(scenarios), strict=False)):
        scene = scenario.begun()
        failing = WatchedDisk(scene.disk.outside, place, code)
        not_done = attempt(scenario, scene, failing)
        assert failing.has_failed
        assert all(PLACE in each for each in not_done), not_done
        check(scene.contents(), scenario)

        scene.disk.lose_power(Random(f"{place}/{number}"))
        check(scene.contents(), scenario)
        after = ends(scenario)[1]
        if not not_done and not moved_away(scene.contents(), scenario):
            assert differences(scene.contents(), after) == []

        attempt(scenario, scene)
        if moved_away(scene.contents(), scenario):  # the days are asked for again
            continue
        assert differences(scene.contents(), after) == []
        assert lacking(scene.contents(), after) == []


def called_from() -> set[tuple[str, int]]:
    """Return the lines of ``publishing`` that call the disk, or a function over it."""
    found, over = set[tuple[str, int, str]](), {name for name in vars(functions) if name[0] != "_"}
    for path in Path(FOLDER).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (
                _is_disk(getattr(node.func, "value", None))
                or (isinstance(node.func, ast.Name) and node.func.id in over and node.args and _is_disk(node.args[0]))
            ):
                found.add((path.name, node.lineno, getattr(node.func, "attr", "")))

    return {(module, line) for module, line, call in found if call not in NOT_MODELLED}


def _is_disk(node: ast.AST | None) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")) in ("disk", "_disk")


def test_every_place_that_calls_the_disk_is_among_those_that_fail() -> None:
    assert called_from() - {(place.module, place.line) for place in scenes_by_place()} == set()
