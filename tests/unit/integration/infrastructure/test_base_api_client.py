from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from attrs import evolve

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateWindow
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    EndlessPagingError,
    IngestionInterrupted,
    MalformedResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
)
from marketpipe.shared_kernel.events import RateLimitWaited, RequestCompleted, RequestRetried
from marketpipe.testing import READERS, bars_request, read_pages
from tests.support.alpaca_loopback import record
from tests.support.clients import scripted_alpaca
from tests.support.scripted_transport import Answer, ScriptedTransport

ASKED = bars_request(("AAPL",), "2024-03-11", "2024-03-11")
BARS = [record("2024-03-11T13:30:00Z"), record("2024-03-11T13:31:00Z")]
RESET_IN_42 = {"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(1748865600 + 42)}
BOTH = pytest.mark.parametrize("reader", READERS, ids=["sync", "async"])
Reader = Callable[[MarketDataProvider, BarsRequest], list[RawMarketData]]


def page(*bars: object, token: str | None = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body={"bars": {"AAPL": list(bars)}, "next_page_token": token}, headers=named)


def assert_requested(transport: ScriptedTransport, pages: int) -> None:
    """One more page may be on its way already."""
    assert len(transport.requests) in (pages, pages + 1)


@BOTH
def test_every_request_is_reported_with_its_bars_and_the_remaining_limit(reader: Reader) -> None:
    setting, _ = scripted_alpaca(
        page(*BARS, token="b", X_RateLimit_Remaining="199"), page(token="c", X_RateLimit_Remaining="198"), page(BARS[0])
    )
    reader(setting.client, ASKED)
    assert setting.events == [
        RequestCompleted("alpaca", 0.0, bars=2, rate_limit_remaining=199),
        RequestCompleted("alpaca", 0.0, bars=0, rate_limit_remaining=198),
        RequestCompleted("alpaca", 0.0, bars=1, rate_limit_remaining=None),
    ]


def test_seconds_are_those_of_the_exchange_without_the_waits() -> None:
    setting, transport = scripted_alpaca(page(token="b"), page(*BARS), windows=[RateWindow(1)])
    transport.handler = _slow(transport.handler, setting.clock.advance)
    read_pages(setting.client, ASKED)
    completed = [event for event in setting.events if isinstance(event, RequestCompleted)]
    (waited,) = [event for event in setting.events if isinstance(event, RateLimitWaited)]
    assert completed == [RequestCompleted("alpaca", 2.5), RequestCompleted("alpaca", 2.5, bars=2)]
    assert waited.seconds == pytest.approx(57.5, abs=0.002)


def _slow(
    handler: Callable[[httpx.Request], object], advance: Callable[[float], None]
) -> Callable[[httpx.Request], object]:
    def answer(asked: httpx.Request) -> object:
        advance(2.5)
        return handler(asked)

    return answer


@BOTH
def test_a_failure_that_passes_is_retried_and_reported(reader: Reader) -> None:
    setting, transport = scripted_alpaca(
        Answer(502, b"<html>Bad Gateway</html>"), Answer(body=b"not json"), httpx.ReadTimeout("slow"), page(*BARS)
    )
    assert [found.num_rows for found in reader(setting.client, ASKED)] == [2]
    assert len(transport.requests) == 4
    assert len({str(asked.url) for asked in transport.requests}) == 1
    completed = [event for event in setting.events if isinstance(event, RequestCompleted)]
    retried = [event for event in setting.events if isinstance(event, RequestRetried)]
    assert [event.error_kind for event in completed] == ["unavailable", "malformed", "timeout", None]
    assert [(event.provider, event.attempt, event.reason) for event in retried] == [
        ("alpaca", 1, "alpaca answered 502: Bad Gateway"),
        ("alpaca", 2, "the body is not JSON: it starts with 'not json'"),
        ("alpaca", 3, "no answer in time (ReadTimeout)"),
    ]
    assert [event.wait_seconds for event in retried] == setting.clock.slept
    assert list(map(type, setting.events)) == [RequestCompleted, RequestRetried] * 3 + [RequestCompleted]


@BOTH
@pytest.mark.parametrize("attempts", [1, 3, 8])
def test_attempts_are_exact_for_each_page(reader: Reader, attempts: int) -> None:
    setting, transport = scripted_alpaca(page(*BARS, token="b"), Answer(500), retry=RetryPolicy(attempts))
    with pytest.raises(ProviderUnavailableError, match="alpaca answered 500"):
        reader(setting.client, ASKED)
    assert len(transport.requests) == 1 + attempts
    assert [query.get("page_token") for query in transport.queries] == [None] + ["b"] * attempts


def test_pages_before_a_failure_have_been_yielded() -> None:
    setting, _ = scripted_alpaca(page(*BARS, token="b"), Answer(500), retry=RetryPolicy(2))
    pages = setting.client.fetch_batch(ASKED)
    assert next(pages).num_rows == 2
    with pytest.raises(ProviderUnavailableError):
        next(pages)


def test_no_more_than_one_page_is_requested_ahead() -> None:
    setting, transport = scripted_alpaca(page(*BARS, token="b"), page(*BARS, token="c"), page(*BARS))
    pages = setting.client.fetch_batch(ASKED)
    assert transport.requests == []
    next(pages)
    assert_requested(transport, 1)
    next(pages)
    assert_requested(transport, 2)


@BOTH
def test_a_rate_limit_is_waited_out_until_its_reset_and_not_twice(reader: Reader) -> None:
    setting, transport = scripted_alpaca(Answer(429, {"message": "too many requests."}, RESET_IN_42), page(*BARS))
    reader(setting.client, ASKED)
    assert setting.clock.monotonic() == 42.0
    assert setting.events == [
        RequestCompleted("alpaca", 0.0, 0, "rate_limited", 0),
        RequestRetried("alpaca", 1, 0.0, "alpaca answered 429: too many requests"),
        RateLimitWaited("alpaca", 42.0),
        RequestCompleted("alpaca", 0.0, bars=2),
    ]
    assert len(transport.requests) == 2


@BOTH
@pytest.mark.parametrize("left", [{}, {"X-RateLimit-Remaining": "3"}], ids=["silent", "some left"])
def test_a_429_pauses_even_if_requests_seem_to_be_left(reader: Reader, left: dict[str, str]) -> None:
    setting, _ = scripted_alpaca(Answer(429, {}, {"X-RateLimit-Reset": str(1748865600 + 42), **left}), page())
    reader(setting.client, ASKED)
    assert setting.clock.monotonic() == 42.0


@BOTH
@pytest.mark.parametrize("ahead", [-300, 90], ids=["behind", "ahead"])
def test_a_reset_is_waited_for_by_the_clock_of_the_server(reader: Reader, ahead: int) -> None:
    theirs = datetime(2025, 6, 2, 12, tzinfo=UTC) - timedelta(seconds=ahead)
    headers = {"X-RateLimit-Reset": str(int(theirs.timestamp()) + 42), "Date": format_datetime(theirs, usegmt=True)}
    setting, _ = scripted_alpaca(Answer(429, {}, headers), page())
    reader(setting.client, ASKED)
    assert setting.clock.monotonic() == 42.0


@BOTH
@pytest.mark.parametrize("retry_after", ["30", "Mon, 02 Jun 2025 12:00:30 GMT"])
def test_retry_after_is_obeyed_in_seconds_and_as_a_date(reader: Reader, retry_after: str) -> None:
    setting, _ = scripted_alpaca(Answer(429, {}, {"Retry-After": retry_after}), page())
    reader(setting.client, ASKED)
    assert setting.clock.monotonic() == 30.0


@BOTH
def test_a_server_error_may_have_a_retry_after(reader: Reader) -> None:
    setting, _ = scripted_alpaca(Answer(503, {}, {"Retry-After": "120"}), page())
    reader(setting.client, ASKED)
    assert setting.clock.monotonic() == 120.0


@BOTH
def test_a_429_without_headers_backs_off(reader: Reader) -> None:
    setting, _ = scripted_alpaca(Answer(429), Answer(429), page())
    reader(setting.client, ASKED)
    assert 1.5 <= setting.clock.monotonic() <= 2.5


@BOTH
def test_a_rate_limit_that_never_ends_fails_after_its_attempts(reader: Reader) -> None:
    reset = {"X-RateLimit-Reset": str(1748865600 - 3600)}
    setting, transport = scripted_alpaca(Answer(429, {}, reset))
    with pytest.raises(RateLimitedError, match="alpaca answered 429"):
        reader(setting.client, ASKED)
    assert len(transport.requests) == 8
    assert setting.clock.monotonic() > 60


@BOTH
def test_if_no_request_is_left_the_next_one_waits_for_the_reset(reader: Reader) -> None:
    budget = {name.replace("-", "_"): value for name, value in RESET_IN_42.items()}
    setting, _ = scripted_alpaca(page(*BARS, token="b", **budget), page())
    reader(setting.client, ASKED)
    assert RateLimitWaited("alpaca", 42.0) in setting.events
    assert setting.clock.monotonic() == 42.0


@BOTH
def test_while_requests_are_left_there_is_no_wait(reader: Reader) -> None:
    few = {"X_RateLimit_Remaining": "1", "X_RateLimit_Reset": str(1748865600 + 42)}
    setting, _ = scripted_alpaca(page(token="b", **few), page(token="c", X_RateLimit_Remaining="0"), page())
    reader(setting.client, ASKED)
    assert setting.clock.slept == []


@BOTH
def test_an_interruption_ends_a_backoff(reader: Reader) -> None:
    setting, transport = scripted_alpaca(Answer(500))
    setting.clock.interrupt()
    with pytest.raises(IngestionInterrupted):
        reader(setting.client, ASKED)
    assert len(transport.requests) == 1


@BOTH
def test_an_interruption_ends_a_wait_for_the_rate_limit(reader: Reader) -> None:
    setting, transport = scripted_alpaca(page(token="b"), windows=[RateWindow(1)])
    setting.clock.interrupt()
    with pytest.raises(IngestionInterrupted):
        reader(setting.client, ASKED)
    assert len(transport.requests) == 1
    assert [event for event in setting.events if isinstance(event, RequestRetried)] == []


@BOTH
def test_a_page_that_points_to_itself_is_requested_once_more(reader: Reader) -> None:
    setting, transport = scripted_alpaca(page(token="b"), page(*BARS, token="b"), page(*BARS))
    assert [found.num_rows for found in reader(setting.client, ASKED)] == [0, 2]
    assert [query.get("page_token") for query in transport.queries] == [None, "b", "b"]


@BOTH
def test_a_page_that_always_points_to_itself_fails(reader: Reader) -> None:
    setting, transport = scripted_alpaca(page(token="b"), page(*BARS, token="b"))
    with pytest.raises(MalformedResponseError, match="the page after 'b' pointed to itself"):
        reader(setting.client, ASKED)
    assert len(transport.requests) == 1 + 8


@BOTH
def test_tokens_in_a_circle_fail_at_once(reader: Reader) -> None:
    circle = [page(*BARS, token=token) for token in ("b", "c", "b")]
    setting, transport = scripted_alpaca(*circle)
    with pytest.raises(EndlessPagingError, match="repeat: the cursor 'b' came twice"):
        reader(setting.client, ASKED)
    assert_requested(transport, 3)


@BOTH
def test_tokens_that_never_end_fail_after_25_empty_pages(reader: Reader) -> None:
    setting, transport = scripted_alpaca(*(page(token=f"t{number}") for number in range(40)))
    with pytest.raises(EndlessPagingError, match="25 pages in a row without a new bar"):
        reader(setting.client, ASKED)
    assert_requested(transport, 25)


@BOTH
def test_bars_that_never_end_fail_when_there_are_more_than_minutes(reader: Reader) -> None:
    setting, transport = scripted_alpaca(*(page(*BARS * 500, token=f"t{number}") for number in range(9)))
    with pytest.raises(EndlessPagingError, match="more bars than minutes"):
        reader(setting.client, ASKED)
    assert_requested(transport, 3)


@BOTH
def test_pages_that_repeat_the_same_bars_under_ever_new_tokens_end(reader: Reader) -> None:
    setting, transport = scripted_alpaca(page(token="a"), *(page(*BARS, token=f"t{number}") for number in range(40)))
    with pytest.raises(EndlessPagingError, match="25 pages in a row without a new bar"):
        reader(setting.client, ASKED)
    assert_requested(transport, 1 + 1 + 25)


@BOTH
def test_pages_of_one_new_bar_each_are_no_circle(reader: Reader) -> None:
    bars = [record(f"2024-03-11T{13 + number // 60}:{number % 60:02}:00Z") for number in range(30, 130)]
    answers = [page(bar, token=f"t{number}") for number, bar in enumerate(reversed(bars))]
    setting, _ = scripted_alpaca(*answers, page(bars[0]))
    assert sum(found.num_rows for found in reader(setting.client, ASKED)) == 101


@BOTH
def test_while_a_provider_answers_nothing_only_the_first_request_gets_full_retries(reader: Reader) -> None:
    setting, transport = scripted_alpaca(*[Answer(503)] * 14, page(*BARS), Answer(503))
    sent = []
    for _ in range(3):
        with pytest.raises(ProviderUnavailableError):
            reader(setting.client, ASKED)
        sent.append(len(transport.requests))
    assert sent == [8, 11, 14]

    reader(setting.client, ASKED)
    with pytest.raises(ProviderUnavailableError):
        reader(setting.client, ASKED)
    assert len(transport.requests) == 14 + 1 + 8, "it had answered again"


@BOTH
def test_a_probing_request_is_sent_three_times(reader: Reader) -> None:
    setting, transport = scripted_alpaca(Answer(503))
    with pytest.raises(ProviderUnavailableError):
        reader(setting.client, evolve(ASKED, probing=True))
    assert len(transport.requests) == 3


def test_a_timeout_that_does_not_pass_is_raised_as_one() -> None:
    setting, transport = scripted_alpaca(httpx.ReadTimeout("slow"))
    with pytest.raises(ProviderTimeoutError):
        read_pages(setting.client, ASKED)
    assert len(transport.requests) == 8
