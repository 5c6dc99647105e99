"""Which feed, adjustment and symbol mapping a store is of, what is refused there, and what the message recommends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from marketpipe import DatasetMismatchError, IngestionReport, Pipeline, StoreConfig
from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider


def ingested(root: Path, **alpaca: str) -> IngestionReport:
    """Ingest two days of an Alpaca dataset."""
    offered = alpaca_capabilities(
        alpaca.get("feed", "sip"), alpaca.get("adjustment", "raw"), 200, alpaca.get("asof", "-")
    )
    bars = {"AAPL": {day: minutes(day) for day in (TUESDAY, WEDNESDAY)}}
    provider = ScriptedProvider(bars, capabilities=offered)
    with pipeline(settings(root, **alpaca), provider) as store:
        return store.ingest()


def settings(root: Path, **alpaca: str) -> Any:
    return config(root, ["AAPL"], TUESDAY, WEDNESDAY, provider="alpaca", alpaca=alpaca)


def test_a_store_of_the_former_default_goes_on_with_its_feed(tmp_path: Path) -> None:
    ingested(tmp_path, feed="iex")
    with Pipeline(settings(tmp_path, feed="iex")) as store:
        assert (store.plan().planned, store.plan().already_settled) == (0, 2)


@pytest.mark.parametrize(
    ("stored", "wanted", "advice"),
    [
        ({"feed": "iex"}, {}, "alpaca: feed: iex"),
        ({"feed": "otc"}, {"feed": "iex"}, "alpaca: feed: otc"),
        ({"adjustment": "all"}, {}, "alpaca: adjustment: all"),
        ({"asof": "2022-06-09"}, {}, "alpaca: asof: 2022-06-09"),
        ({}, {"asof": "2022-06-09"}, "alpaca: asof: -"),
        ({"feed": "iex", "asof": "2020-01-02"}, {}, "alpaca: feed: iex, alpaca: asof: 2020-01-02"),
    ],
)
def test_another_dataset_is_refused_with_the_setting_of_the_stored_one(
    tmp_path: Path, stored: dict[str, str], wanted: dict[str, str], advice: str
) -> None:
    ingested(tmp_path, **stored)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    with Pipeline(settings(tmp_path, **wanted)) as store, pytest.raises(DatasetMismatchError) as refusal:
        store.plan()
    assert str(refusal.value).endswith(f"To go on with what is stored, configure {advice}")
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


def test_the_mapping_of_symbols_is_recorded_in_files_and_state(tmp_path: Path) -> None:
    ingested(tmp_path, asof="2022-06-09")
    (day, *_) = sorted((tmp_path / "data").rglob("*.parquet"))
    assert (pq.read_schema(day).metadata or {})[b"marketpipe.asof"] == b"2022-06-09"
    with Pipeline(settings(tmp_path, asof="2022-06-09")) as store:
        assert str(store.status().identity) == "provider alpaca, feed sip, adjustment raw, asof 2022-06-09"


def test_without_a_mapping_files_have_the_bytes_that_they_had_before_it_was_recorded(tmp_path: Path) -> None:
    ingested(tmp_path)
    (day, *_) = sorted((tmp_path / "data").rglob("*.parquet"))
    assert b"marketpipe.asof" not in (pq.read_schema(day).metadata or {})


def test_a_small_share_of_the_market_is_pointed_out_before_and_when_a_store_is_begun(tmp_path: Path) -> None:
    with Pipeline(settings(tmp_path, feed="iex")) as store:
        (planned,) = store.plan().notices
    first, second = ingested(tmp_path, feed="iex"), ingested(tmp_path, feed="iex")
    assert "a twenty-eighth of the volume" in planned
    assert (first.notices, second.notices) == ((planned,), ())
    assert ingested(tmp_path / "other").notices == ()


def test_a_reader_of_the_store_needs_no_feed(tmp_path: Path) -> None:
    ingested(tmp_path, feed="iex")
    named = {name: getattr(settings(tmp_path), name) for name in ("output_path", "aggregates_path", "quarantine_path")}
    paths = {**named, "revisions_path": tmp_path / "revisions", "state_path": tmp_path / "state" / "marketpipe.sqlite"}
    with Pipeline(StoreConfig(**paths)) as store:
        assert str(store.status().identity) == "provider alpaca, feed iex, adjustment raw"
