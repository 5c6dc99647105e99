from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.alpaca.alpaca_client import alpaca_auth
from marketpipe.integration.infrastructure.redaction import Redactor
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import ProviderError
from marketpipe.testing import READERS, Response, bars_request
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.clients import KEY, SECRET, AlpacaSetting, exchange
from tests.support.wire_server import Wire, WireServer, http

ASKED = bars_request(("AAPL",), "2024-03-11", "2024-03-11")
Reader = Callable[[MarketDataProvider, BarsRequest], list[RawMarketData]]
BOTH = pytest.mark.parametrize("reader", READERS, ids=["sync", "async"])


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in ("", "httpx", "httpcore", "marketpipe", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def assert_silent(*texts: str) -> None:
    for text in texts:
        assert KEY not in text
        assert SECRET not in text


@BOTH
def test_no_log_line_shows_key_or_secret(reader: Reader, logged: pytest.LogCaptureFixture) -> None:
    with AlpacaLoopback({"AAPL": [record("2024-03-11T13:30:00Z")]}) as loopback:
        setting = AlpacaSetting(exchange(loopback.url))
        pages = reader(setting.client, ASKED)
        setting.client.close()
    assert loopback.headers[0]["apca-api-secret-key"] == SECRET
    assert {"httpx", "httpcore.http11"} <= {line.name for line in logged.records}
    assert_silent(logged.text, repr(pages), repr(setting.events))


@BOTH
@pytest.mark.parametrize(
    "wire", [http(b'{"message":"forbidden."}', "403 Forbidden"), Wire(), http(b"<html>", "200 OK")], ids=str
)
def test_no_error_shows_key_or_secret(reader: Reader, wire: Wire, logged: pytest.LogCaptureFixture) -> None:
    with WireServer(wire) as server:
        setting = AlpacaSetting(exchange(server.url), retry=RetryPolicy(attempts=2))
        with pytest.raises(ProviderError) as caught:
            reader(setting.client, ASKED)
        setting.client.close()
    assert SECRET.encode() in server.requests[0]
    assert_silent("".join(traceback.format_exception(caught.value)), logged.text, repr(setting.events))


def test_no_repr_shows_key_or_secret() -> None:
    setting = AlpacaSetting(exchange("http://alpaca.test"))
    parts = (setting.client, setting.client.capabilities, exchange("http://alpaca.test"), alpaca_auth(KEY, SECRET))
    assert_silent(*map(repr, parts), *map(str, parts))
    setting.client.close()


def test_credentials_travel_in_headers_alone() -> None:
    def refuse(_: int, __: object) -> Response:
        return Response(404)

    with AlpacaLoopback({}, fault=refuse) as loopback:
        setting = AlpacaSetting(exchange(loopback.url))
        with pytest.raises(ProviderError):
            list(setting.client.fetch_batch(ASKED))
        setting.client.close()
    assert_silent(repr(loopback.requests))
    assert (loopback.headers[0]["apca-api-key-id"], loopback.headers[0]["apca-api-secret-key"]) == (KEY, SECRET)


@BOTH
@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_a_secret_that_the_server_repeats_is_redacted(reader: Reader, status: int) -> None:
    body = f'{{"message": "bad pair {KEY} and {SECRET}"}}'.encode()
    with AlpacaLoopback({}, fault=lambda *_: Response(status, body)) as loopback:
        setting = AlpacaSetting(exchange(loopback.url), retry=RetryPolicy(attempts=1))
        with pytest.raises(ProviderError, match=r"bad pair \*\*\* and \*\*\*") as error:
            reader(setting.client, ASKED)
        setting.client.close()
    assert_silent(str(error.value), "".join(traceback.format_exception(error.value)))


def test_keys_for_a_loopback_server_are_shown_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with WireServer(Wire()) as proxy, AlpacaLoopback({"AAPL": [record("2024-03-11T13:30:00Z")]}) as loopback:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for reader in READERS:
            setting = AlpacaSetting(exchange(loopback.url))
            reader(setting.client, ASKED)
            setting.client.close()
    assert (len(loopback.requests), proxy.requests) == (2, [])


@BOTH
def test_a_closed_client_leaves_the_loggers_as_they_were(reader: Reader) -> None:
    loggers = [logging.getLogger(name) for name in ("httpx", "httpcore.http11", "httpcore.connection")]
    before = [list(logger.filters) for logger in loggers]
    with AlpacaLoopback({"AAPL": [record("2024-03-11T13:30:00Z")]}) as loopback:
        setting = AlpacaSetting(exchange(loopback.url))
        reader(setting.client, ASKED)
        setting.client.close()
    assert [list(logger.filters) for logger in loggers] == before


def test_a_log_record_without_a_secret_stays_as_it_is() -> None:
    record_of_it = logging.LogRecord("httpx", logging.INFO, "", 0, "HTTP Request: %s", ("100% \\u0041 &amp;",), None)
    assert Redactor([KEY, SECRET]).filter(record_of_it)
    assert record_of_it.args == ("100% \\u0041 &amp;",)
    assert Redactor(["abc"]).redact(b"abcdef") == b"abcdef"


@pytest.mark.parametrize(
    "text",
    [
        b"abcdefg",  # alone
        b"a" * 5 + b"abcdefg",  # its first letter is before it too
        b"defg" + b"abcdefg" * 2,
        b"abcdefg" * 50,  # often, so each of its letters too
        b"gfedcba" * 50 + b"abcdefg" + b"a" * 50,
        b"abcdef",  # cut off
        b"gfedcba" * 50,  # its letters, but not the secret
        b"",
    ],
)
def test_a_secret_is_redacted_wherever_its_letters_are(text: bytes) -> None:
    assert Redactor(["abcdefg"]).redact(text) == text.replace(b"abcdefg", b"***")
