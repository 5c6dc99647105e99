"""Months of a store in a bucket become objects of many symbols: every answer stays, and a year takes few requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from marketpipe.config import PipelineConfig
from marketpipe.pipeline import Pipeline
from marketpipe.place_parts import file_catalog
from marketpipe.shared_kernel.domain.object_catalog import PlacedFile
from marketpipe.storage.infrastructure.objects.object_store import GET, PUT
from marketpipe.testing import FakeClock
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.pipeline_ring import minutes
from tests.support.scripted_provider import ScriptedProvider

SYMBOLS = ("AAPL", "BRK.B", "MSFT")
DATES = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-02-01", "2024-02-02", "2024-02-05")


class Killed(BaseException):
    """As of a process that ends at once."""


class Objects(InMemoryObjectStore):
    """``on_put`` is called after each object was put, before the catalog knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.on_put: Callable[[], None] = lambda: None

    def put_new(self, key: str, content: bytes) -> bool:
        found = super().put_new(key, content)
        self.on_put()
        return found


class OverObjects(Pipeline):
    objects = Objects()
    _new_object_store = staticmethod(lambda _: OverObjects.objects)

    def bars(self, as_of: Any = None, symbols: Any = SYMBOLS) -> Any:
        return self.load(symbols, self.config.start, self.config.end, as_of=as_of).to_pydict()

    def files(self) -> list[PlacedFile]:
        return [*file_catalog(self._parts).below("data")]


class Opening:
    """Opens pipelines of one store, as one process after the other does."""

    def __init__(self, root: Path, dates: tuple[str, ...] = DATES) -> None:
        self.clock, self.root, self.dates = FakeClock(), root, dates
        self.provider = ScriptedProvider(
            {symbol: {date: minutes(date, 8, price=100.0 + n) for n, date in enumerate(dates)} for symbol in SYMBOLS}
        )

    def __call__(self) -> OverObjects:
        state, span = self.root / "state.sqlite", {"start": self.dates[0], "end": self.dates[-1]}
        config = PipelineConfig(
            provider="scripted",
            symbols=SYMBOLS,
            root=self.root,
            output_path="s3://bucket/bars",
            state_path=state,
            **span,
        )
        return OverObjects(config, market_data_provider=self.provider, clock=self.clock, registry=CollectorRegistry())


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    OverObjects.objects = Objects()
    return Opening(tmp_path)


@pytest.fixture
def store(opening: Opening) -> Iterator[OverObjects]:
    with opening() as made:
        assert made.ingest().ok
        yield made


def test_the_months_of_all_symbols_become_one_object_each_and_every_answer_stays(
    store: OverObjects, opening: Opening
) -> None:
    bars, lock, then = store.bars(), store.freeze(), opening.clock.now()
    opening.clock.advance(60)
    with opening() as other:  # which has nothing in memory
        OverObjects.objects.requests.clear()
        report = other.compact()
        assert OverObjects.objects.requests[PUT] == 2
        assert OverObjects.objects.requests[GET] == 2  # all days of a month together

    assert report.ok
    assert [f"{each.month.symbol} {each.month}" for each in report.changed] == [
        f"{symbol} 2024-{month}" for symbol in SYMBOLS for month in ("01", "02")
    ]
    assert len({file.object for file in store.files()}) == 2
    assert {file.path.rpartition("/")[2] for file in store.files()} == {"days.parquet"}
    assert store.bars() == store.bars(as_of=then) == bars
    assert store.freeze().text() == lock.text()
    assert store.verify(lock=lock).ok
    assert store.compact().changed == ()


def test_a_year_of_a_symbol_takes_a_request_for_each_of_its_months(tmp_path: Path) -> None:
    OverObjects.objects = Objects()
    opening = Opening(tmp_path, tuple(f"2023-{month:02}-{day:02}" for month in range(1, 13) for day in (8, 10, 16)))
    with opening() as made:
        made.ingest()
        bars = made.bars(symbols="MSFT")
        made.compact()
    with opening() as made:
        OverObjects.objects.requests.clear()
        assert made.bars(symbols="MSFT") == bars
        assert OverObjects.objects.requests.keys() == {GET}
        assert OverObjects.objects.requests[GET] <= 12


def test_a_reader_sees_the_same_bars_at_every_moment_of_a_compaction(store: OverObjects, opening: Opening) -> None:
    bars, ends, found = store.bars(), Event(), list[bool]()

    def reads() -> None:
        with opening() as reader:
            while not ends.is_set():
                found.append(reader.bars() == bars)

    def reads_before_the_catalog_changes() -> None:
        with opening() as reader:
            found.append(reader.bars() == bars)

    OverObjects.objects.on_put = reads_before_the_catalog_changes
    with ThreadPoolExecutor(1) as executor:
        reading = executor.submit(reads)
        try:
            store.compact()
        finally:
            ends.set()
        reading.result()
    assert len(found) > 2
    assert all(found)


def test_a_compaction_that_is_killed_leaves_orphans_and_nothing_else(store: OverObjects, opening: Opening) -> None:
    bars, files = store.bars(), store.files()

    def kill() -> None:
        raise Killed

    OverObjects.objects.on_put = kill
    with pytest.raises(Killed):
        store.compact()
    OverObjects.objects.on_put = lambda: None

    orphans = OverObjects.objects.objects.keys() - file_catalog(store._parts).objects().keys()
    assert len([key for key in orphans if key.startswith("objects/")]) == 1
    assert store.files() == files
    with opening() as other:
        assert other.bars() == bars
        assert len(other.compact().changed) == 6
        assert other.bars() == bars


def test_a_correction_makes_files_of_the_days_of_its_symbol_alone(store: OverObjects, opening: Opening) -> None:
    store.compact()
    bars, then = store.bars(), opening.clock.now()
    opening.clock.advance(60)
    opening.provider.bars["MSFT"][DATES[1]] = minutes(DATES[1], 5, price=300.0)

    store.audit(SYMBOLS, DATES[0], DATES[-1], adopt=True)

    corrected = store.bars()
    assert corrected != bars
    assert store.bars(as_of=then) == bars
    assert [file.path for file in store.files() if not file.path.endswith("days.parquet")] == [
        f"data/symbol=MSFT/year=2024/month=01/day=0{day}.parquet" for day in (2, 3, 4)
    ]
    assert [str(each.month) for each in store.compact().changed] == ["2024-01"]
    assert store.bars() == corrected
    assert store.bars(as_of=then) == bars
    assert store.verify().ok


def test_a_dry_run_puts_nothing_and_undoing_brings_the_days_back(store: OverObjects) -> None:
    files, bars = store.files(), store.bars()
    OverObjects.objects.requests.clear()
    assert len(store.compact(dry_run=True).changed) == 6
    assert OverObjects.objects.requests[PUT] == 0
    assert store.files() == files

    store.compact()
    assert len(store.compact(undo=True).changed) == 6

    assert [(f.path, f.size, f.modified_ns) for f in store.files()] == [(f.path, f.size, f.modified_ns) for f in files]
    assert store.bars() == bars


def test_each_month_is_counted(store: OverObjects) -> None:
    seen = list[tuple[int, int]]()
    store.compact(on_month=lambda done, of: seen.append((done, of)))
    assert seen == [(done, 6) for done in range(7)]
