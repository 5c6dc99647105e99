from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.official_days import official_day_of
from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities
from marketpipe.integration.infrastructure.alpaca.alpaca_client import alpaca_auth
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.testing import bars_in, bars_request, read_pages, sessions
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.clients import AlpacaSetting, exchange, scripted_alpaca
from tests.support.scripted_transport import Answer

MONDAY = bars_request(("AAPL", "BRK.B"), "2024-03-11", "2024-03-11")
ALWAYS = {"timeframe": "1Min", "limit": "10000", "adjustment": "raw", "feed": "sip", "asof": "-", "sort": "asc"}
OPEN = "2024-03-11T13:30:00Z"


def bars(*moments: str, token: str | None = None) -> Answer:
    return Answer(body={"bars": {"AAPL": [record(moment) for moment in moments]}, "next_page_token": token})


def test_limit_feed_and_adjustment_are_sent_with_every_page() -> None:
    """Their defaults are a tenth of a page, or depend on the plan."""
    setting, transport = scripted_alpaca(bars(token="b"), bars(token="c"), bars(OPEN), feed="sip", adjustment="split")
    read_pages(setting.client, MONDAY)
    asked = [(query["limit"], query["feed"], query["adjustment"]) for query in transport.queries]
    assert asked == [("10000", "sip", "split")] * 3


def test_the_first_request_is_exactly_this() -> None:
    setting, transport = scripted_alpaca(bars(OPEN))
    read_pages(setting.client, MONDAY)
    (sent,) = transport.requests
    assert sent.url.path == "/v2/stocks/bars"
    window = {"start": "2024-03-11T08:00:00Z", "end": "2024-03-11T23:59:59Z"}
    assert transport.queries == [{"symbols": "AAPL,BRK.B", **window, **ALWAYS}]


def test_other_parameters_stay_the_same_while_paging() -> None:
    token = "QUFQTHxNfDE3MTAxNjM4MDAwMDAwMDAwMDA="
    setting, transport = scripted_alpaca(bars(token=token), bars(OPEN))
    read_pages(setting.client, MONDAY)
    first, second = transport.queries
    assert second == {**first, "page_token": token}


@pytest.mark.parametrize(
    ("kind", "first", "last", "start", "end"),
    [
        (SessionKind.EXTENDED, "2024-03-11", "2024-03-11", "2024-03-11T08:00:00Z", "2024-03-11T23:59:59Z"),
        (SessionKind.EXTENDED, "2024-01-02", "2024-01-02", "2024-01-02T09:00:00Z", "2024-01-03T00:59:59Z"),
        (SessionKind.EXTENDED, "2024-03-08", "2024-03-11", "2024-03-08T09:00:00Z", "2024-03-11T23:59:59Z"),
        (SessionKind.REGULAR, "2024-07-03", "2024-07-03", "2024-07-03T13:30:00Z", "2024-07-03T16:59:59Z"),
        (SessionKind.REGULAR, "2024-11-01", "2024-11-04", "2024-11-01T13:30:00Z", "2024-11-04T20:59:59Z"),
    ],
)
def test_both_ends_are_inclusive_so_the_last_second_is_requested_and_not_the_end(
    kind: SessionKind, first: str, last: str, start: str, end: str
) -> None:
    setting, transport = scripted_alpaca(bars())
    read_pages(setting.client, bars_request(("AAPL",), first, last, kind=kind))
    assert (transport.queries[0]["start"], transport.queries[0]["end"]) == (start, end)


def test_a_bar_at_20_00_in_new_york_is_not_requested() -> None:
    """Alpaca would return it: it is outside the session, and in UTC it belongs to another date."""
    day = [record(f"2024-03-1{at}Z") for at in ("1T07:59:00", "1T08:00:00", "1T23:59:00", "2T00:00:00")]
    with AlpacaLoopback({"AAPL": day}) as loopback:
        client = AlpacaSetting(exchange(loopback.url)).client
        found = bars_in(read_pages(client, bars_request(("AAPL",), "2024-03-11", "2024-03-11")))
        client.close()
    assert [str(Timestamp(row["timestamp"])) for _, row in found] == ["2024-03-11T08:00:00Z", "2024-03-11T23:59:00Z"]


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("2024-03-11T08:00:00Z", "2024-03-11T08:00:00Z"),
        ("2024-03-11T08:00:00.400Z", "2024-03-11T08:00:00Z"),
        ("2024-03-11T08:00:01Z", "2024-03-11T08:00:00Z"),
        ("2024-03-11T15:00:30.500Z", "2024-03-11T15:00:29Z"),
    ],
)
def test_an_end_is_never_before_the_start_and_never_after_the_window(until: str, end: str) -> None:
    (session,) = MONDAY.sessions
    cut = evolve(MONDAY, sessions=(evolve(session, window=session.window.until(Timestamp.parse(until))),))
    setting, transport = scripted_alpaca(bars())
    read_pages(setting.client, cut)
    assert (transport.queries[0]["start"], transport.queries[0]["end"]) == ("2024-03-11T08:00:00Z", end)


def test_the_token_alone_ends_paging_and_not_a_short_or_empty_page() -> None:
    setting, transport = scripted_alpaca(
        bars("2024-03-11T13:30:00Z", token="b"),
        Answer(body={"bars": {}, "next_page_token": "c"}),
        Answer(body={"bars": None, "next_page_token": "d"}),
        Answer(body={"next_page_token": "e"}),
        bars("2024-03-11T13:31:00Z", token=""),
    )
    pages = read_pages(setting.client, MONDAY)
    assert [page.num_rows for page in pages] == [1, 0, 0, 0, 1]
    assert [query.get("page_token") for query in transport.queries] == [None, "b", "c", "d", "e"]


def test_capabilities_hold_what_a_scheduler_and_a_store_need() -> None:
    capabilities = alpaca_capabilities("sip", "all")
    assert capabilities.identity == DatasetIdentity("alpaca", "sip", "all")
    assert (capabilities.bars_per_page, capabilities.symbols_per_request) == (10_000, 200)
    assert capabilities.feed.delay == timedelta(minutes=15)


def test_credentials_go_into_alpacas_two_headers() -> None:
    assert alpaca_auth("k", "s").headers == {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}


@pytest.mark.parametrize(
    ("first", "last", "start", "end"),
    [
        ("2024-03-08", "2024-03-11", "2024-03-08T05:00:00Z", "2024-03-11T20:00:00Z"),
        ("2024-11-01", "2024-11-04", "2024-11-01T04:00:00Z", "2024-11-04T21:00:00Z"),
        ("2024-01-02", "2024-01-02", "2024-01-02T05:00:00Z", "2024-01-02T21:00:00Z"),
    ],
)
def test_official_days_are_requested_until_the_close_so_that_a_free_plan_has_them_in_the_evening(
    first: str, last: str, start: str, end: str
) -> None:
    setting, transport = scripted_alpaca(bars(start), feed="sip", adjustment="split")
    asked = tuple(map(official_day_of, sessions(first, last)))
    read_pages(setting.client, evolve(MONDAY, sessions=asked, timeframe=Timeframe.DAY_1))
    (query,) = transport.queries
    changed = {"timeframe": "1Day", "adjustment": "split", "start": start, "end": end}
    assert query == {"symbols": "AAPL,BRK.B", **ALWAYS, **changed}


def test_alpaca_has_official_days_and_takes_thousands_of_symbols_for_them() -> None:
    capabilities = alpaca_capabilities("sip", "raw")
    assert capabilities.official_days
    assert capabilities.symbols_per_official_request == 2_000
