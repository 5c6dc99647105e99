from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    BadRequestError,
    CredentialsError,
    EntitlementError,
    MalformedResponseError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    TerminalProviderError,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.events import RefusedSymbol, RequestCompleted
from marketpipe.testing import READERS, Response, bars_in, bars_request, read_pages
from tests.support.alpaca_loopback import AlpacaLoopback, Fault, record
from tests.support.clients import AlpacaSetting, exchange, scripted_alpaca
from tests.support.scripted_transport import Answer

ASKED = bars_request(("AAPL",), "2024-03-11", "2024-03-11")
SIP = b'{"code":42210000,"message":"subscription does not permit querying recent SIP data"}'
HTML = b"<html>\r\n<head><title>401 Authorization Required</title></head>\r\n<body>nginx</body></html>"
Reader = Callable[[MarketDataProvider, BarsRequest], list[RawMarketData]]
BOTH = pytest.mark.parametrize("reader", READERS, ids=["sync", "async"])


@BOTH
@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, b'{"message":"invalid start: not a date"}', BadRequestError, "alpaca answered 400: invalid start"),
        (401, HTML, CredentialsError, "alpaca answered 401: 401 Authorization Required nginx. Check the key"),
        (401, b'{"message":"unauthorized."}', CredentialsError, "alpaca answered 401: unauthorized. Check the key"),
        (403, b'{"message":"forbidden."}', CredentialsError, "403: forbidden. Check ALPACA_KEY and ALPACA_SECRET"),
        (403, b"", CredentialsError, "403: Forbidden. Check ALPACA_KEY and ALPACA_SECRET"),
        (401, SIP, EntitlementError, "feed sip is open once it is 15 minutes old"),
        (403, SIP, EntitlementError, "feed sip is open once it is 15 minutes old"),
        (422, SIP, EntitlementError, "alpaca answered 422: subscription does not permit querying recent SIP data"),
        (403, b"Your Subscription lacks this", EntitlementError, "check that clock"),
        (404, b'{"message":"endpoint not found."}', BadRequestError, "alpaca answered 404: endpoint not found"),
        (422, b'{"message":"invalid timeframe: 1Min"}', BadRequestError, "alpaca answered 422: invalid timeframe"),
        (302, b"", TerminalProviderError, "Redirects are not followed: correct base_url"),
    ],
)
def test_a_failure_that_a_retry_cannot_help_fails_at_once(
    reader: Reader, status: int, body: bytes, kind: type[ProviderError], said: str
) -> None:
    setting, transport = scripted_alpaca(Answer(status, body))
    with pytest.raises(kind, match=said) as caught:
        reader(setting.client, ASKED)
    assert type(caught.value) is kind
    assert (len(transport.requests), setting.clock.slept) == (1, [])


@BOTH
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, ProviderTimeoutError),
        (429, RateLimitedError),
        (500, ProviderUnavailableError),
        (502, ProviderUnavailableError),
        (503, ProviderUnavailableError),
        (504, ProviderUnavailableError),
    ],
)
def test_a_transient_failure_is_retried_and_then_fails_clearly(
    reader: Reader, status: int, kind: type[ProviderError]
) -> None:
    setting, transport = scripted_alpaca(Answer(status, b'{"message":"try later"}'))
    with pytest.raises(kind, match=f"alpaca answered {status}: try later") as caught:
        reader(setting.client, ASKED)
    assert type(caught.value) is kind
    assert (len(transport.requests), len(setting.clock.slept)) == (8, 7)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_alpaca_retry_then_succeeds(status: int) -> None:
    found = Answer(body={"bars": {"AAPL": [record("2024-03-11T13:30:00Z")]}})
    setting, transport = scripted_alpaca(Answer(status), Answer(status), found)
    assert [page.num_rows for page in setting.client.fetch_batch(ASKED)] == [1]
    assert len(transport.requests) == 3


@BOTH
@pytest.mark.parametrize("bars", [{}, None, [], {"AAPL": []}, {"AAPL": None}], ids=str)
def test_an_error_with_status_200_is_an_error_and_not_an_empty_page(reader: Reader, bars: object) -> None:
    setting, transport = scripted_alpaca(Answer(body={"message": "internal error", "bars": bars}))
    with pytest.raises(MalformedResponseError, match="a message instead of bars: 'internal error'"):
        reader(setting.client, ASKED)
    assert len(transport.requests) == 8


