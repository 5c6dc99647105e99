from __future__ import annotations

import asyncio
import gc
import gzip
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping

import httpx
import pytest

from marketpipe.integration.infrastructure.http_exchange import HttpExchange, HttpReply
from marketpipe.shared_kernel.domain.errors import (
    ConnectionFailedError,
    MalformedResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TerminalProviderError,
)
from tests.support.clients import KEY, SECRET, exchange
from tests.support.scripted_transport import Answer, ScriptedTransport
from tests.support.wire_server import Wire, WireServer, http

Get = Callable[[HttpExchange, str, Mapping[str, str]], HttpReply]


def get(http: HttpExchange, path: str, params: Mapping[str, str]) -> HttpReply:
    try:
        return http.get(path, params)
    finally:
        http.close()


def get_async(http: HttpExchange, path: str, params: Mapping[str, str]) -> HttpReply:
    async def reply() -> HttpReply:
        try:
            return await http.get_async(path, params)
        finally:
            await http.aclose()

    return asyncio.run(reply())


BOTH = pytest.mark.parametrize("ask", [get, get_async], ids=["sync", "async"])


@BOTH
def test_a_request_carries_its_query_and_the_credentials(ask: Get) -> None:
    transport = ScriptedTransport(Answer(body={"bars": {}}, headers={"X-RateLimit-Remaining": "7"}))
    reply = ask(
        exchange("https://data.test", transport), "/v2/stocks/bars", {"symbols": "AAPL,BRK.B", "page_token": "a+b/c="}
    )
    (request,) = transport.requests
    assert (request.method, request.url.host, request.url.path) == ("GET", "data.test", "/v2/stocks/bars")
    assert dict(request.url.params) == {"symbols": "AAPL,BRK.B", "page_token": "a+b/c="}
    assert (request.headers["apca-api-key-id"], request.headers["apca-api-secret-key"]) == (KEY, SECRET)
    assert (request.headers["accept"], request.headers["accept-encoding"]) == ("application/json", "gzip")
    assert (reply.status, reply.body, reply.headers["x-ratelimit-remaining"]) == (200, b'{"bars": {}}', "7")


@BOTH
def test_redirects_are_not_followed_and_credentials_stay_home(ask: Get) -> None:
    with WireServer(http(b"{}")) as elsewhere:
        moved = http(b"", "302 Found", f"Location: {elsewhere.url}/v2/stocks/bars")
        with WireServer(moved) as home:
            reply = ask(exchange(home.url), "/v2/stocks/bars", {})
    assert reply.status == 302
    assert len(home.requests) == 1
    assert (elsewhere.requests, elsewhere.connections) == ([], 0)


@BOTH
def test_no_response_waits_for_the_garbage_collector(ask: Get) -> None:
    with WireServer(http(b"{}")) as server:
        http_exchange = exchange(server.url)
        gc.collect()
        gc.disable()
        try:
            ask(http_exchange, "/v2/stocks/bars", {})
            left = [each for each in gc.get_objects() if type(each) is httpx.Response]
        finally:
            gc.enable()
    assert left == []


def test_one_connection_serves_many_requests() -> None:
    with WireServer(http(b"{}")) as server:
        exchange_ = exchange(server.url)
        bodies = {exchange_.get("/v2/stocks/bars", {"page": str(number)}).body for number in range(20)}
        exchange_.close()
    assert bodies == {b"{}"}
    assert (len(server.requests), server.connections) == (20, 1)


def test_one_connection_serves_many_async_requests() -> None:
    async def ask(exchange_: HttpExchange) -> list[int]:
        statuses = [(await exchange_.get_async("/x", {})).status for _ in range(20)]
        await exchange_.aclose()
        return statuses

    with WireServer(http(b"{}")) as server:
        assert asyncio.run(ask(exchange(server.url))) == [200] * 20
    assert (len(server.requests), server.connections) == (20, 1)


def test_a_second_event_loop_gets_connections_of_its_own() -> None:
    """Those of the first loop are dead. A user who calls asyncio.run twice has not closed them, so Python warns."""

    async def ask(exchange_: HttpExchange) -> int:
        return (await exchange_.get_async("/x", {})).status

    with WireServer(http(b"{}")) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        exchange_ = exchange(server.url)
        assert [asyncio.run(ask(exchange_)), asyncio.run(ask(exchange_))] == [200, 200]
        del exchange_
        gc.collect()
    assert server.connections == 2


