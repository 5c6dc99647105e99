"""While a page is parsed the next request is on its way; whatever cursor is peeked, the pages stay the same."""

from __future__ import annotations

import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient
from marketpipe.integration.infrastructure.base_api_client import BaseApiClient
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.events import RequestCompleted, RequestRetried
from marketpipe.testing import bars_request, read_pages
from tests.support.alpaca_loopback import record
from tests.support.clients import AlpacaSetting, exchange, scripted_alpaca
from tests.support.scripted_transport import Answer, ScriptedTransport

ASKED = bars_request(("AAPL",), "2024-03-11", "2024-03-11")
MINUTES = [record(f"2024-03-11T13:{minute}:00Z") for minute in range(30, 40)]


def pages_of(*tokens: str | None) -> list[Answer]:
    bars = ([MINUTES[number]] for number in range(len(tokens)))
    return [
        Answer(body={"bars": {"AAPL": some}, "next_page_token": token})
        for some, token in zip(bars, tokens, strict=True)
    ]


class Waiting(AlpacaClient):
    """Parses no first page before the second one was requested."""

    second_requested = threading.Event()

    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        assert self.second_requested.wait(60)
        return super().parse_response(request, body)


def test_the_next_page_is_requested_while_this_one_is_parsed() -> None:
    transport = ScriptedTransport(*pages_of("b", None))
    setting = AlpacaSetting(exchange("http://alpaca.test", transport), client_class=Waiting)
    answered = transport.handler

    def answer(asked: httpx.Request) -> object:
        if "page_token" in asked.url.params:
            Waiting.second_requested.set()
        return answered(asked)

    transport.handler = answer

    assert [page.num_rows for page in read_pages(setting.client, ASKED)] == [1, 1]


class Guessing(AlpacaClient):
    def peek_next_cursor(self, body: bytes) -> str | None:
        return "elsewhere"


class FormerHook(BaseApiClient):
    """A provider that was written when the hook was still called ``cursor_in``."""

    endpoint_path = AlpacaClient.endpoint_path
    build_request_params = AlpacaClient.build_request_params
    parse_response = AlpacaClient.parse_response
    _fast_pages = None

    def cursor_in(self, body: bytes) -> str | None:
        return "b" if b'"b"' in body else None


def test_the_former_name_of_the_hook_still_works() -> None:
    setting, _ = scripted_alpaca(*pages_of("b", None), client_class=FormerHook)

    assert setting.client.peek_next_cursor(b'{"next_page_token":"b"}') == "b"
    assert [page.num_rows for page in read_pages(setting.client, ASKED)] == [1, 1]


def test_a_wrong_cursor_costs_a_request_and_nothing_else() -> None:
    answers = {None: "b", "b": "c", "c": None, "elsewhere": "nowhere"}
    asked = list[str | None]()

    def answer(wanted: httpx.Request) -> httpx.Response:
        asked.append(token := wanted.url.params.get("page_token"))
        return Answer(
            body={"bars": {"AAPL": [MINUTES[len(token or "")]]}, "next_page_token": answers[token]}
        ).response()

    setting = AlpacaSetting(exchange("http://alpaca.test", httpx.MockTransport(answer)), client_class=Guessing)

    pages = read_pages(setting.client, ASKED)

    assert [page.next_cursor for page in pages] == ["b", "c", None]
    assert [token for token in asked if token != "elsewhere"] == [None, "b", "c"]


def test_a_failed_request_that_was_sent_ahead_is_retried_in_its_place() -> None:
    first, second = pages_of("b", None)
    setting, transport = scripted_alpaca(first, Answer(503), httpx.ConnectError("gone"), second)

    assert [page.num_rows for page in read_pages(setting.client, ASKED)] == [1, 1]
    kinds = [event.error_kind for event in setting.events if isinstance(event, RequestCompleted)]
    assert kinds == [None, "unavailable", "connection_failed", None]
    assert sum(isinstance(event, RequestRetried) for event in setting.events) == 2
    assert [query.get("page_token") for query in transport.queries] == [None, "b", "b", "b"]


def test_closing_the_pages_early_leaves_no_request_and_no_thread_behind() -> None:
    setting, transport = scripted_alpaca(*pages_of("b", "c", None))
    pages = setting.client.fetch_batch(ASKED)

    next(pages)
    pages.close()  # type: ignore[attr-defined]
    so_far = len(transport.requests)
    assert not any(thread.name.startswith("marketpipe-ahead") for thread in threading.enumerate())
    setting.client.close()

    assert len(transport.requests) == so_far <= 2


@pytest.mark.parametrize(
    ("end", "token"),
    [
        (b',"next_page_token":"QUFQTHxNfDIwMjQ="}', "QUFQTHxNfDIwMjQ="),
        (b', "next_page_token" : "a_b-c/d+e" }\n', "a_b-c/d+e"),
        (b',"next_page_token":null}', None),
        (b',"next_page_token":""}', None),
        (b',"next_page_token":"a\\u0062"}', None),
        (b',"next_page_token":"b","other":1}', None),
        (b',"x":{"next_page_token":"b"}}', None),
        (b"}", None),
        (b"", None),
    ],
)
def test_a_token_is_found_where_alpaca_writes_it(end: bytes, token: str | None) -> None:
    setting, _ = scripted_alpaca(Answer())

    assert setting.client.peek_next_cursor(b'{"bars":{"AAPL":[]}' + end) == token


@given(st.binary(max_size=700))
def test_no_body_makes_the_search_for_a_token_fail(body: bytes) -> None:
    setting, _ = scripted_alpaca(Answer())

    assert setting.client.peek_next_cursor(body) is None
