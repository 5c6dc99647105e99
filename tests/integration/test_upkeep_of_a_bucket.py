"""A bucket is swept of what no file is in, and a state that was lost is made again of the objects alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from marketpipe import place_parts
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError, StoreBusyError
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.infrastructure.objects.object_store import PACKS, ObjectStore, StoredObject
from marketpipe.storage.infrastructure.objects.obstore_objects import ObstoreObjects
from marketpipe.testing import FakeClock, sessions
from tests.support.bucket_stores import answers, bucket_config, in_folders, over
from tests.support.examples import some_params
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-12")]
FIRST, LAST, MIDDLE = DATES[0], DATES[-1], DATES[3]
AT_ONCE = timedelta(0)


@define
class Watched:
    """An object store in the middle of whose listings something else happens."""

    store: ObjectStore
    listing: dict[str, Callable[[], object]]

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        yield from self.store.listed(prefix)
        self.listing.pop(prefix, bool)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@define
class Kept:
    """A store in a bucket of which one day was corrected."""

    root: Path
    provider: ScriptedProvider = field(
        factory=lambda: ScriptedProvider({name: {d: minutes(d, 8) for d in DATES} for name in ("AAPL", "BRK.B")})
    )
    clock: FakeClock = field(factory=FakeClock)
    before: Timestamp | None = None
    listing: dict[str, Callable[[], object]] = field(factory=dict)
    """What happens, once, after the objects with a prefix were listed."""

    def open(self, **changes: Any) -> Pipeline:
        scope = {"symbols": ["AAPL", "BRK.B"], "start": FIRST, "end": LAST, "timeframes": ["5m", "1d"]}
        settings = bucket_config(self.root, **(scope | changes))
        made = in_folders(self.root)
        return over(lambda url: Watched(made(url), self.listing), settings, self.provider, self.clock)

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


def test_a_second_gc_on_a_machine_that_is_behind_undoes_no_drop(kept: Kept) -> None:
    """The packs of the drop are removed with its bars: the snapshot alone tells of it."""
    with kept.open() as store:
        store.gc()
    with kept.open() as store:
        store.drop(["BRK.B"])
    before = kept.answers()
    kept.clock.advance(-300)
    with kept.open() as store:
        assert store.gc(AT_ONCE, alone=True).others == 1
    kept.clock.advance(300)
    kept.lose_state()
    with kept.open() as store:
        assert store.recover().ok

    assert kept.answers() == before


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


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_state_that_was_recovered_takes_the_place_of_the_former_one(kept: Kept, snapshot: bool) -> None:
    if snapshot:
        with kept.open() as store:
            store.gc(AT_ONCE, alone=True)
    before, there = kept.answers(), kept.keys()
    other = kept.root / "state" / "other.sqlite"
    with kept.open(state_path=other) as store:
        store.recover()
    kept.objects.put_new(f"{PACKS}of-the-other-state.pack", b"whatever")

    for dry_run in (False, True):
        with kept.open() as store, pytest.raises(ConfigurationError, match=f"have another state since .*{other}"):
            store.gc(AT_ONCE, alone=True, dry_run=dry_run)
    kept.provider.bars["AAPL"][MIDDLE] = minutes(MIDDLE, 5)
    with kept.open() as store, pytest.raises(ConfigurationError, match="have another state since"):
        store.audit(start=MIDDLE, end=MIDDLE, adopt=True)
    assert kept.keys() == {*there, f"{PACKS}of-the-other-state.pack"}
    with kept.open(state_path=other) as store:
        store.gc(AT_ONCE, alone=True)
    assert kept.answers() == before


def test_a_recovery_is_refused_while_gc_works_and_the_other_way_round(kept: Kept) -> None:
    """While the state is archived the catalog names no object: each of them would be one that no file is in."""
    before, refused = kept.answers(), list[StoreBusyError]()

    def recover() -> None:
        with kept.open() as other, pytest.raises(StoreBusyError) as found:
            other.recover(force=True)
        refused.append(found.value)

    def collect() -> None:
        with kept.open() as other, pytest.raises(StoreBusyError) as found:
            other.gc()
        refused.append(found.value)

    kept.listing[PACKS] = recover
    with kept.open() as store:
        assert store.gc().kept == len(kept.referenced())
    kept.listing[PACKS] = collect
    with kept.open() as store:
        assert store.recover(force=True).ok

    assert len(refused) == 2
    assert kept.answers() == before


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_state_that_is_lost_while_gc_works_lets_no_object_be_removed(kept: Kept, dry_run: bool) -> None:
    kept.listing[PACKS] = kept.lose_state
    before = kept.keys("")
    with kept.open() as store, pytest.raises(ConfigurationError, match="nothing was removed: the state names no data"):
        store.gc(AT_ONCE, alone=True, dry_run=dry_run)

    assert kept.keys("") == before
    with kept.open() as store, pytest.raises(ConfigurationError, match="the state knows no file in them"):
        store.ingest()


def test_a_new_state_is_not_begun_over_the_objects_of_one_that_was_lost(kept: Kept) -> None:
    before = kept.keys()
    kept.lose_state()
    kept.provider.forget()
    with kept.open() as store, pytest.raises(ConfigurationError, match="'marketpipe recover' makes it again"):
        store.ingest()

    assert kept.provider.requests == []
    assert kept.keys() == before


@pytest.fixture(params=some_params(["an old snapshot", "no snapshot", "a snapshot", "everything collected"]))
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


def test_a_state_stays_if_the_bucket_may_only_be_read(kept: Kept) -> None:
    class OnlyRead(ObstoreObjects):
        def put_new(self, key: str, content: bytes) -> bool:
            raise StorageError(f"cannot write {key}: error 403 AccessDenied")

    before = kept.answers()
    settings = bucket_config(kept.root, symbols=["AAPL"], start=FIRST, end=LAST)
    objects = in_folders(kept.root)("s3://bucket/bars")
    assert isinstance(objects, ObstoreObjects)
    read = OnlyRead(objects.client, objects.place)
    with (
        over(lambda _: read, settings, kept.provider, kept.clock) as store,
        pytest.raises(StorageError, match="cannot write probes/"),
    ):
        store.recover(force=True)

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


@pytest.mark.parametrize("are_compacted", [False, True])
def test_days_of_an_object_that_somebody_has_removed_are_found_and_brought_again(
    tmp_path: Path, are_compacted: bool
) -> None:
    kept = Kept(tmp_path)
    with kept.open() as store:
        assert store.ingest().ok
        bars = store.load("AAPL", FIRST, LAST)
        kept.clock.advance(30 * 86_400)
        if are_compacted:
            store.compact()
        catalog = place_parts.known_state(store._parts).file_catalog
        kept.objects.delete({file.object for file in catalog.below("data")})

    with kept.open() as store:
        found = store.verify()
        assert found.suspect == 2 * len(DATES)
        if are_compacted:
            assert {problem.path.rpartition("/")[2] for problem in found.problems} == {"days.parquet"}
        assert "it does not exist" in found.problems[0].reason
        assert store.ingest().ok
        assert store.verify().ok
        assert store.load("AAPL", FIRST, LAST) == bars