@BOTH
def test_a_gzipped_body_is_unpacked(ask: Get) -> None:
    packed = gzip.compress(b'{"bars":{}}')
    with WireServer(http(packed, "200 OK", "Content-Encoding: gzip")) as server:
        assert ask(exchange(server.url), "/x", {}).body == b'{"bars":{}}'


@BOTH
@pytest.mark.parametrize("encoding", ["x-gzip", "X-GZIP", "GZip"])
@pytest.mark.parametrize("padding", [b"", bytes(1), bytes(700)], ids=len)
def test_other_valid_forms_of_gzip_are_unpacked(ask: Get, encoding: str, padding: bytes) -> None:
    packed = gzip.compress(b'{"bars":{}}') + padding
    with WireServer(http(packed, "200 OK", f"Content-Encoding: {encoding}")) as server:
        assert ask(exchange(server.url), "/x", {}).body == b'{"bars":{}}'


@BOTH
@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_with_the_encoding_identity_is_taken_as_it_is(ask: Get, encoding: str) -> None:
    with WireServer(http(b"{}", "200 OK", f"Content-Encoding: {encoding}")) as server:
        assert ask(exchange(server.url), "/x", {}).body == b"{}"


@BOTH
@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (http(b"{}", "200 OK", "Content-Encoding: br"), "an encoding that was not requested: 'br'"),
        (http(b"{}", "200 OK", "Content-Encoding: gzip, gzip"), "an encoding that was not requested: 'gzip, gzip'"),
        (http(b'{"bars":{}}', "200 OK", "Content-Encoding: gzip"), "not the gzip stream that its header promises"),
        (http(gzip.compress(b"{}" * 99)[:-9], "200 OK", "Content-Encoding: gzip"), "in the middle of its gzip stream"),
        (http(gzip.compress(b"{}")[:-4] + b"????", "200 OK", "Content-Encoding: gzip"), "not the gzip stream"),
        (http(gzip.compress(b"{}") + b"\0\0more" * 9, "200 OK", "Content-Encoding: gzip"), "gzip stream"),
    ],
    ids=["brotli", "twice", "not gzip", "cut", "checksum", "more after the padding"],
)
def test_a_body_in_a_wrong_encoding_is_malformed(ask: Get, wire: Wire, complaint: str) -> None:
    with WireServer(wire) as server, pytest.raises(MalformedResponseError, match=complaint):
        ask(exchange(server.url), "/x", {})


@BOTH
def test_a_gzip_bomb_is_refused(ask: Get) -> None:
    bomb = gzip.compress(bytes(4_000_000))
    with WireServer(http(bomb, "200 OK", "Content-Encoding: gzip")) as server:
        with pytest.raises(MalformedResponseError, match="unpacks to more than 1,000,000 bytes"):
            ask(exchange(server.url, largest_body=1_000_000), "/x", {})
        assert len(bomb) < 10_000


@BOTH
@pytest.mark.parametrize("packed", [False, True])
def test_a_body_may_be_as_large_as_the_limit_and_not_larger(ask: Get, packed: bool) -> None:
    body = bytes(range(256)) * 4
    wire = http(gzip.compress(body), "200 OK", "Content-Encoding: gzip") if packed else http(body)
    with WireServer(wire) as server:
        assert ask(exchange(server.url, largest_body=1024), "/x", {}).body == body
        with pytest.raises(MalformedResponseError, match=r"(more|larger) than 1,023 bytes"):
            ask(exchange(server.url, largest_body=1023), "/x", {})


@BOTH
def test_an_endless_body_is_cut_off_while_it_comes(ask: Get) -> None:
    endless = Wire(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + bytes(300_000), closes=False)
    with WireServer(endless) as server, pytest.raises(MalformedResponseError, match="larger than 100,000 bytes"):
        ask(exchange(server.url, largest_body=100_000), "/x", {})


