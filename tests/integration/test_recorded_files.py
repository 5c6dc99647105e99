"""Aggregates, rejected bars and revisions are held against their recorded digests, and are missed if they are lost."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.infrastructure.publishing.temporary_files import temporary_name
from marketpipe.testing import FakeClock, bar
from tests.support.examples import some
from tests.support.pipeline_ring import THURSDAY, TUESDAY, WEDNESDAY, config, contents, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

SYMBOLS = ("BRK.B", "QQQ")
DATES = (TUESDAY, WEDNESDAY, THURSDAY)
AREAS = ("aggregates", "quarantine", "revisions")


def provider(price: float) -> ScriptedProvider:
    days = {date: [*minutes(date, 6, price=price), bar(f"{date}T19:30:00Z", high=1.0)] for date in DATES}
    return ScriptedProvider(dict.fromkeys(SYMBOLS, days))


def opened(root: Path, clock: str = "2025-06-03T12:00:00Z") -> Pipeline:
    settings = config(root, SYMBOLS, TUESDAY, THURSDAY, timeframes=["15m", "1d"])
    return pipeline(settings, provider(70.0), FakeClock(clock))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    settings = config(root, SYMBOLS, TUESDAY, THURSDAY, timeframes=["15m", "1d"])
    with pipeline(settings, provider(50.0), FakeClock("2025-06-02T12:00:00Z")) as store:
        assert store.ingest().ok
    with opened(root) as store:
        assert store.audit(start=TUESDAY, end=THURSDAY, adopt=True).adopted
        assert store.verify().ok
        assert store.coverage().ok
    return root


@pytest.fixture
def root(tmp_path: Path, template: Path) -> Path:
    """Return a copy of the store, with the times of its files."""
    return shutil.copytree(template, tmp_path / "store")


def flip(file: Path, chance: random.Random) -> None:
    """Flip a bit without a trace in size and time, as a disk does."""
    content, before = bytearray(file.read_bytes()), file.stat()
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("area", AREAS)
def test_a_flipped_bit_is_found_wherever_it_is(root: Path, area: str) -> None:
    chance, files = random.Random(area), sorted((root / area).rglob("*.parquet"))
    with opened(root) as store:
        for _ in range(12):
            file = chance.choice(files)
            kept = file.read_bytes()
            flip(file, chance)
            assert {problem.path for problem in store.verify(["BRK.B", "QQQ"]).problems} == {
                str(file.relative_to(root))
            }
            file.write_bytes(kept)


def test_flipped_aggregates_and_rejected_bars_are_healed_by_an_ingestion(root: Path) -> None:
    whole, chance = contents(root), random.Random(5)
    flip(root / "aggregates/timeframe=1d/symbol=QQQ/year=2024.parquet", chance)
    flip(root / f"quarantine/symbol=QQQ/year=2024/month=01/day={TUESDAY[-2:]}.parquet", chance)

    with opened(root) as store:
        assert len(store.verify().problems) == 2
        assert store.ingest().ok
        assert store.verify().ok
    assert contents(root) == whole


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("whole_area", some([False, True]))
def test_lost_is_lost_whatever_the_kind_of_file(root: Path, area: str, *, whole_area: bool) -> None:
    before, lost = contents(root), sorted((root / area).rglob("*.parquet"))
    if whole_area:
        shutil.rmtree(root / area)
    else:
        lost[1].unlink()
        del lost[2:], lost[0]
    names = {str(file.relative_to(root)) for file in lost}

    with opened(root) as store:
        for _ in range(2):
            found = {problem.path: str(problem.damage) for problem in store.verify().problems}
            assert {path for path, damage in found.items() if damage == "gone"} == names
        covered = store.coverage()
        assert set(covered.lost) == names
        assert not covered.ok
        assert len(store.load(SYMBOLS, TUESDAY, THURSDAY, "1d")) == 6
        assert len(store.load("QQQ", WEDNESDAY, WEDNESDAY, "15m")) == 1
        assert store.ingest().ok

        assert store.verify().ok is (area != "revisions")
        assert store.coverage().ok is (area != "revisions")
    if area != "revisions":
        assert contents(root) == before


def test_a_revision_with_other_bytes_than_the_version_index_has_is_altered_though_it_is_not_recorded(
    root: Path,
) -> None:
    file = sorted((root / "revisions").rglob("*.parquet"))[0]
    for state in (root / "state").iterdir():
        state.unlink()
    with opened(root) as store:
        store.recover()
    flip(file, random.Random(3))

    with opened(root) as store:
        assert [problem.path for problem in store.verify().problems] == [str(file.relative_to(root))]


def test_files_of_a_store_without_records_are_recorded_by_verify(root: Path) -> None:
    for state in (root / "state").iterdir():
        state.unlink()
    with opened(root) as store:
        store.recover()
        assert store.verify().ok

        (root / "aggregates/timeframe=15m/symbol=BRK.B/year=2024/month=01.parquet").unlink()
        assert not store.verify().ok


def test_a_damaged_or_lost_aggregate_is_not_frozen(root: Path) -> None:
    daily = root / "aggregates/timeframe=1d/symbol=QQQ/year=2024.parquet"
    with opened(root) as store:
        assert daily.name in store.freeze().text()
        daily.unlink()
        with pytest.raises(StorageError, match=r"symbol=QQQ/year=2024\.parquet: was recorded, and does not exist"):
            store.freeze()


def test_leftovers_of_the_dead_are_named_by_verify_and_removed_by_the_next_ingestion(root: Path) -> None:
    writer = temporary_name("month=01.parquet").replace(f"-{os.getpid()}-", "-1-")  # started at another moment
    leftovers = [
        f"data/symbol=QQQ/year=2024/month=01/{writer}",
        f"aggregates/timeframe=1d/symbol=QQQ/{writer}",
        f"revisions/{writer}",
    ]
    living = root / f"data/symbol=QQQ/year=2024/month=01/{temporary_name('day=08.parquet')}"
    for path in (*leftovers, living.relative_to(root)):
        (root / path).write_bytes(b"half a file")

    with opened(root) as store:
        found = store.verify().problems
        assert {problem.path: str(problem.damage) for problem in found} == dict.fromkeys(leftovers, "leftover")
        assert store.ingest().ok
        assert store.verify().ok
    assert not any((root / path).exists() for path in leftovers)
    assert living.exists()


def test_a_recovery_removes_leftovers_too(root: Path) -> None:
    leftover = (
        root / "quarantine/symbol=QQQ/year=2024/month=01" / temporary_name("x").replace(f"-{os.getpid()}-", "-1-")
    )
    leftover.write_bytes(b"half a file")
    for state in (root / "state").iterdir():
        state.unlink()

    with opened(root) as store:
        store.recover()
    assert not leftover.exists()
