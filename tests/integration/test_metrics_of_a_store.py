"""What metrics and /readyz say of a store: fresh or stale, complete or not; and where they are delivered."""

from __future__ import annotations

import gc
import json
import socket
import sqlite3
import threading
import urllib.error
import urllib.request
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from marketpipe import ConfigurationError, Event, MetricsDeliveryError, MetricsNotDelivered, Pipeline, TradingDate
from marketpipe.config import StoreConfig
from marketpipe.shared_kernel.events import JobStarted, RunFinished
from marketpipe.store import Store
from marketpipe.testing import FakeClock
from tests.support.child_processes import start, wait_until
from tests.support.installed import needs
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, config, minutes
from tests.support.scripted_provider import ScriptedProvider

MONDAY = "2024-01-08"
DATES = [TUESDAY, WEDNESDAY, THURSDAY, FRIDAY]
SYMBOLS = ["AAPL", "MSFT"]
AFTER_FRIDAY, AFTER_MONDAY = "2024-01-06T06:00:00Z", "2024-01-09T06:00:00Z"
BARS = {symbol: {date: minutes(date, 5) for date in DATES} for symbol in SYMBOLS}
LABELS = {"store": "us", "provider": "scripted", "session": "extended"}


@contextmanager
def _store(
    root: Path,
    end: str = FRIDAY,
    now: str = AFTER_FRIDAY,
    registry: CollectorRegistry | None = None,
    provider: ScriptedProvider | None = None,
    session: str = "extended",
    **metrics: Any,
) -> Iterator[Pipeline]:
    settings = config(root, SYMBOLS, TUESDAY, end, session=session, metrics={"store": "us", **metrics})
    used = registry or CollectorRegistry(), provider or ScriptedProvider(BARS)
    with Pipeline(settings, registry=used[0], market_data_provider=used[1], clock=FakeClock(now)) as made:
        yield made


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"marketpipe_{name}", {**LABELS, **labels})


def _values(made: Pipeline, name: str, label: str) -> Mapping[str, float]:
    """Return the values of a series of the store that are not 0, by one label."""
    families = made.metrics_registry().collect()
    samples = [each for family in families for each in family.samples if each.name == f"marketpipe_{name}"]
    return {each.labels[label]: each.value for each in samples if each.value}


def _close_of(date: str) -> float:
    return TradingDate.parse(date).midnight.epoch_micros / 1e6 + 16 * 3600


