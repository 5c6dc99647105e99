from __future__ import annotations

import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from marketpipe import (
    ConfigurationError,
    Event,
    IngestionReport,
    MetricsConfig,
    MetricsNotServed,
    MetricsServed,
    Pipeline,
    PipelineConfig,
)
from marketpipe.metrics import StoreLabels, metrics_in, series
from marketpipe.metrics.exposition import Sample, families_of, stores_in
from marketpipe.metrics_server import MetricsServer
from marketpipe.shared_kernel.domain.errors import PipelineClosedError
from marketpipe.shared_kernel.events import JobStarted


def _config(folder: Path, **changes: object) -> PipelineConfig:
    settings: dict[str, object] = {
        "provider": "synthetic",
        "symbols": ["AAPL", "MSFT"],
        "start": "2024-11-29",
        "end": "2024-11-29",
        "timeframes": [],
        "output_path": folder / "data",
        "quarantine_path": folder / "quarantine",
        "state_path": folder / "state.sqlite",
        **changes,
    }
    return PipelineConfig(**settings)


def _alpaca(folder: Path, url: str) -> PipelineConfig:
    return _config(folder, provider="alpaca", symbols=["AAPL"], alpaca={"base_url": url})


def test_the_server_serves_a_registry_on_loopback() -> None:
    registry = CollectorRegistry()
    metrics_in(registry).counter(series.RETRIES).labels("us", "alpaca", "extended").inc(3)
    with MetricsServer(registry, port=0) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", server.address)
        text = urllib.request.urlopen(server.address, timeout=60).read().decode()
        address = server.address

    assert 'marketpipe_retries_total{provider="alpaca",session="extended",store="us"} 3.0' in text
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=1)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "[bad"])
def test_a_request_that_names_another_host_is_refused_on_loopback(host: str) -> None:
    with MetricsServer(CollectorRegistry(), port=0) as server:
        for place in ("/metrics", "/readyz"):
            request = urllib.request.Request(server.address.replace("/metrics", place), headers={"Host": host})
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(request, timeout=60)
            with refusal.value as answer:
                assert answer.code == 403
        own = urllib.request.Request(server.address, headers={"Host": "LOCALHOST:8000"})
        with urllib.request.urlopen(own, timeout=60) as answer:
            assert answer.status == 200


