"""While a page is read the next one is on its way; whatever is guessed, the pages are those that they would be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.domain.page_walk import PageCall
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient
from marketpipe.integration.infrastructure.http_exchange import HttpReply
from marketpipe.integration.infrastructure.prefetcher import RequestAhead, Tally
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.events import RequestCompleted, RequestRetried
from tests.support.alpaca_loopback import record
from tests.support.builders import request
from tests.support.clients import AlpacaSetting, exchange, read, scripted_alpaca
from tests.support.scripted_transport import Answer, ScriptedTransport

ASKED = request(("AAPL",), "2024-03-11", "2024-03-11")
FIRST, SECOND = PageCall(ASKED), PageCall(ASKED, "b")
MINUTES = [record(f"2024-03-11T13:{minute}:00Z") for minute in range(30, 40)]


def pages_of(*tokens: str | None) -> list[Answer]:
    bars = ([MINUTES[number]] for number in range(len(tokens)))
    return [
        Answer(body={"bars": {"AAPL": some}, "next_page_token": token})
        for some, token in zip(bars, tokens, strict=True)
    ]


class Waiting(AlpacaClient):
    """Reads no first page before the second one was asked for."""

    second_asked = threading.Event()

    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        assert self.second_asked.wait(10)
        return super().parse_response(request, body)


def test_the_next_page_is_asked_for_while_this_one_is_read() -> None:
    transport = ScriptedTransport(*pages_of("b", None))
    setting = AlpacaSetting(exchange("http://alpaca.test", transport), client_class=Waiting)
    answered = transport.handler

    def answer(asked: httpx.Request) -> object:
        if "page_token" in asked.url.params:
            Waiting.second_asked.set()
        return answered(asked)

    transport.handler = answer

    assert [page.num_rows for page in read(setting.client, ASKED)] == [1, 1]


class Guessing(AlpacaClient):
    def cursor_in(self, body: bytes) -> str | None:
        return "elsewhere"


def test_a_wrong_guess_costs_a_request_and_nothing_else() -> None:
    answers = {None: "b", "b": "c", "c": None, "elsewhere": "nowhere"}
    asked = list[str | None]()

    def answer(wanted: httpx.Request) -> httpx.Response:
        asked.append(token := wanted.url.params.get("page_token"))
        return Answer(
            body={"bars": {"AAPL": [MINUTES[len(token or "")]]}, "next_page_token": answers[token]}
        ).response()

    setting = AlpacaSetting(exchange("http://alpaca.test", httpx.MockTransport(answer)), client_class=Guessing)

    pages = read(setting.client, ASKED)

    assert [page.next_cursor for page in pages] == ["b", "c", None]
    assert [token for token in asked if token != "elsewhere"] == [None, "b", "c"]


def test_a_failure_of_what_was_asked_for_ahead_is_retried_in_its_place() -> None:
    first, second = pages_of("b", None)
    setting, transport = scripted_alpaca(first, Answer(503), httpx.ConnectError("gone"), second)

    assert [page.num_rows for page in read(setting.client, ASKED)] == [1, 1]
    kinds = [event.error_kind for event in setting.events if isinstance(event, RequestCompleted)]
    assert kinds == [None, "unavailable", "unavailable", None]
    assert sum(isinstance(event, RequestRetried) for event in setting.events) == 2
    assert [query.get("page_token") for query in transport.queries] == [None, "b", "b", "b"]


def test_whoever_stops_in_the_middle_leaves_nothing_on_its_way() -> None:
    setting, transport = scripted_alpaca(*pages_of("b", "c", None))
    pages = setting.client.fetch_batch(ASKED)

    next(pages)
    pages.close()  # type: ignore[attr-defined]
    so_far = len(transport.requests)
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
def test_a_token_is_seen_where_alpaca_writes_it(end: bytes, token: str | None) -> None:
    setting, _ = scripted_alpaca(Answer())

    assert setting.client.cursor_in(b'{"bars":{"AAPL":[]}' + end) == token


@given(st.binary(max_size=700))
def test_no_body_makes_it_fail_to_guess(body: bytes) -> None:
    setting, _ = scripted_alpaca(Answer())

    assert setting.client.cursor_in(body) is None


class Asking:
    """Answers with the number of the call; counts."""

    def __init__(self) -> None:
        self.asked: list[PageCall] = []

    def __call__(self, call: PageCall, tally: Tally) -> HttpReply:
        self.asked.append(call)
        tally.sent = True
        return HttpReply(200, {}, str(len(self.asked)).encode())


Use = Callable[[RequestAhead], list[bytes]]


@pytest.mark.parametrize(
    ("use", "replies", "asked"),
    [
        (lambda a: [a.take(FIRST).reply().body], [b"1"], [FIRST]),
        (lambda a: [a.begin(SECOND), a.take(SECOND).reply().body][1:], [b"1"], [SECOND]),
        (lambda a: [a.begin(SECOND), *(a.take(SECOND).reply().body for _ in "12")][1:], [b"1", b"2"], [SECOND] * 2),
        (lambda a: [a.begin(SECOND), a.begin(FIRST), a.take(SECOND).reply().body][2:], [b"1"], [SECOND]),
    ],
    ids=["not begun", "begun", "asked for again", "begun twice"],
)
def test_what_was_begun_is_taken_once(use: Use, replies: list[bytes], asked: list[PageCall]) -> None:
    asking = Asking()

    with ThreadPoolExecutor(1) as executor, RequestAhead(asking, executor) as ahead:
        found = use(ahead)

    assert found == replies
    assert asking.asked == asked
