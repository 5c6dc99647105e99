from __future__ import annotations

import gzip
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any

import pytest

from marketpipe.testing import (
    Fault,
    LoopbackRequest,
    LoopbackServer,
    Response,
    cut_body,
    dropped,
    malformed_body,
    rate_limited,
    server_error,
    slow_body,
)

BODY = {"bars": list(range(100))}


@contextmanager
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(lambda _: Response(body=BODY)) as made:
        yield made


def get(url: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as reply:
        return reply.status, dict(reply.headers), reply.read()


def test_it_answers_as_the_test_says_and_records_what_was_exchanged() -> None:
    with server() as made:
        status, headers, body = get(f"{made.url}/v1/bars?symbol=A&symbol=B&empty=", Authorization="Bearer t")
        (exchange,) = made.exchanges
    assert (status, headers["Content-Type"], json.loads(body)) == (200, "application/json", BODY)
    assert (exchange.request.path, exchange.request.query) == ("/v1/bars", {"symbol": "B", "empty": ""})
    assert exchange.request.headers["authorization"] == "Bearer t"
    assert exchange.response == Response(body=BODY)


def test_a_client_that_takes_gzip_gets_it() -> None:
    with server() as made:
        _, headers, body = get(made.url, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(body)) == BODY


@pytest.mark.parametrize(("fault", "status"), [(server_error(), 500), (server_error(503), 503), (rate_limited(7), 429)])
def test_a_fault_may_be_another_status(fault: Fault, status: int) -> None:
    with server() as made:
        made.fail_next(fault)
        with pytest.raises(urllib.error.HTTPError) as failed:
            get(made.url)
    assert failed.value.code == status
    assert failed.value.headers["Retry-After"] == ("7" if status == 429 else None)
    failed.value.close()


@pytest.mark.parametrize(("fault", "error"), [(dropped(), RemoteDisconnected), (cut_body(), IncompleteRead)])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_fault_may_break_the_connection(fault: Fault, error: type[HTTPException], encoding: str) -> None:
    with server() as made:
        made.fail_next(fault)
        with pytest.raises(error):
            get(made.url, **{"Accept-Encoding": encoding})
        assert get(made.url)[0] == 200


def test_a_malformed_body_is_half_of_it_in_a_complete_response() -> None:
    with server() as made:
        made.fail_next(malformed_body())
        _, headers, body = get(made.url)
    whole = json.dumps(BODY).encode()
    assert body == whole[: len(whole) // 2]
    assert headers["Content-Length"] == str(len(body))


def test_a_slow_body_is_complete_in_the_end() -> None:
    with server() as made:
        made.fail_next(slow_body(0.05))
        started = time.monotonic()
        _, _, body = get(made.url)
    assert json.loads(body) == BODY
    assert time.monotonic() - started >= 0.05


def test_a_slow_body_does_not_keep_the_server_from_closing() -> None:
    started = time.monotonic()
    with server() as made:
        made.fail_next(slow_body(60))
        with urllib.request.urlopen(made.url, timeout=0.2) as reply, pytest.raises(TimeoutError):
            reply.read()
    assert time.monotonic() - started < 30


def test_faults_come_one_a_request_and_a_lasting_one_after_them() -> None:
    def status() -> int:
        try:
            return int(get(made.url)[0])
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with server() as made:
        made.fail_next(server_error(500), None, server_error(503))
        made.fail_always(rate_limited(1))
        assert [status() for _ in range(5)] == [500, 200, 503, 429, 429]
        made.fail_always(None)
        assert status() == 200
        assert [exchange.response.status for exchange in made.exchanges] == [500, 200, 503, 429, 429, 200]


def test_a_mistake_in_the_scripted_server_reaches_the_test() -> None:
    def mistaken(request: LoopbackRequest) -> Response:
        return Response(body=request.query["symbol"])

    def asked() -> None:
        with LoopbackServer(mistaken) as made, pytest.raises(RemoteDisconnected):
            get(made.url)

    with pytest.raises(KeyError, match="symbol"):
        asked()
