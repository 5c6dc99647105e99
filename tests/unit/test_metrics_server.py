from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry, Counter

from marketpipe.metrics_server import MetricsServer
from marketpipe.shared_kernel.domain.errors import ConfigurationError


def answer(address: str, method: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    connection.request(method, "/metrics", body=b"x" if method in ("POST", "PUT", "PATCH") else None)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_metrics_are_read_over_http_on_loopback() -> None:
    registry = CollectorRegistry()
    Counter("seen", "What was seen.", registry=registry).inc(3)
    with MetricsServer(registry, port=0) as server:
        assert urlsplit(server.address).hostname == "127.0.0.1"
        status, body = answer(server.address, "GET")

    assert (status, "seen_total 3.0" in body) == (200, True)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "HEAD"])
def test_nothing_but_reading_is_allowed(method: str) -> None:
    with MetricsServer(CollectorRegistry(), port=0) as server:
        assert answer(server.address, method)[0] == 405


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with MetricsServer(CollectorRegistry(), port=0) as first:
        port = urlsplit(first.address).port
        assert port is not None
        with pytest.raises(ConfigurationError, match=r"give another metrics\.port"):
            MetricsServer(CollectorRegistry(), port=port)
