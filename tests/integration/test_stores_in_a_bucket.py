"""A store in a bucket does all that one in folders does, has the same bytes, and costs few requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from prometheus_client import CollectorRegistry

from marketpipe import place_parts
from marketpipe.config import PipelineConfig
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.infrastructure.machine.disk import read_bytes, walk
from marketpipe.storage.infrastructure.objects.object_store import PACKS, PUT
from marketpipe.storage.infrastructure.objects.packs import index_at_the_end
from marketpipe.testing import FakeClock, bar
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, minutes
from tests.support.scripted_provider import Row, ScriptedProvider

SYMBOLS, DATES = ["AAPL", "MSFT"], [TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]
BUCKET = "s3://bucket/bars"


@frozen
class Two:
    """The same pipeline over folders and over a bucket, each with its own provider of the same bars."""

    pipelines: tuple[Pipeline, Pipeline]
    providers: tuple[ScriptedProvider, ScriptedProvider]
    objects: InMemoryObjectStore
    clock: FakeClock

    def both(self, ask: Callable[[Pipeline], Any]) -> Any:
        """Return what both answer."""
        one, other = map(ask, self.pipelines)
        assert one == other
        return other

    def answer(self, symbol: str, date: str, rows: list[Row]) -> None:
        for provider in self.providers:
            provider.bars[symbol][date] = rows

    def puts(self, act: Callable[[Pipeline], object]) -> int:
        before = self.objects.requests[PUT]
        self.both(lambda pipeline: act(pipeline) is None)
        return self.objects.requests[PUT] - before


def settings(root: Path, **changes: Any) -> PipelineConfig:
    given = {"provider": "scripted", "symbols": SYMBOLS, "start": TUESDAY, "end": FRIDAY, "workers": 1, "root": root}
    return PipelineConfig(**{**given, "timeframes": ["5m", "1d"], **changes})


def in_bucket(root: Path, **changes: Any) -> PipelineConfig:
    return settings(root, output_path=BUCKET, state_path=root / "state" / "bucket.sqlite", **changes)


def over(objects: InMemoryObjectStore) -> type[Pipeline]:
    class OverObjects(Pipeline):
        _new_object_store = staticmethod(lambda _: objects)

    return OverObjects


def new_provider() -> ScriptedProvider:
    bars = {symbol: {date: minutes(date, 6) for date in DATES} for symbol in SYMBOLS}
    bars["AAPL"][TUESDAY] = [*minutes(TUESDAY, 5), bar(f"{TUESDAY}T14:40:00Z", -1.0)]
    daily = {symbol: {date: bar(f"{date}T05:00:00Z", 100.0) for date in DATES} for symbol in SYMBOLS}
    return ScriptedProvider(bars, official=daily)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    objects, clock, providers = InMemoryObjectStore(), FakeClock(), (new_provider(), new_provider())
    given = [{"registry": CollectorRegistry(), "market_data_provider": each, "clock": clock} for each in providers]
    with Pipeline(settings(tmp_path), **given[0]) as one, over(objects)(in_bucket(tmp_path), **given[1]) as other:
        yield Two((one, other), providers, objects, clock)


def files(pipeline: Pipeline) -> dict[str, object]:
    """Return the content of each file by its path in the store; of minute bars with the time."""
    layout, found = place_parts.layout(pipeline._parts), dict[str, object]()
    for area, root in {"data": layout.data, **layout.derived()}.items():
        for folder, _, names in walk(layout.disk, root):
            for path in (f"{folder}/{name}" for name in names if not name.startswith(".")):
                moment = layout.disk.stat(path).st_mtime_ns if area == "data" else None
                found[area + path.removeprefix(str(root))] = read_bytes(layout.disk, path), moment
    return found


def loaded(pipeline: Pipeline, **options: Any) -> list[Row]:
    rows: list[Row] = pipeline.load("AAPL", TUESDAY, FRIDAY, **options).to_pylist()
    return rows


def test_both_have_the_same_files_and_give_the_same_answers(two: Two) -> None:
    report = two.both(lambda pipeline: evolve(pipeline.ingest(), seconds=0.0))
    assert (report.state, report.ok, report.bars) == ("completed", True, 47)
    assert len([name for name in two.both(files) if name.startswith("data/")]) == 8
    assert [name for name in files(two.pipelines[1]) if name.startswith("quarantine")] != []

    two.both(Pipeline.status)
    two.both(Pipeline.dataset)
    two.both(lambda pipeline: pipeline.coverage().symbols)
    two.both(lambda pipeline: loaded(pipeline, timeframe="5m"))
    two.both(lambda pipeline: loaded(pipeline, timeframe="1d"))
    two.both(lambda pipeline: (pipeline.freeze(), pipeline.verify(), pipeline.validate(), pipeline.aggregate()))
    assert two.both(loaded)
    assert not two.both(lambda pipeline: pipeline.verify().problems)


def test_a_changed_history_is_adopted_and_loaded_as_of_before(two: Two) -> None:
    two.both(lambda pipeline: pipeline.ingest().ok)
    before, was = str(two.clock.now()), two.both(loaded)
    two.clock.advance(3600)
    two.answer("AAPL", WEDNESDAY, minutes(WEDNESDAY, 6, price=50.0))
    two.answer("AAPL", TUESDAY, minutes(TUESDAY, 6))

    puts = two.puts(lambda pipeline: pipeline.audit(["AAPL"], start=TUESDAY, adopt=True))

    two.both(files)
    assert two.both(loaded) != was
    assert two.both(lambda pipeline: loaded(pipeline, as_of=before)) == was
    assert not two.both(lambda pipeline: pipeline.verify().problems)
    assert puts <= 4


def test_a_dropped_symbol_is_gone_alike_for_few_requests(two: Two) -> None:
    two.both(lambda pipeline: pipeline.ingest().ok)
    before, was = str(two.clock.now()), two.both(loaded)
    two.clock.advance(3600)

    assert two.puts(lambda pipeline: pipeline.drop(["AAPL"])) == 3  # aggregates, minutes, official days

    two.both(files)
    assert two.both(lambda pipeline: [str(each.symbol) for each in pipeline.status().symbols]) == ["MSFT"]
    assert two.both(lambda pipeline: loaded(pipeline, as_of=before)) == was


def test_a_run_with_nothing_to_do_asks_the_bucket_for_nothing(two: Two, tmp_path: Path) -> None:
    two.both(lambda pipeline: pipeline.ingest().ok)
    two.objects.requests.clear()

    two.both(lambda pipeline: (pipeline.plan().planned, pipeline.ingest().planned))
    given: dict[str, Any] = {"registry": CollectorRegistry(), "market_data_provider": two.providers[1]}
    with over(two.objects)(in_bucket(tmp_path), clock=two.clock, **given) as another:
        assert (another.plan().planned, another.ingest().planned) == (0, 0)

    assert not two.objects.requests


def test_a_store_is_opened_again_by_another_process(two: Two, tmp_path: Path) -> None:
    two.both(lambda pipeline: pipeline.ingest().ok)
    rows = two.both(loaded)

    with over(two.objects)(in_bucket(tmp_path), market_data_provider=new_provider(), clock=two.clock) as again:
        assert again.plan().planned == 0
        assert loaded(again) == rows
        assert again.config.store_name == BUCKET


class Unconditional(InMemoryObjectStore):
    def put_new(self, key: str, content: bytes) -> bool:
        self.objects[key] = bytes(content)
        return True


def test_a_server_that_ignores_conditions_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    objects = Unconditional()
    with (
        over(objects)(in_bucket(tmp_path), market_data_provider=new_provider(), clock=FakeClock()) as made,
        pytest.raises(ConfigurationError, match="s3://bucket ignores conditional writes"),
    ):
        made.ingest()

    assert objects.objects == {}


def test_a_worker_whose_lease_was_taken_meanwhile_changes_nothing(tmp_path: Path) -> None:
    """As one that was cut off from the state, and comes back when another has the days."""
    objects, clock = Taking(), FakeClock()
    with over(objects)(
        in_bucket(tmp_path, timeframes=[], symbols=["MSFT"]), market_data_provider=new_provider(), clock=clock
    ) as made:
        seen = list[dict[str, object]]()
        objects.acts = [lambda: take_over(made), lambda: seen.append(files(made))]
        report = made.ingest()
        assert len(made.load("MSFT", TUESDAY, FRIDAY)) == 24

    assert [name for found in seen for name in found if name.startswith("data")] == []
    assert len(seen) == 1
    assert report.ok
    assert len([key for key, content in objects.objects.items() if has_minutes(key, content)]) == 2


class Taking(InMemoryObjectStore):
    """While packs of bars are put, somebody else does something, once for each."""

    def __init__(self) -> None:
        super().__init__()
        self.acts = list[Callable[[], object]]()

    def put_new(self, key: str, content: bytes) -> bool:
        if self.acts and has_minutes(key, content):
            self.acts.pop(0)()
        return super().put_new(key, content)


def has_minutes(key: str, content: bytes) -> bool:
    index = index_at_the_end(content, len(content)) if key.startswith(PACKS) else None
    return index is not None and any(file.path.startswith("data/") for file in index.files)


def take_over(made: Pipeline) -> None:
    state = place_parts.state(made._parts)
    with state._database.transaction() as connection:
        connection.execute("DELETE FROM claims WHERE store_id = ?", (state._database.store_id,))
        connection.execute("DELETE FROM leases WHERE store_id = ?", (state._database.store_id,))


def jobs_of_bars(objects: InMemoryObjectStore, before: Iterable[str] = ()) -> set[str]:
    packs = [content for key, content in objects.objects.items() if key.startswith(PACKS) and key not in before]
    indexes = [index_at_the_end(content, len(content)) for content in packs]
    return {index.job for index in indexes if any(file.path.startswith("data/") for file in index.files)}


def test_an_object_of_bars_names_the_ingestion_that_brought_them(two: Two) -> None:
    pipeline, objects = two.pipelines[1], two.objects
    pipeline.ingest(end=THURSDAY)
    assert jobs_of_bars(objects) == {"1"}

    before = [*objects.objects]
    pipeline.ingest()
    assert jobs_of_bars(objects, before) == {"2"}
