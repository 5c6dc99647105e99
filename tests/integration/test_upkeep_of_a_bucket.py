"""A bucket is swept of what no file is in, and a state that was lost is made again of the objects alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from marketpipe import place_parts
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.infrastructure.objects.object_store import PACKS, ObjectStore
from marketpipe.testing import FakeClock, sessions
from tests.support.bucket_stores import answers, bucket_config, in_folders, over
from tests.support.examples import some
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-12")]
FIRST, LAST, MIDDLE = DATES[0], DATES[-1], DATES[3]
AT_ONCE = timedelta(0)


@define
class Kept:
    """A store in a bucket of which one day was corrected."""

    root: Path
    provider: ScriptedProvider = field(
        factory=lambda: ScriptedProvider({name: {d: minutes(d, 8) for d in DATES} for name in ("AAPL", "BRK.B")})
    )
    clock: FakeClock = field(factory=FakeClock)
    before: Timestamp | None = None

    def open(self, **changes: Any) -> Pipeline:
        scope = {"symbols": ["AAPL", "BRK.B"], "start": FIRST, "end": LAST, "timeframes": ["5m", "1d"]}
        settings = bucket_config(self.root, **(scope | changes))
        return over(in_folders(self.root), settings, self.provider, self.clock)

    def fill(self) -> None:
        with self.open() as store:
            assert store.ingest().ok
        self.clock.advance(3600)
        self.before = self.clock.now()
        self.clock.advance(3600)
        self.provider.bars["AAPL"][MIDDLE] = minutes(MIDDLE, 9)[1:]
        with self.open() as store:
            assert store.audit(start=MIDDLE, end=MIDDLE, adopt=True).ok

    def answers(self) -> list[Any]:
        assert self.before is not None
        with self.open() as store:
            assert store.verify().ok
            return answers(store, FIRST, LAST, self.before)

    @property
    def objects(self) -> ObjectStore:
        return in_folders(self.root)("s3://bucket/bars")

    def keys(self, prefix: str = PACKS) -> set[str]:
        return {each.key for each in self.objects.listed(prefix)}

    def referenced(self) -> set[str]:
        with self.open() as store:
            return set(place_parts.known_state(store._parts).file_catalog.objects())

    def lose_state(self) -> None:
        for path in (self.root / "state").iterdir():
            path.unlink()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    made = Kept(tmp_path)
    made.fill()
    return made


def test_gc_removes_what_no_file_is_in_and_nothing_else(kept: Kept) -> None:
    before, referenced = kept.answers(), kept.referenced()
    kept.objects.put_new(f"{PACKS}of-a-killed-write.pack", b"whatever")
    assert kept.keys() > referenced
    unreferenced = len(kept.keys() - referenced)

    with kept.open() as store:
        planned = store.gc(AT_ONCE, dry_run=True, alone=True)
    assert planned.dry_run
    assert kept.keys() > referenced
    assert kept.keys("catalog/") == set()
    with kept.open() as store:
        report = store.gc(AT_ONCE, alone=True)

    assert kept.keys() == referenced
    assert (report.removed, report.kept, report.waiting) == (unreferenced, len(referenced), 0)
    assert report.removed_bytes > 0 < report.kept_bytes
    assert kept.keys("catalog/") == {report.snapshot}
    assert kept.keys("marks/") == set()
    assert kept.answers() == before


def test_what_is_younger_than_the_grace_time_stays(kept: Kept) -> None:
    kept.objects.put_new(f"{PACKS}of-a-write-under-way.pack", b"whatever")
    before = kept.keys()
    with kept.open() as store:
        report = store.gc()

    assert report.removed == 0
    assert report.waiting == len(before - kept.referenced())
    assert kept.keys() == before


def test_a_second_snapshot_replaces_the_first(kept: Kept) -> None:
    for _ in range(2):
        with kept.open() as store:
            report = store.gc()
        kept.clock.advance(1)

    assert report.others == 1
    assert kept.keys("catalog/") == {report.snapshot}


def test_gc_is_refused_where_it_would_harm(kept: Kept, tmp_path: Path) -> None:
    with kept.open() as store, pytest.raises(ConfigurationError, match="say so with --alone"):
        store.gc(timedelta(minutes=59))
    with kept.open() as writer, kept.open() as store:
        writer.ingest()
        with pytest.raises(StoreBusyError, match="a process works with s3://bucket/bars"):
            store.gc(AT_ONCE, alone=True)
    with (
        pipeline(config(tmp_path / "disk", ["AAPL"], FIRST, LAST), kept.provider) as on_disk,
        pytest.raises(ConfigurationError, match="is on a disk"),
    ):
        on_disk.gc()
    before = kept.keys()
    kept.lose_state()
    with kept.open() as store, pytest.raises(ConfigurationError, match="'marketpipe recover'"):
        store.gc(AT_ONCE, alone=True)
    assert kept.keys() == before


def test_a_new_state_is_not_begun_over_the_objects_of_one_that_was_lost(kept: Kept) -> None:
    before = kept.keys()
    kept.lose_state()
    kept.provider.forget()
    with kept.open() as store, pytest.raises(ConfigurationError, match="'marketpipe recover' makes it again"):
        store.ingest()

    assert kept.provider.requests == []
    assert kept.keys() == before


@pytest.fixture(params=some(["an old snapshot", "no snapshot", "a snapshot", "everything collected"]))
def swept(kept: Kept, request: pytest.FixtureRequest) -> Kept:
    if request.param == "an old snapshot":
        kept = Kept(kept.root / "other")
        with kept.open() as store:
            store.ingest()
        with kept.open() as store:
            store.gc(AT_ONCE, alone=True)
        kept.clock.advance(10)
        kept.fill()
    elif request.param != "no snapshot":
        with kept.open() as store:
            store.gc(*((AT_ONCE,) if "everything" in request.param else ()), alone=True)
    return kept


def test_a_lost_state_is_made_again_of_the_objects(swept: Kept) -> None:
    before = swept.answers()
    swept.lose_state()
    with swept.open() as store:
        report = store.recover()

    assert report.ok
    assert report.symbol_days == 2 * len(DATES)
    assert report.set_aside is None
    assert swept.answers() == before
    with swept.open() as store:
        assert store.verify(lock=DatasetLock.parse(before[-2])).ok
        swept.provider.forget()
        assert store.ingest().ok
    assert swept.answers() == before


def test_a_good_state_is_replaced_only_by_force(kept: Kept) -> None:
    before = kept.answers()
    with kept.open() as store, pytest.raises(ConfigurationError, match="there is nothing to recover"):
        store.recover()
    with kept.open() as store:
        report = store.recover(force=True)

    assert report.set_aside is not None
    assert kept.answers() == before


def test_nothing_is_recovered_of_an_empty_bucket(tmp_path: Path) -> None:
    with (
        Kept(tmp_path).open() as store,
        pytest.raises(ConfigurationError, match="no bars are stored at s3://bucket/bars"),
    ):
        store.recover()


def test_dropped_symbols_stay_dropped(kept: Kept) -> None:
    with kept.open() as store:
        store.drop(["BRK.B"])
    before = kept.answers()
    kept.lose_state()
    with kept.open() as store:
        store.recover()

    assert kept.answers() == before
