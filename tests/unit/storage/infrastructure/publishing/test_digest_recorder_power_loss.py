from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.traits import DiskTraits

ONE, OTHER = Path(PLACE, "a", "x.parquet"), Path(PLACE, "b", "y.parquet")
OLD, NEW = b"old", b"new"


def digests(contents: Mapping[Path, bytes]) -> dict[Path, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}


@define
class Recorder:
    """Notes what is expected, and what is settled with what of the disk a power loss could still take back then."""

    disk: ModelledDisk
    expected: dict[Path, str] = field(factory=dict)
    settled: dict[Path, str] = field(factory=dict)
    unsynced: list[str] = field(factory=list)

    def records(self, _: Path) -> bool:
        return True

    @contextmanager
    def recorded(self, digests: Mapping[Path, str]) -> Iterator[None]:
        named = dict(digests)
        self.expected |= named
        yield
        self.settled |= named
        self.unsynced += self.disk.unsynced()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(ModelledDisk(DiskTraits(ordered=False), lambda: 1_000_000_000, "seed"))


@pytest.fixture
def files(recorder: Recorder) -> DurableFiles:
    return DurableFiles(None, [Path(PLACE)], recorder, machine=Machine(recorder.disk.outside))


def test_former_digests_are_forgotten_only_when_no_power_loss_can_bring_back_the_former_files(
    files: DurableFiles, recorder: Recorder
) -> None:
    for content in (OLD, NEW):
        with files.group() as group:
            group.add(ONE, content)
            group.publish()
            group.add(OTHER, content)
        assert recorder.settled == recorder.expected == digests({ONE: content, OTHER: content})
        assert recorder.unsynced == []
    files.keep({ONE: OTHER.with_name("z.parquet")})
    assert recorder.settled[OTHER.with_name("z.parquet")] == digests({ONE: NEW})[ONE]
    assert recorder.unsynced == []


def test_what_was_published_before_an_error_is_expected_and_not_settled(
    files: DurableFiles, recorder: Recorder
) -> None:
    def publish_the_first_of_two() -> None:
        with files.group() as group:
            group.add(ONE, NEW)
            group.publish()
            raise ValueError("of the second")

    with pytest.raises(ValueError, match="of the second"):
        publish_the_first_of_two()
    assert recorder.expected == digests({ONE: NEW})
    assert recorder.settled == {}
