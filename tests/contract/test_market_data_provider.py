"""The contract of the port ``MarketDataProvider``, for every provider, whatever its protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import pyarrow as pa
import pytest
from attrs import evolve

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, ArrowBars
from tests.support.builders import request
from tests.support.clients import READERS, Row, owned_rows, owners, read, read_async
from tests.support.provider_market import ACME, ALPACA, FIRST, LAST, SYMBOLS, SYNTHETIC, Market, Subject

Reader = Callable[[MarketDataProvider, BarsRequest], list[RawMarketData]]
Whole = dict[SymbolDay, tuple[list[Row], TimeWindow | None]]

EVERYTHING = request(SYMBOLS, FIRST, LAST)
ONE_DAY = request(SYMBOLS, "2024-03-11", "2024-03-11")

SUBJECTS = pytest.mark.parametrize("subject", [ALPACA, SYNTHETIC, ACME], ids=str)
OVER_HTTP = pytest.mark.parametrize("subject", [ALPACA, ACME], ids=str)
READ = pytest.mark.parametrize("reader", READERS, ids=("sync", "async"))


@cache
def market(every: int = 1) -> Market:
    return Market.invented(every)


def expected(asked: BarsRequest, every: int = 1) -> list[tuple[str, Row]]:
    return [(str(day.symbol), row) for day, rows in market(every).days(asked).items() for row in rows]


def assembled(asked: BarsRequest, pages: Sequence[RawMarketData]) -> Whole:
    assembler, days = WholeDayAssembler(asked), Whole()
    for bars in (*map(assembler.add, pages), assembler.close()):
        for part, rows in _slices(bars):
            assert part not in days
            days[part] = rows
    return days


def _slices(bars: ArrowBars | None) -> Iterator[tuple[SymbolDay, tuple[list[Row], TimeWindow | None]]]:
    for part in bars.slices if bars else ():
        yield part.symbol_day, (bars.table.slice(part.offset, part.length).to_pylist(), part.final_window)


@SUBJECTS
@READ
def test_returns_every_requested_bar_and_no_other(subject: Subject, reader: Reader) -> None:
    with subject.connect(market(), 1000) as provider:
        assert owned_rows(reader(provider, ONE_DAY)) == expected(ONE_DAY)


@SUBJECTS
@READ
def test_symbols_ascend_and_then_time(subject: Subject, reader: Reader) -> None:
    backwards = evolve(EVERYTHING, symbols=tuple(reversed(EVERYTHING.symbols)))
    with subject.connect(market(), 999) as provider:
        found = [(symbol, row["timestamp"]) for symbol, row in owned_rows(reader(provider, backwards))]
    assert {symbol for symbol, _ in found} == set(SYMBOLS)
    assert all(earlier < later for earlier, later in pairwise(found))


@SUBJECTS
@pytest.mark.parametrize("kind", SessionKind)
def test_all_bars_are_in_the_requested_window(subject: Subject, kind: SessionKind) -> None:
    day = request(SYMBOLS, "2024-03-11", "2024-03-11", kind=kind)
    with subject.connect(market(), 1000) as provider:
        found = owned_rows(read(provider, day))
    assert found == expected(day)
    assert {day.window.contains(Timestamp(row["timestamp"])) for _, row in found} == {True}


@SUBJECTS
def test_a_bar_at_the_end_of_the_window_is_not_returned(subject: Subject) -> None:
    """A window is half-open, even if the provider's own ranges include their end."""
    (session,) = ONE_DAY.sessions
    last = expected(ONE_DAY)[500][1]["timestamp"]
    cut = evolve(ONE_DAY, sessions=(evolve(session, window=session.window.until(Timestamp(last)), final=False),))
    with subject.connect(market(), 1000) as provider:
        found = owned_rows(read(provider, cut))
    assert found == expected(cut)
    assert last not in {row["timestamp"] for _, row in found}
    assert found


@SUBJECTS
def test_pages_have_the_canonical_schema_and_runs_that_cover_them(subject: Subject) -> None:
    with subject.connect(market(), 700) as provider:
        pages = read(provider, EVERYTHING)
        limit = provider.capabilities.bars_per_page
    for page in pages:
        table = pa.table(page.columns)
        assert table.schema.equals(BAR_SCHEMA)
        assert page.num_rows == table.num_rows == len(owners(page)) <= limit
        assert {run.symbol for run in page.runs} <= set(EVERYTHING.symbols)


@SUBJECTS
@READ
def test_pages_end(subject: Subject, reader: Reader) -> None:
    with subject.connect(market(), 500) as provider:
        cursors = [page.next_cursor for page in reader(provider, EVERYTHING)]
    assert cursors[-1] is None
    assert None not in cursors[:-1]
    assert len(set(cursors)) == len(cursors)


