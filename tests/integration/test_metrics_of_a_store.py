"""What metrics and /readyz say of a store: fresh or stale, complete or not."""

from __future__ import annotations

import gc
import json
import urllib.error
import urllib.request
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from marketpipe import ConfigurationError, Pipeline
from marketpipe.config import StoreConfig
from marketpipe.monitoring import readiness_during_a_run
from marketpipe.shared_kernel.events import JobStarted
from marketpipe.store import Store
from marketpipe.testing import FakeClock
from tests.support.measured_store import (
    AFTER_FRIDAY,
    AFTER_MONDAY,
    BARS,
    MONDAY,
    SYMBOLS,
    break_the_state,
    close_of,
    measured_store,
    value_of,
    values_of,
)
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, config, minutes
from tests.support.scripted_provider import ScriptedProvider


def test_a_store_that_has_every_session_is_fresh_complete_and_ready(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
        registry, health = made.metrics_registry(), made.health()
        found = {name: value_of(registry, f"store_{name}") for name in ("lag_sessions", "bars", "ready", "symbols")}
        newest = value_of(registry, "store_newest_complete_session_timestamp_seconds")
        verdicts = values_of(made, "store_coverage_symbol_days", "verdict")

    assert (health.ok, health.lag_sessions, health.missing) == (True, 0, 0)
    assert found == {"lag_sessions": 0, "bars": 40, "ready": 1, "symbols": 2}
    assert newest == close_of(FRIDAY)
    assert sum(verdicts.values()) == 8


def test_a_file_that_is_gone_is_missing_before_coverage_is_assessed_again(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
        assert made.health().ok
    (tmp_path / "data" / "symbol=AAPL" / "year=2024" / "month=01" / "day=02.parquet").unlink()
    with measured_store(tmp_path) as made:
        health = made.health()
        assert values_of(made, "store_overdue_symbol_days", "verdict") == {}

    (reason,) = health.reasons
    assert (reason.check, reason.value, health.missing) == ("complete", 1, 1)
    assert str(health.assessed_at) == AFTER_FRIDAY


def test_a_store_whose_updates_stopped_lags_behind(tmp_path: Path) -> None:
    with measured_store(tmp_path, end="latest") as made:
        made.ingest()
    with measured_store(tmp_path, end="latest", now="2024-01-10T06:00:00Z") as made:
        registry, health = made.metrics_registry(), made.health()
        lag = value_of(registry, "store_lag_sessions"), value_of(registry, "store_lagging_symbols")
        newest = value_of(registry, "store_newest_complete_session_timestamp_seconds")

    assert lag == (2, 2)
    assert newest == close_of(FRIDAY)
    reason, _ = health.reasons  # and the older session is missing, too
    assert (reason.check, reason.value, reason.limit) == ("fresh", 2, 1)
    assert "2 sessions missing: the last complete one is 2024-01-05; run 'marketpipe update'" in reason.message


def test_a_store_with_a_fixed_end_does_not_lag_until_an_update_has_gone_beyond_it(tmp_path: Path) -> None:
    with measured_store(tmp_path, end=THURSDAY, now=AFTER_MONDAY, max_lag_sessions=0) as made:
        made.ingest()
        assert made.health().lag_sessions == 0
        made.ingest(end=FRIDAY)
        assert made.health().lag_sessions == 1


def test_a_session_that_one_symbol_lacks_is_not_complete(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest(symbols=["AAPL"])
        made.ingest(symbols=["MSFT"], end=WEDNESDAY)
        registry, health = made.metrics_registry(), made.health()

    assert health.lag_sessions == 2
    assert [reason.check for reason in health.reasons] == ["fresh", "complete"]
    assert health.missing == 1  # of the two, one is within the allowed lag
    with measured_store(tmp_path) as made:
        registry = made.metrics_registry()
        assert value_of(registry, "store_lagging_symbols") == 1
        assert value_of(registry, "store_newest_complete_session_timestamp_seconds") == close_of(WEDNESDAY)
        assert value_of(registry, "store_coverage_symbol_days", verdict="missing") == 2
        assert value_of(registry, "store_overdue_symbol_days", verdict="missing") == 1


def test_a_session_that_is_not_final_is_not_overdue(tmp_path: Path) -> None:
    bars = {symbol: {**days, MONDAY: minutes(MONDAY, 5)} for symbol, days in BARS.items()}
    during_monday = "2024-01-08T18:00:00Z"
    with measured_store(tmp_path, MONDAY, during_monday, provider=ScriptedProvider(bars), max_lag_sessions=0) as made:
        made.ingest()
        verdicts, health = values_of(made, "store_coverage_symbol_days", "verdict"), made.health()

    assert verdicts["partial"] == 2
    assert (health.ok, health.lag_sessions, health.missing) == (True, 0, 0)


def test_a_file_that_is_gone_is_no_bar_of_the_store(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
        (lost,) = (tmp_path / "data" / "symbol=AAPL").rglob("day=03.parquet")
        lost.unlink()
        registry = made.metrics_registry()
        found = value_of(registry, "store_missing_symbol_days"), value_of(registry, "store_bars")

    assert found == (1, 35)


def test_verdicts_are_found_once_and_again_when_checkpoints_were_written(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest(end=THURSDAY)
        assert values_of(made, "store_coverage_symbol_days", "verdict")["missing"] == 2
        first = values_of(made, "store_measured_timestamp_seconds", "part")["coverage"]
    later = "2024-01-06T06:10:00Z"
    with measured_store(tmp_path, now=later) as made:
        assert values_of(made, "store_measured_timestamp_seconds", "part")["coverage"] == first
        made.ingest()
        verdicts = values_of(made, "store_coverage_symbol_days", "verdict")

        assert "missing" not in verdicts
        assert values_of(made, "store_measured_timestamp_seconds", "part")["coverage"] == first + 600


def test_verdicts_are_found_again_when_a_run_has_written_files_of_any_kind(tmp_path: Path) -> None:
    found = list[float]()
    for minute in (0, 10, 20):
        with measured_store(tmp_path, now=f"2024-01-06T06:{minute:02}:00Z") as made:
            made.ingest()
            made.aggregate(timeframes=["5m"] if minute else None)
            found.append(values_of(made, "store_measured_timestamp_seconds", "part")["coverage"])

    assert [each - found[0] for each in found] == [0, 600, 600]  # the third aggregation had nothing to write


def test_verdicts_are_found_again_when_the_calendar_has_changed(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
        assert sum(values_of(made, "store_coverage_symbol_days", "verdict").values()) == 8
    calendar = {"exceptions": [{"date": WEDNESDAY, "closed": True}]}
    settings = config(tmp_path, SYMBOLS, TUESDAY, FRIDAY, metrics={"store": "us"}, calendar=calendar)
    clock, provider = FakeClock(AFTER_FRIDAY), ScriptedProvider(BARS)
    with Pipeline(settings, registry=CollectorRegistry(), market_data_provider=provider, clock=clock) as made:
        assert sum(values_of(made, "store_coverage_symbol_days", "verdict").values()) == 6


def test_a_store_that_holds_nothing_yet_is_not_ready(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        health, registry = made.health(), made.metrics_registry()
        assert value_of(registry, "store_ready") == 0
    assert {reason.check for reason in health.reasons} == {"fresh", "complete"}
    assert not (tmp_path / "state").exists()


def test_a_store_that_was_not_assessed_yet_is_not_ready_during_a_run(tmp_path: Path) -> None:
    answers = list[tuple[bool, Mapping[str, Any]]]()
    with measured_store(tmp_path, port=0) as made:
        made.ingest(end=THURSDAY)
        made.subscribe(JobStarted, lambda _: answers.append(readiness_during_a_run(made)))
        made.ingest()

    ((ready, answer),) = answers
    assert (ready, answer["missing"]) == (False, None)
    assert [reason["check"] for reason in answer["reasons"]] == ["complete"]
    assert "coverage was not assessed yet" in answer["reasons"][0]["message"]


def test_files_that_are_gone_of_symbols_that_are_not_wanted_any_more_do_not_count(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
    (tmp_path / "data" / "symbol=MSFT" / "year=2024" / "month=01" / "day=02.parquet").unlink()
    settings = config(tmp_path, ["AAPL"], TUESDAY, FRIDAY)
    with Pipeline(
        settings,
        registry=CollectorRegistry(),
        market_data_provider=ScriptedProvider(BARS),
        clock=FakeClock(AFTER_FRIDAY),
    ) as made:
        assert made.health().ok


def test_a_state_that_is_damaged_is_the_reason_why_a_store_is_not_ready(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
    state = tmp_path / "state" / "marketpipe.sqlite"
    state.write_bytes(b"no database " * 1000)
    with measured_store(tmp_path) as made:
        health = made.health()
    (reason,) = health.reasons
    assert (reason.check, "marketpipe recover" in reason.message) == ("readable", True)


def test_a_state_that_another_process_has_replaced_is_opened_again(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest(end=WEDNESDAY)
    with measured_store(tmp_path) as reader:
        lags = [reader.health().lag_sessions]
        with measured_store(tmp_path) as other:
            other.recover(force=True)
        with measured_store(tmp_path) as other:
            other.ingest()
        lags.append(reader.health().lag_sessions)
        (tmp_path / "state" / "marketpipe.sqlite").rename(tmp_path / "elsewhere.sqlite")
        health = reader.health()

    assert lags == [2, 0]
    assert not health.ok


def test_the_last_job_of_each_kind_is_shown_to_later_processes(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest()
    with measured_store(tmp_path) as made:
        registry = made.metrics_registry()

        at = value_of(registry, "job_last_success_timestamp_seconds", job_kind="ingest")
        assert at == 1704520800.0 == value_of(registry, "job_last_end_timestamp_seconds", job_kind="ingest")
        assert value_of(registry, "job_last_success_duration_seconds", job_kind="ingest") == 0
        assert values_of(made, "job_last_state", "state") == {"completed": 1}
        assert value_of(registry, "bars_ingested_total") == 40


def test_several_stores_of_one_service_share_a_registry_until_they_are_closed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with (
        measured_store(tmp_path / "one", registry=registry) as one,
        measured_store(tmp_path / "two", registry=registry, store="other") as two,
    ):
        for made in (one, two):
            made.ingest(end=THURSDAY if made is two else None)
            made.expose_store()
        text = generate_latest(registry).decode()
        bars = [value_of(registry, "store_bars", store=name) for name in ("us", "other")]

    assert bars == [40, 30]
    assert text.count("# TYPE marketpipe_store_bars gauge") == 1
    assert len(list(text_string_to_metric_families(text))) > 20
    assert value_of(registry, "store_bars") is None
    assert value_of(registry, "bars_ingested_total") == 40  # what was counted stays


def test_pipelines_of_one_store_share_its_place_in_a_registry_until_the_last_is_closed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with measured_store(tmp_path, registry=registry) as made:
        made.ingest()
        with measured_store(tmp_path, registry=registry) as other:
            other.expose_store()
            made.expose_store()
            both = generate_latest(registry).decode()
            made.ingest()
        one = value_of(registry, "store_bars")

    assert both.count("\nmarketpipe_store_bars{") == 1
    assert one == 40
    assert value_of(registry, "store_bars") is None


def test_two_open_stores_of_one_name_in_one_registry_are_refused(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with (
        measured_store(tmp_path / "one", registry=registry),
        pytest.raises(ConfigurationError, match="'us' is the name of two stores in one registry"),
        measured_store(tmp_path / "two", registry=registry),
    ):
        pass
    with measured_store(tmp_path / "two", registry=registry), measured_store(tmp_path / "two", registry=registry):
        """The name is free again, and two pipelines of one store share it."""


def test_the_server_has_metrics_health_and_readiness(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest(end=WEDNESDAY)
        with made.serve_metrics(port=0) as server:
            text = urllib.request.urlopen(server.address, timeout=60).read().decode()
            root = server.address.removesuffix("/metrics")
            alive = json.load(urllib.request.urlopen(f"{root}/healthz", timeout=60))
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(f"{root}/readyz", timeout=60)
            answer = json.load(refusal.value)
            made.ingest()
            with (
                made.serve_metrics(port=0) as second,
                measured_store(tmp_path) as fresh,
                fresh.serve_metrics(port=0) as third,
            ):
                ready = json.load(urllib.request.urlopen(third.address.replace("metrics", "readyz"), timeout=60))
                assert second.address != third.address

    assert 'marketpipe_store_lag_sessions{provider="scripted",session="extended",store="us"} 2.0' in text
    assert alive == {"status": "ok"}
    assert (refusal.value.code, answer["ready"], answer["lag_sessions"]) == (503, False, 2)
    assert [reason["check"] for reason in answer["reasons"]] == ["fresh", "complete"]
    assert (ready["ready"], ready["measured_at"]) == (True, AFTER_FRIDAY)


def test_a_store_without_a_configuration_has_the_labels_of_its_dataset(tmp_path: Path) -> None:
    with measured_store(tmp_path, session="regular") as made:
        made.ingest()
    registry = CollectorRegistry()
    with Store(StoreConfig(root=tmp_path), registry=registry) as store:
        store.aggregate(timeframes=["5m"])
        kept = generate_latest(store.metrics_registry()).decode()

    labels = {"store": str(tmp_path / "data"), "provider": "scripted", "session": "regular"}
    ended = {**labels, "job_kind": "aggregate", "state": "completed"}
    assert registry.get_sample_value("marketpipe_jobs_total", ended) == 1
    assert f'marketpipe_store_bars{{provider="scripted",session="regular",store="{tmp_path / "data"}"}} 40.0' in kept


def test_imported_daily_bars_are_as_fresh_as_their_files(tmp_path: Path) -> None:
    dates = [f"{date}T05:00:00Z" for date in (TUESDAY, WEDNESDAY)]
    prices = {name: [100.25, 101.5] for name in ("open", "high", "low", "close")}
    table = pa.table({"timestamp": dates, "symbol": ["A", "A"], **prices, "volume": [9, 9]})
    with Pipeline(StoreConfig(root=tmp_path), registry=CollectorRegistry(), clock=FakeClock(AFTER_FRIDAY)) as made:
        assert made.import_table(table, name="mine", timeframe="1d").ok
        assert (made.health().ok, made.health().lag_sessions) == (True, 0)
        kinds = values_of(made, "job_last_success_timestamp_seconds", "job_kind")
    assert set(kinds) == {"import"}


def test_the_registry_of_a_closed_pipeline_is_freed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with measured_store(tmp_path, registry=registry) as made:
        made.expose_store()
        made.ingest()
        list(registry.collect())
    watched = weakref.ref(registry)

    del made, registry
    gc.collect()

    assert watched() is None


def test_an_ingestion_serves_what_the_store_has_beside_its_own_counters(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made:
        made.ingest(end=WEDNESDAY)
    registry, seen = CollectorRegistry(), list[bytes]()
    with measured_store(tmp_path, registry=registry, enabled=True, port=0) as made:
        made.subscribe(JobStarted, lambda _: seen.append(generate_latest(registry)))
        made.ingest()

    text = seen[0].decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert len({(sample.name, *sorted(sample.labels.items())) for sample in samples}) == len(samples)
    assert 'marketpipe_backlog_symbol_days{provider="scripted",session="extended",store="us"} 4.0' in text
    assert 'marketpipe_store_bars{provider="scripted",session="extended",store="us"} 20.0' in text
    assert 'marketpipe_job_last_success_timestamp_seconds{job_kind="ingest",' in text
    assert b"marketpipe_store_bars" not in generate_latest(registry)


def test_one_store_that_cannot_be_read_leaves_the_scrapes_of_the_others(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with (
        measured_store(tmp_path / "one", registry=registry) as one,
        measured_store(tmp_path / "two", registry=registry, store="other") as two,
    ):
        for made in (one, two):
            made.ingest()
            made.expose_store()
        break_the_state(tmp_path / "one")
        ready = [value_of(registry, "store_ready", store=name) for name in ("us", "other")]
        with one.serve_metrics(port=0) as server:
            text = urllib.request.urlopen(server.address, timeout=60).read().decode()

    assert ready == [0, 1]
    assert 'marketpipe_store_ready{provider="scripted",session="extended",store="us"} 0.0' in text
