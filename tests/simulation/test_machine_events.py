"""What happens to the machine is what the step says, and depends on its seed alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import define, field

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.infrastructure.official.official_history import HISTORY_SCHEMA, encode_history, history_in
from tests.simulation.disk.model import ModelledDisk
from tests.simulation.machine_events import EVENTS, STORE
from tests.simulation.story import Step
from tests.simulation.traits import DiskTraits

DAY = f"{STORE}/data/day=05.parquet"
OTHER_DAY = f"{STORE}/data/day=07.parquet"
HISTORY = f"{STORE}/revisions/symbol=A/year=2024/known_since.csv"


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


@pytest.mark.parametrize(
    ("by", "is_of_kind"),
    [("link", stat.S_ISLNK), ("link to itself", stat.S_ISLNK), ("folder", stat.S_ISDIR), ("pipe", stat.S_ISFIFO)],
)
def test_something_else_takes_the_place_of_a_file(world: FakeWorld, by: str, is_of_kind: Callable[[int], bool]) -> None:
    world.happens("something else", by=by)
    assert DAY not in world.disk.files()
    assert is_of_kind(world.disk.outside.lstat(DAY).st_mode)
    assert world.damaged == {DAY: "replaced"}


def test_another_file_takes_the_place_of_one_if_there_is_another(world: FakeWorld) -> None:
    assert world.happens("something else", by="file") == "nothing could be replaced"
    world.write(OTHER_DAY, b"of another date")
    assert world.happens("something else", by="file", file="day=05") == "nothing could be replaced"
    one, other = (f"{STORE}/data/symbol={symbol}/year=2024/month=01/day=05.parquet" for symbol in "AB")
    world.write(one, b"one")
    world.write(other, b"others")
    world.happens("something else", by="file", file="symbol=A")
    assert world.disk.files()[one] == b"others"


def test_a_history_is_chosen_by_its_name_and_rewritten_with_a_checksum_that_fits(world: FakeWorld) -> None:
    world.write(f"{STORE}/revisions/symbol=A/known_since.csv", b"x")
    assert world.happens("file lost", area="revisions") == "nothing could be removed"
    assert world.happens("rewritten", area="revisions") == "nothing could be rewritten"
    versions = HISTORY_SCHEMA.empty_table()
    owner = DatasetIdentity("alpaca", "iex", "raw"), Symbol("A"), 2024
    world.write(
        HISTORY, encode_history(versions, *owner) + b'"2024-03-12 02:00:00Z",1,1,1,1,1,,,2024-03-12 02:00:00Z\n'
    )
    world.happens("rewritten", area="revisions")
    assert world.disk.files()[HISTORY].endswith(b",,,2014-03-12 02:00:00Z\n")
    assert len(history_in(world.disk.files()[HISTORY], HISTORY).versions) == 1
    assert world.happens("file lost", area="revisions", file="known_since") == f"somebody removed {HISTORY}"


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