def test_html_with_status_200_is_an_error_and_not_an_empty_page() -> None:
    setting, _ = scripted_alpaca(Answer(200, HTML), retry=RetryPolicy(1))
    with pytest.raises(MalformedResponseError, match="the body is not JSON: it starts with '<html>"):
        list(setting.client.fetch_batch(ASKED))


def refusing(message: Callable[[list[str]], str], bad: set[str], status: int = 400) -> Fault:
    """Fails every request that names a bad symbol, as Alpaca does."""

    def fault(_: int, query: Mapping[str, str]) -> Response | None:
        offenders = [symbol for symbol in query["symbols"].split(",") if symbol in bad]
        return Response(status, f'{{"message":"{message(offenders)}"}}'.encode()) if offenders else None

    return fault


SYMBOLS = ("AAPL", "BAD", "IBM", "MSFT", "ODD", "TSLA")
MONDAY = bars_request(SYMBOLS, "2024-03-11", "2024-03-11")
BARS = {
    symbol: [record("2024-03-11T13:30:00Z"), record("2024-03-11T13:31:00Z")]
    for symbol in ("AAPL", "IBM", "MSFT", "TSLA")
}


@BOTH
@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("message", "refusals"),
    [
        (lambda bad: f"invalid symbol: {bad[0]}", 2),
        (lambda bad: f"Invalid symbol(s): {bad[0]}.", 2),
        (lambda bad: f"invalid symbols: {','.join(bad)}", 3),
        (lambda bad: f"invalid symbol: {bad[0].lower()}", 7),
        (lambda _: "invalid symbol", 7),
        (lambda _: "invalid symbol: ", 7),
    ],
    ids=["named", "plural", "listed", "lower case", "unnamed", "cut off"],
)
def test_only_the_symbol_that_is_refused_is_left_out(
    reader: Reader, status: int, message: Callable[[list[str]], str], refusals: int
) -> None:
    with AlpacaLoopback(BARS, page_size=3, fault=refusing(message, {"BAD", "ODD"}, status)) as loopback:
        setting = AlpacaSetting(exchange(loopback.url))
        pages = reader(setting.client, MONDAY)
        setting.client.close()
    assert [symbol for symbol, _ in bars_in(pages)] == [s for s in sorted(BARS) for _ in range(2)]
    refused = [one for page in pages for one in page.refused]
    assert sorted(str(one.symbol) for one in refused) == ["BAD", "ODD"]
    assert all(one.reason.lower().startswith(f"alpaca answered {status}: invalid symbol") for one in refused)
    completed = [event for event in setting.events if isinstance(event, RequestCompleted)]
    assert {event.error_kind for event in completed} == {"symbol_refused", None}
    assert setting.clock.slept == []
    assert sum(event.error_kind == "symbol_refused" for event in completed) == refusals


def test_a_symbol_refused_alone_ends_the_request() -> None:
    setting, transport = scripted_alpaca(Answer(400, {"message": "invalid symbol: AAPL"}))
    pages = list(setting.client.fetch_batch(ASKED))
    assert [(page.num_rows, page.refused, page.begins_again) for page in pages] == [
        (0, (RefusedSymbol(Symbol("AAPL"), "alpaca answered 400: invalid symbol: AAPL"),), True)
    ]
    assert len(transport.requests) == 1


def test_another_bad_request_refuses_no_symbol() -> None:
    setting, transport = scripted_alpaca(Answer(400, {"message": "invalid page token"}))
    with pytest.raises(BadRequestError, match="invalid page token"):
        list(setting.client.fetch_batch(MONDAY))
    assert len(transport.requests) == 1


def test_a_feed_that_the_plan_lacks_is_named_with_one_that_is_free() -> None:
    setting, _ = scripted_alpaca(Answer(403, SIP), feed="otc")
    with pytest.raises(EntitlementError, match="Feed otc needs another plan; feed sip is free for history"):
        read_pages(setting.client, ASKED)
