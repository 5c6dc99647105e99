"""What happens to the machine is what the step says, and depends on its seed alone."""

from __future__ import annotations

import os
import stat
from io import BytesIO
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import define, field

from tests.simulation.disk.model import ModelledDisk
from tests.simulation.machine_events import EVENTS, STORE
from tests.simulation.story import Step
from tests.simulation.traits import DiskTraits

DAY = f"{STORE}/data/day=05.parquet"


@define
class FakeWorld:
    """The part of a ``World`` that events touch."""

    seed: int = 1
    skew: float = 0.0
    standing: bool = False
    damaged: dict[str, str] = field(factory=dict)
    disk: ModelledDisk = field(factory=lambda: ModelledDisk(DiskTraits(), lambda: 5, "1"))

    def draw(self, what: str) -> Random:
        return Random(f"{self.seed}/{what}")

    def happens(self, kind: str, **what: Any) -> str:
        return EVENTS[kind](self, Step(1, "2024-03-05T22:00:00Z", kind, what))  # type: ignore[arg-type]

    def write(self, path: str, content: bytes) -> None:
        disk, folder = self.disk.outside, ""
        for name in path.strip("/").split("/")[:-1]:
            folder += f"/{name}"
            if self.disk.inode(folder) is None:
                disk.mkdir(folder)
        descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT)
        disk.write(descriptor, content)
        disk.close(descriptor)


@pytest.fixture
def world() -> FakeWorld:
    made = FakeWorld()
    made.write(DAY, b"bars")
    made.write(f"{STORE}/data/.day=06.tmp", b"half")
    return made


def test_a_bit_of_a_file_rots(world: FakeWorld) -> None:
    assert world.happens("rot") == f"a bit of {DAY} rotted"
    content = world.disk.files()[DAY]
    assert sum((one ^ other).bit_count() for one, other in zip(content, b"bars", strict=True)) == 1
    assert world.damaged == {DAY: "rotted"}


def test_a_file_is_removed_from_outside(world: FakeWorld) -> None:
    assert world.happens("file lost", area="data") == f"somebody removed {DAY}"
    assert DAY not in world.disk.files()


@pytest.mark.parametrize("by", ["link", "folder"])
def test_something_else_takes_the_place_of_a_file(world: FakeWorld, by: str) -> None:
    world.happens("something else", by=by)
    assert DAY not in world.disk.files()
    mode = world.disk.outside.lstat(DAY).st_mode
    assert stat.S_ISLNK(mode) if by == "link" else stat.S_ISDIR(mode)


def test_a_day_file_is_rewritten_so_that_it_can_be_read(world: FakeWorld) -> None:
    sink = BytesIO()
    bars = pa.table({"timestamp": [1, 2], "volume": [5.0, None]}).replace_schema_metadata({"symbol": "AAPL"})
    pq.write_table(bars, sink)
    world.disk.outside.unlink(DAY)
    world.write(DAY, sink.getvalue())

    assert world.happens("rewritten") == f"somebody rewrote {DAY}"

    found = pq.read_table(BytesIO(world.disk.files()[DAY]))
    assert (found["volume"].to_pylist(), found.schema.metadata[b"symbol"]) == ([6.0, 1.0], b"AAPL")
    assert world.damaged == {DAY: "rewritten"}


def test_what_is_no_bars_is_not_rewritten(world: FakeWorld) -> None:
    assert world.happens("rewritten") == "nothing could be rewritten"


@pytest.mark.parametrize("kind", ["rot", "file lost", "something else"])
def test_nothing_happens_to_files_that_are_not_there(world: FakeWorld, kind: str) -> None:
    assert world.happens(kind, area="revisions").startswith("nothing could be")
    assert world.damaged == {}


@pytest.mark.parametrize("kind", ["file lost", "something else"])
def test_nobody_takes_a_file_away_from_a_disk_that_is_read_only(world: FakeWorld, kind: str) -> None:
    world.happens("disk read-only")
    assert world.happens(kind, area="data").startswith("nothing could be")
    assert (world.damaged, DAY in world.disk.files()) == ({}, True)


def test_the_disk_is_full_then_free_and_read_only_then_writable(world: FakeWorld) -> None:
    world.happens("disk full", bytes=100)
    assert world.disk.space == 100
    world.happens("disk freed")
    assert world.disk.space is None
    world.happens("disk read-only")
    assert world.disk.read_only
    world.happens("disk writable")
    assert not world.disk.read_only


def test_the_clock_is_ahead_stands_and_is_right_again(world: FakeWorld) -> None:
    assert world.happens("clock", ahead=86400) == "the clock is +86400 s off"
    assert world.skew == 86400
    assert world.happens("clock", stands=True) == "the clock stands still"
    assert world.standing
    assert world.happens("clock") == "the clock is right"
    assert (world.skew, world.standing) == (0.0, False)


def test_files_are_as_before_on_the_copy_of_a_disk(world: FakeWorld) -> None:
    before = world.disk.files()
    world.happens("copied")
    assert world.disk.files() == before
