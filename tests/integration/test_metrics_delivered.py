"""Metrics of a store in a textfile and at a Pushgateway, after each run and on demand."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from marketpipe import ConfigurationError, Event, MetricsDeliveryError, MetricsNotDelivered
from marketpipe.shared_kernel.events import RunFinished
from tests.support.child_processes import start, wait_until
from tests.support.installed import needs
from tests.support.measured_store import break_the_state, measured_store
from tests.support.pipeline_ring import THURSDAY


def test_after_each_run_the_metrics_are_in_the_textfile(tmp_path: Path) -> None:
    place = tmp_path / "collected" / "mp.prom"
    place.parent.mkdir()
    with measured_store(tmp_path, textfile=place) as made:
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
        with measured_store(tmp_path / name, store=name) as made:
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
    with measured_store(tmp_path, textfile=tmp_path / "no" / "folder.prom", pushgateway=url) as made:
        made.subscribe(MetricsNotDelivered, events.append)
        report = made.ingest()

    assert report.ok
    assert [getattr(event, "place", None) for event in events] == [str(tmp_path / "no" / "folder.prom"), url]
    assert [record.levelname for record in caplog.records if "did not reach" in record.message] == ["WARNING"] * 2
    with measured_store(tmp_path) as made, pytest.raises(MetricsDeliveryError, match="make its folder"):
        made.write_metrics(tmp_path / "no" / "folder.prom")


def test_a_state_that_cannot_be_read_after_a_run_is_a_warning_and_the_run_is_as_good(tmp_path: Path) -> None:
    events = list[Event]()
    with measured_store(tmp_path, textfile=tmp_path / "mp.prom") as made:
        made.subscribe(MetricsNotDelivered, events.append)
        made.subscribe(RunFinished, lambda _: break_the_state(tmp_path))
        report = made.ingest()

    assert report.ok
    assert [getattr(event, "place", None) for event in events] == [str(tmp_path / "mp.prom")]


def test_a_pushgateway_that_refuses_the_metrics_is_an_error_that_names_it(tmp_path: Path) -> None:
    with (
        _refusing_gateway() as url,
        measured_store(tmp_path) as made,
        pytest.raises(MetricsDeliveryError, match=r"\(HTTP Error 400: Bad Request: pushed metrics are invalid\)"),
    ):
        made.push_metrics(url)


@pytest.mark.parametrize("place", ["data/mp.prom", "quarantine/mp.prom"])
def test_a_textfile_inside_the_store_is_refused_before_anything_is_done(tmp_path: Path, place: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="is inside the store"),
        measured_store(tmp_path, textfile=tmp_path / place),
    ):
        pass
    with measured_store(tmp_path) as made, pytest.raises(ConfigurationError, match="is inside the store"):
        made.write_metrics(tmp_path / place)
    assert not (tmp_path / "data").exists()


def test_a_password_in_the_url_of_a_pushgateway_is_refused_and_not_shown(tmp_path: Path) -> None:
    with measured_store(tmp_path) as made, pytest.raises(ConfigurationError, match="without a password") as refusal:
        made.push_metrics("http://user:hunter2@127.0.0.1:1")
    assert "hunter2" not in str(refusal.value)


@needs("prometheus-pushgateway")
def test_a_real_pushgateway_has_the_metrics_of_each_store_after_its_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = [f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="]  # Debian's keeps what others pushed
    start(["prometheus-pushgateway", *options], stdout=None, stderr=None)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: _is_listening(port))
    for name in ("us", "a/b ü"):
        with measured_store(tmp_path / name[0], store=name, pushgateway=url) as made:
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
