from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.synthetic.synthetic_client import BARS_PER_PAGE, SyntheticClient
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.testing import BarRow, bars_in, bars_request, read_pages, sessions
from tests.support.examples import examples

NAMES = ("AAPL", "BRK.B", "IBM", "MSFT", "TSLA")


def bars(seed: int, symbol: str, first: str, last: str, kind: SessionKind = SessionKind.EXTENDED) -> list[BarRow]:
    return [
        row for _, row in bars_in(read_pages(SyntheticClient(seed), bars_request((symbol,), first, last, kind=kind)))
    ]


def times(rows: list[BarRow]) -> list[Timestamp]:
    return [Timestamp(row["timestamp"]) for row in rows]


@examples(15)
@given(
    symbols=st.sets(st.sampled_from(NAMES), min_size=1).map(sorted),
    first=st.integers(0, 3),
    length=st.integers(0, 3),
)
def test_a_symbol_day_is_the_same_whatever_else_is_requested(symbols: list[str], first: int, length: int) -> None:
    days = [str(session.trading_date) for session in sessions("2024-03-06", "2024-03-14")]
    asked = bars_request(symbols, days[first], days[first + length])
    found = bars_in(read_pages(SyntheticClient(7), asked))
    alone = [
        (symbol, row)
        for symbol in symbols
        for day in days[first : first + length + 1]
        for row in bars(7, symbol, day, day)
    ]
    assert found == alone


def test_the_bars_are_these_on_every_machine() -> None:
    """Also after an upgrade: two stores that were filled with one seed stay comparable."""
    first, *_, last = bars(42, "AAPL", "2024-03-08", "2024-03-08")
    assert first == {
        "timestamp": datetime(2024, 3, 8, 9, 2, tzinfo=UTC),
        "open": 174.43,
        "high": 174.47,
        "low": 174.35,
        "close": 174.43,
        "volume": 2885.0,
        "trade_count": 40,
        "vwap": 174.42,
    }
    assert len(bars(42, "AAPL", "2024-03-08", "2024-03-08")) == 537
    assert last["timestamp"] > datetime(2024, 3, 9, 0, 30, tzinfo=UTC)


def test_another_seed_another_symbol_or_another_date_gives_other_bars() -> None:
    day = bars(7, "AAPL", "2024-03-08", "2024-03-08")
    others = [
        bars(8, "AAPL", "2024-03-08", "2024-03-08"),
        bars(7, "AAPLE", "2024-03-08", "2024-03-08"),
        bars(7, "AAPL", "2024-03-07", "2024-03-07"),
    ]
    for other in others:
        assert [row["open"] for row in other] != [row["open"] for row in day]
        assert [row["volume"] for row in other][:20] != [row["volume"] for row in day][:20]


def test_two_seeds_are_two_datasets() -> None:
    one, two = SyntheticClient(1).capabilities, SyntheticClient(2).capabilities
    assert one.identity != two.identity
    assert (one.identity.provider, one.identity.feed) == ("synthetic", "seed-1")
    assert one.feed.delay == timedelta(0)


@pytest.mark.parametrize(
    ("date", "opens", "closes"),
    [
        ("2024-03-08", "2024-03-08T09:00:00Z", "2024-03-09T01:00:00Z"),
        ("2024-03-11", "2024-03-11T08:00:00Z", "2024-03-12T00:00:00Z"),
        ("2024-07-03", "2024-07-03T08:00:00Z", "2024-07-03T21:00:00Z"),
        ("2024-11-01", "2024-11-01T08:00:00Z", "2024-11-02T00:00:00Z"),
        ("2024-11-04", "2024-11-04T09:00:00Z", "2024-11-05T01:00:00Z"),
    ],
)
def test_a_day_runs_from_04_00_to_20_00_in_new_york_by_its_own_clock_and_a_half_day_to_17_00(
    date: str, opens: str, closes: str
) -> None:
    found = [time for symbol in NAMES for time in times(bars(7, symbol, date, date))]
    start, end = Timestamp.parse(opens), Timestamp.parse(closes)
    assert start <= min(found) < start.plus(timedelta(minutes=15))
    assert end.plus(timedelta(minutes=-15)) < max(found) < end
    assert {time.epoch_micros % 60_000_000 for time in found} == {0}


@pytest.mark.parametrize(
    ("date", "minutes"), [("2024-03-08", 390), ("2024-03-11", 390), ("2024-07-03", 210), ("2024-11-29", 210)]
)
def test_a_regular_session_is_a_part_of_the_extended_one(date: str, minutes: int) -> None:
    (session,) = sessions(date, date)
    regular = bars(7, "AAPL", date, date, SessionKind.REGULAR)
    whole = bars(7, "AAPL", date, date)
    assert regular == [row for row in whole if session.regular.contains(Timestamp(row["timestamp"]))]
    assert 0.7 * minutes < len(regular) <= minutes


@examples(30)
@given(minute=st.integers(0, 960), second=st.sampled_from([0, 1, 59]))
def test_a_cut_window_cuts_the_same_bars_short(minute: int, second: int) -> None:
    (session,) = bars_request(("AAPL",), "2024-03-11", "2024-03-11").sessions
    until = session.window.start.plus(timedelta(minutes=minute, seconds=second))
    cut = BarsRequest(1, (Symbol("AAPL"),), (evolve(session, window=session.window.until(until), final=False),))
    found = [row for _, row in bars_in(read_pages(SyntheticClient(7), cut))]
    whole = bars(7, "AAPL", "2024-03-11", "2024-03-11")
    assert found == [row for row in whole if Timestamp(row["timestamp"]) < until]


def test_pages_are_cut_between_symbol_days_before_they_exceed_10_000_bars() -> None:
    asked = bars_request(NAMES, "2024-03-01", "2024-03-15")
    pages = read_pages(SyntheticClient(7), asked)
    sizes = [page.num_rows for page in pages]
    assert sum(sizes) > 2 * BARS_PER_PAGE
    assert max(sizes) <= BARS_PER_PAGE == 10_000
    assert min(size + runs(following)[0] for size, following in zip(sizes, pages[1:], strict=False)) > BARS_PER_PAGE
    assert sum(len(page.runs) for page in pages) == len(asked.symbol_days)
    assert [page.next_cursor is None for page in pages] == [False] * (len(pages) - 1) + [True]


def test_official_days_come_in_pages_of_100_so_that_a_stop_need_not_wait_for_all_of_them() -> None:
    asked = evolve(bars_request(("AAPL", "IBM"), "2023-06-01", "2023-09-29"), timeframe=Timeframe.DAY_1)
    pages = read_pages(SyntheticClient(7), asked)
    assert [page.num_rows for page in pages] == [100, 68]
    assert [page.next_cursor is None for page in pages] == [False, True]


def runs(page: RawMarketData) -> list[int]:
    return [run.length for run in page.runs]


def test_a_window_without_a_minute_is_one_empty_page() -> None:
    (session,) = bars_request(("AAPL",), "2024-03-11", "2024-03-11").sessions
    nothing = BarsRequest(1, (Symbol("AAPL"),), (evolve(session, window=session.window.until(session.window.start)),))
    (page,) = read_pages(SyntheticClient(7), nothing)
    assert (page.num_rows, page.next_cursor, len(pa.table(page.columns))) == (0, None, 0)


def test_dates_long_ago_have_bars_too() -> None:
    assert len(bars(7, "AAPL", "1999-12-30", "1999-12-30", SessionKind.REGULAR)) > 300
