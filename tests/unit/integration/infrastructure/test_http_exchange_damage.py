"""What a broken network or a broken server may send, on a real socket."""

from __future__ import annotations

import asyncio

import pytest

from marketpipe.integration.infrastructure.http_exchange import HttpExchange, HttpReply
from marketpipe.shared_kernel.domain.errors import (
    ConnectionFailedError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TerminalProviderError,
)
from tests.support.clients import exchange
from tests.support.wire_server import SILENCE, Wire, WireServer, http

HEAD = b"HTTP/1.1 200 OK\r\n"
BROKEN = {
    "hung up": Wire(),
    "garbage": Wire(b"\x00\xff\x00garbage\r\n\r\n"),
    "not http": Wire(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "cut in the head": Wire(HEAD + b"Content-Len"),
    "cut in the body": Wire(HEAD + b'Content-Length: 100\r\n\r\n{"bars":'),
    "cut in a chunk": Wire(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}"),
    "bad chunk": Wire(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "bad length": Wire(HEAD + b"Content-Length: many\r\n\r\n{}"),
    "negative length": Wire(HEAD + b"Content-Length: -1\r\n\r\n{}"),
    "only informational": Wire(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "unasked upgrade": Wire(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "endless header": Wire(HEAD + b"X: " + b"x" * 200_000),
    "nul in a header": Wire(HEAD + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n{}"),
}
LOCATIONS = {
    "script": "javascript:alert(1)",
    "bad label": "http://xn--/",
    "bad port": "http://api.test:port/",
    "bad bracket": "http://[::1",
    "control": "http://api\x7f.test/",
    "snowmen": "http://☃☃…/".encode().decode("latin-1"),
    "long": "http://api.test/" + "x" * 70_000,
}


def ask(server: WireServer, *, seconds: float = 5.0) -> HttpReply:
    http_ = exchange(server.url, seconds=seconds)
    try:
        return http_.get("/v2/stocks/bars", {})
    finally:
        http_.close()


async def ask_async(http_: HttpExchange) -> HttpReply:
    try:
        return await http_.get_async("/v2/stocks/bars", {})
    finally:
        await http_.aclose()


@pytest.mark.parametrize("wire", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_response_makes_the_provider_unavailable(wire: Wire) -> None:
    with WireServer(wire) as server, pytest.raises(ProviderUnavailableError, match="the connection broke"):
        ask(server)


@pytest.mark.parametrize("wire", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_response_makes_the_provider_unavailable_async(wire: Wire) -> None:
    with WireServer(wire) as server, pytest.raises(ProviderUnavailableError, match="the connection broke"):
        asyncio.run(ask_async(exchange(server.url)))


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS.keys())
def test_a_redirect_to_an_invalid_address_is_a_provider_error(location: str) -> None:
    """The HTTP library builds the next request even though it will not be sent."""
    with WireServer(http(b"", "302 Found", f"Location: {location}")) as server, pytest.raises(ProviderError):
        ask(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["javascript:alert(1)", "http://xn--/"])
def test_a_redirect_to_something_that_is_no_url_is_terminal(location: str) -> None:
    with WireServer(http(b"", "302 Found", f"Location: {location}")) as server, pytest.raises(TerminalProviderError):
        ask(server)


def test_no_response_is_a_timeout() -> None:
    with WireServer(SILENCE) as server, pytest.raises(ProviderTimeoutError, match="no answer in time"):
        ask(server, seconds=0.05)


def test_no_response_is_a_timeout_async() -> None:
    with WireServer(SILENCE) as server, pytest.raises(ProviderTimeoutError, match="no answer in time"):
        asyncio.run(ask_async(exchange(server.url, seconds=0.3)))


def test_a_body_that_stops_coming_is_a_timeout() -> None:
    stalled = Wire(HEAD + b"Content-Length: 100\r\n\r\n{", closes=False)
    with WireServer(stalled) as server, pytest.raises(ProviderTimeoutError):
        ask(server, seconds=0.05)


def test_an_address_without_a_server_makes_the_provider_unreachable() -> None:
    with WireServer(Wire(http(b"{}").sent)) as server:
        http_ = exchange(server.url)
        reached = exchange(server.url)
        reached.get("/x", {})
    for client, before in ((http_, False), (reached, True)):
        with pytest.raises(ConnectionFailedError, match=r"to 127\.0\.0\.1:\d+ \(Connection refused\)") as caught:
            client.get("/x", {})
        assert caught.value.reached_before is before
        client.close()


def test_a_connection_that_broke_is_replaced() -> None:
    with WireServer(Wire(), http(b"{}")) as server:
        http_ = exchange(server.url)
        with pytest.raises(ProviderUnavailableError):
            http_.get("/x", {})
        assert http_.get("/x", {}).body == b"{}"
        http_.close()
    assert server.connections == 2


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content", "999 Unheard Of"])
def test_an_odd_status_is_handed_on_as_it_came(status: str) -> None:
    with WireServer(http(b"", status)) as server:
        assert ask(server).status == int(status[:3])
