"""A version that was published, but never recorded, is one that ``as_of`` returns: a run was killed in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from tests.support.bar_stores import at
from tests.support.builders import day
from tests.support.store_on_disk import NothingRecorded, StoreOnDisk

DAY = day("MSFT", "2024-01-02")


@define
class Recorder(NothingRecorded):
    """What the state has of one symbol-day."""

    version: RecordedVersion | None = None

    def versions(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedVersion]:
        return {} if self.version is None else {DAY.trading_date: self.version}

    def record(self, stored: StoredSymbolDay) -> None:
        since, sha256 = stored.known_since, stored.sha256
        assert sha256 is not None
        if self.version is not None and self.version.sha256 == sha256:
            since = since or self.version.known_since
        self.version = RecordedVersion(stored.mark or NO_MARK, since, sha256)


@define
class Told:
    """A store, and what could be loaded from it after each step."""

    store: StoreOnDisk
    register: Recorder
    history: list[tuple[Timestamp, list[float]]] = field(factory=list)

    def step(self, price: float, seconds: float, *, recorded: bool) -> StoredSymbolDay:
        self.store.clock.advance(seconds)
        (stored,) = self.store.keep((DAY, [at(0, price)]))
        if recorded:
            self.register.record(stored)
        self.history.append((self.store.clock.now(), self.loaded()))
        return stored

    def loaded(self, as_of: Timestamp | None = None) -> list[float]:
        date = DAY.trading_date
        bars = self.store.loader.load([DAY.symbol], date, date, Timeframe.MINUTE_1, as_of)
        found: list[float] = bars["open"].to_pylist()
        return found

    def check(self) -> None:
        assert [self.loaded(moment) for moment, _ in self.history] == [seen for _, seen in self.history]
        assert self.loaded(Timestamp.from_epoch_micros(0)) == []


def begin(root: Path) -> Told:
    register = Recorder()
    return Told(StoreOnDisk(root, register=register), register)


STEPS = st.lists(st.tuples(st.sampled_from((1.0, 2.0, 3.0)), st.booleans()), min_size=1, max_size=7)


@settings(max_examples=15)
@given(STEPS)
@example([(1.0, True), (2.0, False), (3.0, True)])
@example([(1.0, True), (2.0, False), (1.0, True), (2.0, True)])
@example([(1.0, True), (2.0, False), (1.0, False), (3.0, True)])
def test_every_version_that_could_be_loaded_is_one_that_as_of_returns(steps: list[tuple[float, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = begin(Path(folder))
        for price, recorded in steps:
            told.step(price, 60, recorded=recorded)

        told.check()


def truncate(path: Path, unit_ns: int) -> None:
    """Cut the modification time down, as a file system does that keeps no finer ones."""
    found = path.stat().st_mtime_ns
    os.utime(path, ns=(found, found // unit_ns * unit_ns))


@settings(max_examples=10)
@given(STEPS, st.sampled_from((1, 2)))
@example([(1.0, True), (2.0, True), (3.0, False), (1.0, True)], 2)
def test_a_coarse_clock_of_the_file_system_loses_no_version(steps: list[tuple[float, bool]], unit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told = begin(Path(folder))
        for price, recorded in steps:
            told.step(price, 0.2, recorded=recorded)
            truncate(told.store.path(DAY), unit * 1_000_000_000)

        told.check()


def test_a_version_that_returns_after_a_lost_checkpoint_has_a_later_moment(tmp_path: Path) -> None:
    told = begin(tmp_path)
    first = told.step(1.0, 60, recorded=True)
    told.step(2.0, 60, recorded=False)

    again = told.step(1.0, 60, recorded=True)

    assert (first.sha256, again.known_since) == (again.sha256, told.store.clock.now())


def test_a_lost_file_is_healed_with_the_moment_on_record(tmp_path: Path) -> None:
    told = begin(tmp_path)
    first = told.step(1.0, 60, recorded=True)
    told.store.path(DAY).unlink()

    again = told.step(1.0, 60, recorded=True)

    assert again.known_since == first.known_since


@pytest.mark.parametrize("loss", ["rotten", "lost"])
def test_a_healed_file_gets_its_time_back(tmp_path: Path, loss: str) -> None:
    told = begin(tmp_path)
    told.step(1.0, 60, recorded=True)
    path = told.store.path(DAY)
    before, content = path.stat().st_mtime_ns, path.read_bytes()
    if loss == "rotten":
        _changed_bytes(path)
    else:
        path.unlink()

    told.step(1.0, 60, recorded=True)

    assert (path.stat().st_mtime_ns, path.read_bytes()) == (before, content)


def _changed_bytes(path: Path) -> None:
    found, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-9] + b"?" + content[-8:])
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _old_file_of_another_program(path: Path) -> None:
    other = begin(path.parents[5] / "other")
    other.step(9.0, 0, recorded=True)
    path.write_bytes(other.store.path(DAY).read_bytes())
    os.utime(path, ns=(0, 1_600_000_000_000_000_000))


def _file_with_a_time_to_come(path: Path) -> None:
    _old_file_of_another_program(path)
    os.utime(path, ns=(0, 4_000_000_000_000_000_000))


@pytest.mark.parametrize("spoil", [_changed_bytes, _old_file_of_another_program, _file_with_a_time_to_come])
def test_what_was_never_a_version_of_the_day_becomes_no_revision(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    told = begin(tmp_path / "store")
    told.step(1.0, 60, recorded=True)
    spoil(told.store.path(DAY))

    stored = told.step(2.0, 60, recorded=True)

    assert not list((tmp_path / "store" / "revisions").rglob("*.parquet"))
    assert stored.known_since == told.store.clock.now()


def test_no_revision_replaces_another_one(tmp_path: Path) -> None:
    """Without state and index, the time of a file is all there is, and it may be that of a former version."""
    told = begin(tmp_path)
    contents = []
    for price in (1.0, 2.0, 3.0, 4.0):
        told.step(price, 0.2, recorded=False)
        contents.append(told.store.path(DAY).read_bytes())
        told.store.layout.version_index(DAY.symbol).unlink()
        truncate(told.store.path(DAY), 1_000_000_000)

    kept = sorted((tmp_path / "revisions").rglob("*.parquet"))
    assert [path.read_bytes() for path in kept] == contents[:-1]


def test_a_new_file_never_has_the_mark_of_the_one_before(tmp_path: Path) -> None:
    """``FileGroup`` is told which times are taken, for file systems with a coarse clock."""
    told = begin(tmp_path)
    told.step(1.0, 60, recorded=True)
    taken = told.store.path(DAY).stat().st_mtime_ns // 1000
    with told.store.files.group() as group:
        group.add(tmp_path / "file", b"", taken * 1000, {taken, taken + 2_000_000})

    assert (tmp_path / "file").stat().st_mtime_ns == (taken + 4_000_000) * 1000