def test_a_store_that_has_every_session_is_fresh_complete_and_ready(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest()
        registry, health = made.metrics_registry(), made.health()
        found = {name: _value(registry, f"store_{name}") for name in ("lag_sessions", "bars", "ready", "symbols")}
        newest = _value(registry, "store_newest_complete_session_timestamp_seconds")
        verdicts = _values(made, "store_coverage_symbol_days", "verdict")

    assert (health.ok, health.lag_sessions, health.missing) == (True, 0, 0)
    assert found == {"lag_sessions": 0, "bars": 40, "ready": 1, "symbols": 2}
    assert newest == _close_of(FRIDAY)
    assert sum(verdicts.values()) == 8


def test_a_file_that_is_gone_is_missing_before_coverage_is_assessed_again(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest()
        assert made.health().ok
    (tmp_path / "data" / "symbol=AAPL" / "year=2024" / "month=01" / "day=02.parquet").unlink()
    with _store(tmp_path) as made:
        health = made.health()
        assert _values(made, "store_overdue_symbol_days", "verdict") == {}

    (reason,) = health.reasons
    assert (reason.check, reason.value, health.missing) == ("complete", 1, 1)
    assert str(health.assessed_at) == AFTER_FRIDAY


def test_a_store_whose_updates_stopped_lags_behind(tmp_path: Path) -> None:
    with _store(tmp_path, end="latest") as made:
        made.ingest()
    with _store(tmp_path, end="latest", now="2024-01-10T06:00:00Z") as made:
        registry, health = made.metrics_registry(), made.health()
        lag = _value(registry, "store_lag_sessions"), _value(registry, "store_lagging_symbols")
        newest = _value(registry, "store_newest_complete_session_timestamp_seconds")

    assert lag == (2, 2)
    assert newest == _close_of(FRIDAY)
    reason, _ = health.reasons  # and the older session is missing, too
    assert (reason.check, reason.value, reason.limit) == ("fresh", 2, 1)
    assert "2 sessions missing: the last complete one is 2024-01-05; run 'marketpipe update'" in reason.message


def test_a_store_with_a_fixed_end_does_not_lag_until_an_update_has_gone_beyond_it(tmp_path: Path) -> None:
    with _store(tmp_path, end=THURSDAY, now=AFTER_MONDAY, max_lag_sessions=0) as made:
        made.ingest()
        assert made.health().lag_sessions == 0
        made.ingest(end=FRIDAY)
        assert made.health().lag_sessions == 1


def test_a_session_that_one_symbol_lacks_is_not_complete(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest(symbols=["AAPL"])
        made.ingest(symbols=["MSFT"], end=WEDNESDAY)
        registry, health = made.metrics_registry(), made.health()

    assert health.lag_sessions == 2
    assert [reason.check for reason in health.reasons] == ["fresh", "complete"]
    assert health.missing == 1  # of the two, one is within the allowed lag
    with _store(tmp_path) as made:
        registry = made.metrics_registry()
        assert _value(registry, "store_lagging_symbols") == 1
        assert _value(registry, "store_newest_complete_session_timestamp_seconds") == _close_of(WEDNESDAY)
        assert _value(registry, "store_coverage_symbol_days", verdict="missing") == 2
        assert _value(registry, "store_overdue_symbol_days", verdict="missing") == 1


def test_a_session_that_is_not_final_is_not_overdue(tmp_path: Path) -> None:
    bars = {symbol: {**days, MONDAY: minutes(MONDAY, 5)} for symbol, days in BARS.items()}
    during_monday = "2024-01-08T18:00:00Z"
    with _store(tmp_path, MONDAY, during_monday, provider=ScriptedProvider(bars), max_lag_sessions=0) as made:
        made.ingest()
        verdicts, health = _values(made, "store_coverage_symbol_days", "verdict"), made.health()

    assert verdicts["partial"] == 2
    assert (health.ok, health.lag_sessions, health.missing) == (True, 0, 0)


def test_a_file_that_is_gone_is_no_bar_of_the_store(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest()
        (lost,) = (tmp_path / "data" / "symbol=AAPL").rglob("day=03.parquet")
        lost.unlink()
        registry = made.metrics_registry()
        found = _value(registry, "store_missing_symbol_days"), _value(registry, "store_bars")

    assert found == (1, 35)


def test_verdicts_are_found_once_and_again_when_checkpoints_were_written(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest(end=THURSDAY)
        assert _values(made, "store_coverage_symbol_days", "verdict")["missing"] == 2
        first = _values(made, "store_measured_timestamp_seconds", "part")["coverage"]
    later = "2024-01-06T06:10:00Z"
    with _store(tmp_path, now=later) as made:
        assert _values(made, "store_measured_timestamp_seconds", "part")["coverage"] == first
        made.ingest()
        verdicts = _values(made, "store_coverage_symbol_days", "verdict")

        assert "missing" not in verdicts
        assert _values(made, "store_measured_timestamp_seconds", "part")["coverage"] == first + 600


def test_a_store_that_holds_nothing_yet_is_not_ready(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        health, registry = made.health(), made.metrics_registry()
        assert _value(registry, "store_ready") == 0
    assert {reason.check for reason in health.reasons} == {"fresh", "complete"}
    assert not (tmp_path / "state").exists()


def test_a_state_that_is_damaged_is_the_reason_why_a_store_is_not_ready(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest()
    state = tmp_path / "state" / "marketpipe.sqlite"
    state.write_bytes(b"no database " * 1000)
    with _store(tmp_path) as made:
        health = made.health()
    (reason,) = health.reasons
    assert (reason.check, "marketpipe recover" in reason.message) == ("readable", True)


def test_a_state_that_another_process_has_replaced_is_opened_again(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest(end=WEDNESDAY)
    with _store(tmp_path) as reader:
        lags = [reader.health().lag_sessions]
        with _store(tmp_path) as other:
            other.recover(force=True)
        with _store(tmp_path) as other:
            other.ingest()
        lags.append(reader.health().lag_sessions)
        (tmp_path / "state" / "marketpipe.sqlite").rename(tmp_path / "elsewhere.sqlite")
        health = reader.health()

    assert lags == [2, 0]
    assert not health.ok


def test_the_last_job_of_each_kind_is_shown_to_later_processes(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest()
    with _store(tmp_path) as made:
        registry = made.metrics_registry()

        at = _value(registry, "job_last_success_timestamp_seconds", job_kind="ingest")
        assert at == 1704520800.0 == _value(registry, "job_last_end_timestamp_seconds", job_kind="ingest")
        assert _value(registry, "job_last_success_duration_seconds", job_kind="ingest") == 0
        assert _values(made, "job_last_state", "state") == {"completed": 1}
        assert _value(registry, "bars_ingested_total") == 40


def test_several_stores_of_one_service_share_a_registry_until_they_are_closed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with (
        _store(tmp_path / "one", registry=registry) as one,
        _store(tmp_path / "two", registry=registry, store="other") as two,
    ):
        for made in (one, two):
            made.ingest(end=THURSDAY if made is two else None)
            made.expose_store()
        text = generate_latest(registry).decode()
        bars = [_value(registry, "store_bars", store=name) for name in ("us", "other")]

    assert bars == [40, 30]
    assert text.count("# TYPE marketpipe_store_bars gauge") == 1
    assert len(list(text_string_to_metric_families(text))) > 20
    assert _value(registry, "store_bars") is None
    assert _value(registry, "bars_ingested_total") == 40  # what was counted stays


def test_pipelines_of_one_store_share_its_place_in_a_registry_until_the_last_is_closed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with _store(tmp_path, registry=registry) as made:
        made.ingest()
        with _store(tmp_path, registry=registry) as other:
            other.expose_store()
            made.expose_store()
            both = generate_latest(registry).decode()
            made.ingest()
        one = _value(registry, "store_bars")

    assert both.count("\nmarketpipe_store_bars{") == 1
    assert one == 40
    assert _value(registry, "store_bars") is None


def test_two_open_stores_of_one_name_in_one_registry_are_refused(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with (
        _store(tmp_path / "one", registry=registry),
        pytest.raises(ConfigurationError, match="'us' is the name of two stores in one registry"),
        _store(tmp_path / "two", registry=registry),
    ):
        pass
    with _store(tmp_path / "two", registry=registry), _store(tmp_path / "two", registry=registry):
        """The name is free again, and two pipelines of one store share it."""


def test_the_server_has_metrics_health_and_readiness(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest(end=WEDNESDAY)
        with made.serve_metrics(port=0) as server:
            text = urllib.request.urlopen(server.address, timeout=60).read().decode()
            root = server.address.removesuffix("/metrics")
            alive = json.load(urllib.request.urlopen(f"{root}/healthz", timeout=60))
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(f"{root}/readyz", timeout=60)
            answer = json.load(refusal.value)
            made.ingest()
            with made.serve_metrics(port=0) as second, _store(tmp_path) as fresh, fresh.serve_metrics(port=0) as third:
                ready = json.load(urllib.request.urlopen(third.address.replace("metrics", "readyz"), timeout=60))
                assert second.address != third.address

    assert 'marketpipe_store_lag_sessions{provider="scripted",session="extended",store="us"} 2.0' in text
    assert alive == {"status": "ok"}
    assert (refusal.value.code, answer["ready"], answer["lag_sessions"]) == (503, False, 2)
    assert [reason["check"] for reason in answer["reasons"]] == ["fresh", "complete"]
    assert (ready["ready"], ready["measured_at"]) == (True, AFTER_FRIDAY)


def test_a_store_without_a_configuration_has_the_labels_of_its_dataset(tmp_path: Path) -> None:
    with _store(tmp_path, session="regular") as made:
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
        kinds = _values(made, "job_last_success_timestamp_seconds", "job_kind")
    assert set(kinds) == {"import"}


def test_the_registry_of_a_closed_pipeline_is_freed(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with _store(tmp_path, registry=registry) as made:
        made.expose_store()
        made.ingest()
        list(registry.collect())
    watched = weakref.ref(registry)

    del made, registry
    gc.collect()

    assert watched() is None


def test_an_ingestion_serves_what_the_store_has_beside_its_own_counters(tmp_path: Path) -> None:
    with _store(tmp_path) as made:
        made.ingest(end=WEDNESDAY)
    registry, seen = CollectorRegistry(), list[bytes]()
    with _store(tmp_path, registry=registry, enabled=True, port=0) as made:
        made.subscribe(JobStarted, lambda _: seen.append(generate_latest(registry)))
        made.ingest()

    text = seen[0].decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert len({(sample.name, *sorted(sample.labels.items())) for sample in samples}) == len(samples)
    assert 'marketpipe_backlog_symbol_days{provider="scripted",session="extended",store="us"} 4.0' in text
    assert 'marketpipe_store_bars{provider="scripted",session="extended",store="us"} 20.0' in text
    assert 'marketpipe_job_last_success_timestamp_seconds{job_kind="ingest",' in text
    assert b"marketpipe_store_bars" not in generate_latest(registry)


def test_after_each_run_the_metrics_are_in_the_textfile(tmp_path: Path) -> None:
    place = tmp_path / "collected" / "mp.prom"
    place.parent.mkdir()
    with _store(tmp_path, textfile=place) as made:
        made.ingest(end=THURSDAY)
        first = place.read_text("utf-8")
        made.ingest()
        second = place.read_text("utf-8")

    bars = 'marketpipe_bars_ingested_total{provider="scripted",session="extended",store="us"} '
    assert (f"{bars}30.0" in first, f"{bars}40.0" in second) == (True, True)
    assert 'verdict="missing"} 2.0' in first
    assert 'verdict="missing"} 0.0' in second
    assert list(place.parent.iterdir()) == [place]


def test_textfiles_of_two_stores_in_one_folder_have_no_sample_in_common(tmp_path: Path) -> None:
    seen = list[tuple[object, ...]]()
    for name in ("one", "two"):
        with _store(tmp_path / name, store=name) as made:
            made.ingest()
            text = made.write_metrics(tmp_path / f"{name}.prom").read_text("utf-8")
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        seen += [(sample.name, *sorted(sample.labels.items())) for sample in samples]

    assert len(set(seen)) == len(seen)  # node_exporter refuses both files otherwise


def test_metrics_that_cannot_be_delivered_are_a_warning_and_the_run_is_as_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events, free = list[Event](), socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{free.getsockname()[1]}"
    free.close()
    with _store(tmp_path, textfile=tmp_path / "no" / "folder.prom", pushgateway=url) as made:
        made.subscribe(MetricsNotDelivered, events.append)
        report = made.ingest()

    assert report.ok
    assert [getattr(event, "place", None) for event in events] == [str(tmp_path / "no" / "folder.prom"), url]
    assert [record.levelname for record in caplog.records if "did not reach" in record.message] == ["WARNING"] * 2
    with _store(tmp_path) as made, pytest.raises(MetricsDeliveryError, match="make its folder"):
        made.write_metrics(tmp_path / "no" / "folder.prom")


def test_a_state_that_cannot_be_read_after_a_run_is_a_warning_and_the_run_is_as_good(tmp_path: Path) -> None:
    events = list[Event]()
    with _store(tmp_path, textfile=tmp_path / "mp.prom") as made:
        made.subscribe(MetricsNotDelivered, events.append)
        made.subscribe(RunFinished, lambda _: _break_the_state(tmp_path))
        report = made.ingest()

    assert report.ok
    assert [getattr(event, "place", None) for event in events] == [str(tmp_path / "mp.prom")]


def test_one_store_that_cannot_be_read_leaves_the_scrapes_of_the_others(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with (
        _store(tmp_path / "one", registry=registry) as one,
        _store(tmp_path / "two", registry=registry, store="other") as two,
    ):
        for made in (one, two):
            made.ingest()
            made.expose_store()
        _break_the_state(tmp_path / "one")
        ready = [_value(registry, "store_ready", store=name) for name in ("us", "other")]
        with one.serve_metrics(port=0) as server:
            text = urllib.request.urlopen(server.address, timeout=60).read().decode()

    assert ready == [0, 1]
    assert 'marketpipe_store_ready{provider="scripted",session="extended",store="us"} 0.0' in text


def _break_the_state(root: Path) -> None:
    with closing(sqlite3.connect(root / "state" / "marketpipe.sqlite")) as connection:
        connection.execute("DROP TABLE totals")


def test_a_pushgateway_that_refuses_the_metrics_is_an_error_that_names_it(tmp_path: Path) -> None:
    with (
        _refusing_gateway() as url,
        _store(tmp_path) as made,
        pytest.raises(MetricsDeliveryError, match=r"\(HTTP Error 400: Bad Request: pushed metrics are invalid\)"),
    ):
        made.push_metrics(url)


@needs("prometheus-pushgateway")
def test_a_real_pushgateway_has_the_metrics_of_each_store_after_its_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = [f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="]  # Debian's keeps what others pushed
    start(["prometheus-pushgateway", *options], stdout=None, stderr=None)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: _is_listening(port))
    for name in ("us", "a/b ü"):
        with _store(tmp_path / name[0], store=name, pushgateway=url) as made:
            made.ingest()
            made.push_metrics()
    text = urllib.request.urlopen(f"{url}/metrics", timeout=60).read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    bars = {sample.labels["store"]: sample.value for sample in families["marketpipe_bars_ingested"].samples}
    assert bars == {"us": 40, "a/b ü": 40}
    assert {sample.labels["job"] for sample in families["marketpipe_store_ready"].samples} == {"marketpipe"}
    failures = families["push_failure_time_seconds"].samples
    assert {sample.value for sample in failures} == {0}


@contextmanager
def _refusing_gateway() -> Iterator[str]:
    class Refusal(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b"pushed metrics are invalid\n")

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _is_listening(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
