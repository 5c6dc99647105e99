"""SQL over a store in a bucket answers as over one in folders, and leaves nothing on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry

from marketpipe import derived
from marketpipe.config import PipelineConfig
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.testing import FakeClock, bar
from tests.support.in_memory_object_store import InMemoryObjectStore
from tests.support.pipeline_ring import THURSDAY, TUESDAY, WEDNESDAY, minutes
from tests.support.scripted_provider import ScriptedProvider

DATES = [TUESDAY, WEDNESDAY, THURSDAY]
QUERIES = (
    "SELECT * FROM bars ORDER BY ALL",
    "SELECT symbol, sum(volume) AS volume FROM bars_5m WHERE symbol = 'AAPL' GROUP BY symbol",
    "SELECT * FROM bars_1d ORDER BY ALL",
    "SELECT * FROM bars_1w ORDER BY ALL",
)


class OverObjects(Pipeline):
    objects = InMemoryObjectStore()
    _new_object_store = staticmethod(lambda _: OverObjects.objects)


def pipeline(kind: type[Pipeline], root: Path, **changes: Any) -> Pipeline:
    bars = {symbol: {date: minutes(date, 6) for date in DATES} for symbol in ("AAPL", "MSFT")}
    daily = {symbol: {date: bar(f"{date}T05:00:00Z", 100.0) for date in DATES} for symbol in bars}
    config = PipelineConfig(
        provider="scripted", symbols=[*bars], start=TUESDAY, end=THURSDAY, root=root, timeframes=["5m", "1d"], **changes
    )
    provider = ScriptedProvider(bars, official=daily)
    return kind(config, market_data_provider=provider, clock=FakeClock(), registry=CollectorRegistry())


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Pipeline, Pipeline]]:
    OverObjects.objects = InMemoryObjectStore()
    state = tmp_path / "state" / "bucket.sqlite"
    in_bucket = pipeline(OverObjects, tmp_path, output_path="s3://bucket/bars", state_path=state)
    with pipeline(Pipeline, tmp_path) as on_disk, in_bucket:
        yield on_disk, in_bucket


@pytest.mark.parametrize("copies", [False, True])
def test_a_bucket_answers_as_folders_do(both: tuple[Pipeline, Pipeline], tmp_path: Path, copies: bool) -> None:
    for each in both:
        assert each.ingest().ok
        if copies:
            each.aggregate(timeframes=["1m"])
    on_disk, in_bucket = both
    for sql in QUERIES:
        assert in_bucket.query(sql).equals(on_disk.query(sql)), sql
    in_bucket.export_query(tmp_path / "answer.parquet", QUERIES[0])
    assert pq.read_table(tmp_path / "answer.parquet").num_rows == 36


def test_nothing_is_left_when_the_store_is_closed(both: tuple[Pipeline, Pipeline]) -> None:
    both[1].ingest()
    both[1].query(QUERIES[0])
    folder = derived.query(both[1]._parts)._source.layout.data.parent
    assert folder.is_dir()
    both[1].close()
    assert not folder.exists()


def test_a_bucket_without_bars_is_named_by_its_url(both: tuple[Pipeline, Pipeline]) -> None:
    with pytest.raises(ConfigurationError, match="s3://bucket/bars"):
        both[1].query(QUERIES[0])