@SUBJECTS
def test_the_same_request_gets_the_same_response(subject: Subject) -> None:
    with subject.connect(market(), 1000) as provider:
        assert read(provider, ONE_DAY) == read(provider, ONE_DAY)


@SUBJECTS
def test_async_pages_equal_sync_pages(subject: Subject) -> None:
    with subject.connect(market(), 1000) as provider:
        assert read_async(provider, ONE_DAY) == read(provider, ONE_DAY)


@SUBJECTS
def test_threads_may_share_a_provider(subject: Subject) -> None:
    asked = [request((symbol,), "2024-03-11", "2024-03-11") for symbol in SYMBOLS] * 2
    with subject.connect(market(), 200) as provider, ThreadPoolExecutor(len(asked)) as workers:
        found = [owned_rows(pages) for pages in workers.map(lambda one: read(provider, one), asked)]
    assert found == [expected(one) for one in asked]


@SUBJECTS
def test_a_reader_that_stops_early_leaves_the_provider_usable(subject: Subject) -> None:
    with subject.connect(market(), 300) as provider:
        next(iter(provider.fetch_batch(EVERYTHING)))
        assert owned_rows(read(provider, ONE_DAY)) == expected(ONE_DAY)


@SUBJECTS
def test_capabilities_are_ones_that_a_scheduler_can_work_with(subject: Subject) -> None:
    with subject.connect(market(), 1000) as provider:
        capabilities = provider.capabilities
        assert capabilities == provider.capabilities
    assert capabilities.name == subject.name
    assert capabilities.bars_per_page >= 1000
    assert capabilities.symbols_per_request >= len(SYMBOLS)
    assert capabilities.feed.delay.total_seconds() >= 0
    assert (capabilities.identity.provider, capabilities.identity.adjustment) == (subject.name, "raw")
    assert capabilities.identity.feed == capabilities.feed.name != ""


@SUBJECTS
def test_as_many_symbols_as_the_capabilities_allow_fit_into_one_request(subject: Subject) -> None:
    with subject.connect(market(), 10_000) as provider:
        names = [f"S{number:03}" for number in range(provider.capabilities.symbols_per_request - 1)]
        (day,) = request(["AAPL"], "2024-03-11", "2024-03-11").sessions
        opening = evolve(day, window=day.window.until(day.session.opens))
        asked = BarsRequest(1, tuple(map(Symbol, ("AAPL", *names))), (opening,))
        found = [row for symbol, row in owned_rows(read(provider, asked)) if symbol == "AAPL"]
    assert found == [row for symbol, row in expected(asked) if symbol == "AAPL"]


@OVER_HTTP
@READ
def test_an_unknown_symbol_has_no_bars_and_is_no_error(subject: Subject, reader: Reader) -> None:
    with subject.connect(market(), 1000) as provider:
        among_others = reader(provider, request(("AAPL", "ZZZZ"), "2024-03-11", "2024-03-11"))
        alone = reader(provider, request(("ZZZZ",), "2024-03-11", "2024-03-11"))
    assert set(map(str, {run.symbol for page in among_others for run in page.runs})) == {"AAPL"}
    assert [page.num_rows for page in alone] == [0, 0]  # an empty response counts only if it is repeated
    assert pa.table(alone[0].columns).schema.equals(BAR_SCHEMA)
    assert [page.refused for page in (*among_others, *alone)] == [()] * (len(among_others) + 2)


@OVER_HTTP
def test_days_without_bars_are_no_error(subject: Subject) -> None:
    with subject.connect(market(), 1000) as provider:
        pages = read(provider, request(SYMBOLS, "2024-05-01", "2024-05-03"))
    assert {(page.num_rows, page.next_cursor) for page in pages} == {(0, None)}


@OVER_HTTP
@pytest.mark.parametrize("page_size", [1, 7, 1000, 10_000])
def test_any_paging_makes_the_same_complete_symbol_days(subject: Subject, page_size: int) -> None:
    with subject.connect(market(every=240), page_size) as provider:
        pages = read(provider, EVERYTHING)
    whole = {asked.trading_date: asked.window for asked in EVERYTHING.sessions}
    days = market(every=240).days(EVERYTHING)
    assert len(pages) == -(-sum(map(len, days.values())) // page_size)
    assert assembled(EVERYTHING, pages) == {day: (rows, whole[day.trading_date]) for day, rows in days.items()}


@SUBJECTS
def test_pages_make_complete_symbol_days_in_order(subject: Subject) -> None:
    with subject.connect(market(), 1000) as provider:
        days = assembled(EVERYTHING, read(provider, EVERYTHING))
    assert list(days) == EVERYTHING.symbol_days
    assert {day: rows for day, (rows, _) in days.items()} == market().days(EVERYTHING)


@SUBJECTS
def test_closing_twice_is_harmless(subject: Subject) -> None:
    with subject.connect(market(), 1000) as provider:
        provider.close()
        provider.close()