def test_a_server_that_listens_on_every_address_answers_by_any_name() -> None:
    with MetricsServer(CollectorRegistry(), "0.0.0.0", 0) as server:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        request = urllib.request.Request(address, headers={"Host": "stores.example"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def test_a_scrape_may_name_the_series_that_it_wants() -> None:
    registry = CollectorRegistry()
    metrics_in(registry).counter(series.RETRIES).labels("us", "alpaca", "extended").inc(3)
    labels = StoreLabels("us", "alpaca", "extended")
    stores_in(registry).add(
        "us", lambda: families_of(labels, [Sample(series.STORE_BARS, 3), Sample(series.STORE_LAG, 0)])
    )
    with MetricsServer(registry, port=0) as server:
        names = "name[]=marketpipe_store_bars&name[]=marketpipe_retries_total"
        text = urllib.request.urlopen(f"{server.address}?{names}", timeout=60).read().decode()

    values = [line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")]
    assert sorted(values) == ["marketpipe_retries_total", "marketpipe_store_bars"]


def test_metrics_are_served_while_an_ingestion_runs_if_the_configuration_enables_them(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with MetricsServer(CollectorRegistry(), port=0) as probe:
        port = int(probe.address.split(":")[2].split("/")[0])
    config = _config(tmp_path, metrics=MetricsConfig(enabled=True, port=port, store="us"))
    seen: list[str] = []

    def scrape(_: JobStarted) -> None:
        seen.append(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode())

    with Pipeline(config, registry=registry) as pipeline:
        pipeline.subscribe(JobStarted, scrape)
        pipeline.ingest()
    assert 'marketpipe_backlog_symbol_days{provider="synthetic",session="extended",store="us"} 2.0' in seen[0]


def test_a_second_ingestion_with_the_same_port_runs_without_metrics_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = list[Event]()
    with MetricsServer(CollectorRegistry(), port=0) as taken:
        port = int(taken.address.split(":")[2].split("/")[0])
        config = _config(tmp_path, metrics=MetricsConfig(enabled=True, port=port))
        with Pipeline(config, registry=CollectorRegistry()) as pipeline, caplog.at_level("INFO", "marketpipe"):
            pipeline.subscribe(MetricsNotServed, events.append)
            report = pipeline.ingest()

    assert report.ok
    *_, notice = report.notices
    assert notice.startswith(f"no metrics were served: metrics: cannot listen on 127.0.0.1:{port} (Address already in")
    assert [type(event) for event in events] == [MetricsNotServed]
    (logged,) = (record for record in caplog.records if "metrics" in record.message)
    assert (logged.levelname, "set another metrics.port, or 0" in logged.message) == ("WARNING", True)


def test_two_ingestions_of_one_store_serve_their_metrics_at_free_ports_which_they_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(tmp_path, metrics=MetricsConfig(enabled=True, port=0))
    inner, addresses = list[IngestionReport](), list[str]()

    def ingest_beside(_: JobStarted) -> None:
        with Pipeline(config, registry=CollectorRegistry()) as second:
            second.subscribe(MetricsServed, lambda event: addresses.append(event.address))
            inner.append(second.ingest())

    with Pipeline(config, registry=CollectorRegistry()) as first, caplog.at_level("INFO", "marketpipe"):
        first.subscribe(MetricsServed, lambda event: addresses.append(event.address))
        first.subscribe(JobStarted, ingest_beside)
        report = first.ingest()

    assert (report.ok, inner[0].ok) == (True, True)
    assert len(set(addresses)) == 2
    assert report.notices[-1] == f"metrics were served at {addresses[0]}"
    assert f"metrics are served at {addresses[0]}" in caplog.text


def test_an_address_of_another_machine_is_a_configuration_error_before_anything_is_written(tmp_path: Path) -> None:
    config = _config(tmp_path, metrics=MetricsConfig(enabled=True, host="192.0.2.1", port=0))
    with (
        Pipeline(config, registry=CollectorRegistry()) as pipeline,
        pytest.raises(ConfigurationError, match=r"correct metrics\.host"),
    ):
        pipeline.ingest()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "HEAD"])
def test_only_get_is_allowed(method: str) -> None:
    with MetricsServer(CollectorRegistry(), port=0) as server:
        connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)
        connection.request(method, "/metrics", body=b"x" if method in ("POST", "PUT", "PATCH") else None)
        assert connection.getresponse().status == 405
        connection.close()


def _asked(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if body else None


def _fail() -> NoReturn:
    raise PipelineClosedError("this Store is closed")


def test_health_and_readiness_are_answered_beside_the_metrics() -> None:
    answers = {
        "ready": lambda: (True, {"lag_sessions": 0}),
        "stale": lambda: (False, {"reasons": [{"check": "fresh"}]}),
        "closed": _fail,
        "no store": None,
    }
    found = {}
    for name, readiness in answers.items():
        with MetricsServer(CollectorRegistry(), port=0, readiness=readiness) as server:
            assert _asked(server, "/healthz?verbose=1") == (200, {"status": "ok"})
            assert _asked(server, "/readyz", "POST") == (405, None)
            found[name] = _asked(server, "/readyz")

    assert found["ready"] == (200, {"ready": True, "lag_sessions": 0})
    assert found["stale"] == (503, {"ready": False, "reasons": [{"check": "fresh"}]})
    closed = {"check": "readable", "message": "this Store is closed"}
    assert found["closed"] == (503, {"ready": False, "reasons": [closed]})
    assert found["no store"][0] == 404


def test_metrics_are_served_on_loopback_by_default() -> None:
    assert MetricsConfig().host == "127.0.0.1"


@pytest.mark.parametrize(
    "path",
    ["/", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/metrics/../../etc/passwd", "//etc/passwd", "/.env"],
)
def test_no_path_leads_to_a_file(path: str) -> None:
    with MetricsServer(CollectorRegistry(), port=0) as server:
        connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)
        connection.request("GET", path)
        body = connection.getresponse().read()
        connection.close()
    assert b"root:" not in body
    assert b"ALPACA" not in body


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b" 431 "),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", b" 431 "),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b" 200 "),
    ],
    ids=["long path", "long header", "many headers", "a body that never comes"],
)
def test_an_oversized_request_is_refused_and_its_body_is_never_read(request_text: bytes, status: bytes) -> None:
    with MetricsServer(CollectorRegistry(), port=0) as server, _connected(server) as caller:
        caller.sendall(request_text)
        assert status in caller.recv(100)


def test_unfinished_requests_block_neither_other_requests_nor_closing() -> None:
    server = MetricsServer(CollectorRegistry(), port=0)
    callers = [_connected(server) for _ in range(30)]
    for caller in callers:
        caller.sendall(b"GET /metrics HT")
    assert urllib.request.urlopen(server.address, timeout=60).status == 200

    started = time.monotonic()
    server.close()

    assert time.monotonic() - started < 60
    for caller in callers:
        caller.close()


def _connected(server: MetricsServer) -> socket.socket:
    url = urlsplit(server.address)
    return socket.create_connection((url.hostname or "", url.port or 0), timeout=60)