@BOTH
@pytest.mark.parametrize(
    ("error", "translated", "message"),
    [
        (httpx.ReadTimeout("slow"), ProviderTimeoutError, r"no answer in time \(ReadTimeout\)"),
        (
            httpx.ConnectTimeout(""),
            ConnectionFailedError,
            r"cannot connect to api\.test \(no answer in time\): check",
        ),
        (httpx.PoolTimeout("busy"), ProviderTimeoutError, r"no answer in time \(PoolTimeout\)"),
        (httpx.ConnectError("[Errno 111] no"), ConnectionFailedError, r"cannot connect to api\.test \(no\): check"),
        (httpx.ProxyError("407"), ConnectionFailedError, r"cannot connect to api\.test \(407\): check"),
        (httpx.ReadError("reset"), ProviderUnavailableError, r"the connection broke \(ReadError: reset\)"),
        (httpx.RemoteProtocolError("odd"), ProviderUnavailableError, r"\(RemoteProtocolError: odd\)"),
        (httpx.TooManyRedirects("no"), ProviderUnavailableError, r"the exchange failed \(TooManyRedirects\)"),
        (httpx.InvalidURL("too long"), TerminalProviderError, r"the URL is not valid \(InvalidURL\)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_error_of_the_http_library_is_translated(
    ask: Get, error: Exception, translated: type[Exception], message: str
) -> None:
    with pytest.raises(translated, match=message) as caught:
        ask(exchange("http://api.test", ScriptedTransport(error)), "/x", {})
    assert type(caught.value) is translated
    assert caught.value.__cause__ is error


@BOTH
@pytest.mark.parametrize("cursor", ["x" * 70_000, "\ud800"], ids=["too long", "not Unicode"])
def test_a_cursor_that_fits_in_no_url_is_a_terminal_error(ask: Get, cursor: str) -> None:
    transport = ScriptedTransport(Answer())
    with pytest.raises(TerminalProviderError, match="the URL is not valid"):
        ask(exchange("http://api.test", transport), "/x", {"page_token": cursor})
    assert transport.requests == []


def test_reprs_hold_neither_headers_nor_bodies() -> None:
    assert repr(HttpReply(200, {"Set-Cookie": "session"}, b"bars")) == "HttpReply(status=200)"


def test_a_body_that_trickles_for_ever_is_a_timeout() -> None:
    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b" "

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle()))
    slow = HttpExchange("http://api.test", httpx.Auth(), transport=transport, longest_body_seconds=0.05)
    with pytest.raises(ProviderTimeoutError, match="was not complete"):
        slow.get("/bars", {})


@BOTH
@pytest.mark.parametrize(
    ("sent", "repeated"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\nX-Note: wait\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Note: 1\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["endless 103", "endless 100", "endless headers", "endless status line", "endless body", "endless chunks"],
)
def test_one_bound_holds_for_the_whole_exchange(ask: Get, sent: bytes, repeated: bytes) -> None:
    with WireServer(Wire(sent, repeated=repeated)) as server:
        with pytest.raises(ProviderTimeoutError, match=r"was not complete after 0 s|no answer in time"):
            ask(exchange(server.url, longest_body_seconds=0.15), "/x", {})
        assert len(server.requests) <= 1  # none if this process had no time to read it


def test_the_bound_of_one_exchange_is_not_that_of_the_next_on_its_connection() -> None:
    with WireServer(http(b"{}")) as server:
        exchange_ = exchange(server.url, longest_body_seconds=0.2)
        for _ in range(3):
            assert exchange_.get("/x", {}).body == b"{}"
            threading.Event().wait(0.1)
        exchange_.close()
        assert server.connections == 1


def test_a_gzip_stream_of_several_members_is_read_to_its_end() -> None:
    body = gzip.compress(b'{"bars"') + gzip.compress(b": {}}")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body, headers={"Content-Encoding": "gzip"}))

    assert get(HttpExchange("http://api.test", httpx.Auth(), transport=transport), "/bars", {}).body == b'{"bars": {}}'


def test_gzip_members_together_may_not_be_too_large_either() -> None:
    body = gzip.compress(b"x" * 600) * 2
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(MalformedResponseError, match="unpacks to more"):
        get(HttpExchange("http://api.test", httpx.Auth(), transport=transport, largest_body=1000), "/bars", {})
