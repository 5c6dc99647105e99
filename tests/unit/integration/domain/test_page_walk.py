from __future__ import annotations

from itertools import count

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.domain.page_walk import IDLE_PAGES_IN_A_ROW, PageCall, PageWalk
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.shared_kernel.domain.errors import (
    EndlessPagingError,
    MalformedResponseError,
    SymbolRefusedError,
    WrongAnswerError,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.events import RefusedSymbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import bars_request

MONDAY = "2024-03-11"
MOMENTS = count(1)


def walk(*symbols: str) -> PageWalk:
    return PageWalk(bars_request(symbols or ("AAPL",), MONDAY, MONDAY))


def page(rows: int, cursor: str | None, symbol: str = "AAPL") -> RawMarketData:
    """Return a page whose columns are never read."""
    return RawMarketData(BAR_SCHEMA.empty_table(), (SymbolRun(Symbol(symbol), rows),), cursor)


def accept(pages: PageWalk, accepted: RawMarketData) -> None:
    """Every bar is a new one: it is later than all before it."""
    pages.accept(accepted, [(run.symbol, (0, next(MOMENTS))) for run in accepted.runs if run.length])


def next_asked(pages: PageWalk) -> tuple[str, str | None] | None:
    call = pages.next_call()
    return None if call is None else (",".join(map(str, call.request.symbols)), call.cursor)


def test_the_first_call_has_no_cursor() -> None:
    assert next_asked(walk("AAPL", "MSFT")) == ("AAPL,MSFT", None)


def test_the_cursor_alone_decides_whether_there_is_another_page() -> None:
    pages = walk()
    for rows, cursor in ((10_000, "b"), (1, "c"), (0, "d")):
        accept(pages, page(rows if rows < 2000 else 1000, cursor))
        assert next_asked(pages) == ("AAPL", cursor)
    accept(pages, page(1000, None))
    assert pages.next_call() is None


def test_next_call_does_not_consume_the_call() -> None:
    pages = walk()
    assert pages.next_call() == pages.next_call()


def test_an_empty_string_is_a_cursor_like_any_other() -> None:
    pages = walk()
    accept(pages, page(1, ""))
    assert next_asked(pages) == ("AAPL", "")


def test_a_page_that_points_to_itself_is_malformed() -> None:
    asked = bars_request(("AAPL",), MONDAY, MONDAY)
    with pytest.raises(MalformedResponseError, match="'b' pointed to itself"):
        PageWalk.check_progress(PageCall(asked, "b"), page(1, "b"))
    PageWalk.check_progress(PageCall(asked, "b"), page(1, "c"))
    PageWalk.check_progress(PageCall(asked, None), page(1, None))


@pytest.mark.parametrize("circle", [("b", "c", "b"), ("b", "c", "d", "c"), ("b", "b")])
def test_a_cursor_that_comes_again_is_a_circle(circle: tuple[str, ...]) -> None:
    pages = walk()
    for cursor in circle[:-1]:
        accept(pages, page(1, cursor))
    with pytest.raises(EndlessPagingError, match=f"repeat: the cursor '{circle[-1]}' came twice"):
        accept(pages, page(1, circle[-1]))


def test_empty_pages_end_after_a_while() -> None:
    pages = walk()
    for number in range(IDLE_PAGES_IN_A_ROW - 1):
        accept(pages, page(0, f"cursor {number}"))
    with pytest.raises(
        EndlessPagingError, match="25 pages in a row without a new bar for AAPL from 2024-03-11 to 2024-03-11"
    ):
        accept(pages, page(0, "one more"))


def test_a_bar_now_and_then_keeps_empty_pages_from_ending() -> None:
    pages = walk()
    for number in range(4 * IDLE_PAGES_IN_A_ROW):
        accept(pages, page(1 if number % 20 == 0 else 0, f"cursor {number}"))
    assert next_asked(pages) == ("AAPL", "cursor 99")


def test_the_last_empty_page_may_be_the_25th() -> None:
    pages = walk()
    for number in range(IDLE_PAGES_IN_A_ROW - 1):
        accept(pages, page(0, f"cursor {number}"))
    for _ in range(2):
        accept(pages, page(0, None))
    assert pages.next_call() is None


def test_an_empty_last_page_is_trusted_if_it_comes_twice() -> None:
    pages = walk()
    accept(pages, page(0, None))
    assert next_asked(pages) == ("AAPL", None)
    accept(pages, page(0, None))
    assert pages.next_call() is None


def test_a_last_page_without_bars_is_requested_once_more_and_may_lead_on() -> None:
    pages = walk()
    accept(pages, page(10, "b"))
    accept(pages, page(0, None))
    assert next_asked(pages) == ("AAPL", "b")
    accept(pages, page(10, "c"))
    assert next_asked(pages) == ("AAPL", "c")
    accept(pages, page(10, None))
    assert pages.next_call() is None


def test_a_page_of_unrequested_bars_is_not_empty() -> None:
    pages = walk()
    accept(pages, evolve(page(0, None), unrequested=3))
    assert pages.next_call() is None


DAY = (1_710_163_800_000_000, 1_710_187_140_000_000)
"""The regular session of Monday, 2024-03-11, in epoch microseconds."""
A_DAY = 86_400_000_000
MIDNIGHT = 1_710_129_600_000_000


@pytest.mark.parametrize(
    ("symbol", "span"),
    [
        ("AAPL", DAY),
        ("AAPL", (DAY[0] - A_DAY, DAY[0])),
        ("AAPL", (MIDNIGHT + A_DAY - 1, MIDNIGHT + 2 * A_DAY)),
        ("AAPL", (MIDNIGHT, MIDNIGHT + 60_000_000)),
        ("AAPL", (-62_135_596_800_000_000, DAY[0])),
    ],
    ids=["the session", "begins a day before", "ends with the day", "begins with the day", "begins with the year 1"],
)
def test_some_requested_bars_make_an_answer(symbol: str, span: tuple[int, int]) -> None:
    walk().check_answer(page(10, None, symbol), [(Symbol(symbol), span)])


@pytest.mark.parametrize(
    ("symbol", "span", "reason"),
    [
        ("MSFT", DAY, "but bars of MSFT from 2024-03-11 to 2024-03-11"),
        ("AAPL", (DAY[0] - A_DAY, MIDNIGHT - 1), "but bars of AAPL from 2024-03-10 to 2024-03-10"),
        ("AAPL", (MIDNIGHT + A_DAY, DAY[1] + A_DAY), "from 2024-03-12 to 2024-03-12"),
        ("AAPL", (MIDNIGHT, MIDNIGHT), "another timeframe than 1m"),
        ("AAPL", (-62_135_596_800_000_000,) * 2, "from an impossible date to an impossible date"),
        ("AAPL", (2**62, 2**62), "from an impossible date to an impossible date"),
    ],
)
def test_a_page_without_a_requested_bar_is_refused(symbol: str, span: tuple[int, int], reason: str) -> None:
    with pytest.raises(WrongAnswerError, match=reason):
        walk().check_answer(page(10, None, symbol), [(Symbol(symbol), span)])


def test_a_page_of_bars_that_the_client_left_out_is_refused() -> None:
    with pytest.raises(WrongAnswerError, match="but 3 bars of other symbols"):
        walk().check_answer(evolve(page(0, None), unrequested=3), [])


def test_after_requested_bars_a_page_of_others_is_left_to_the_assembler() -> None:
    pages = walk()
    pages.accept(page(10, "b"), [(Symbol("AAPL"), DAY)])
    pages.check_answer(evolve(page(0, None), unrequested=3), [])


def test_no_bars_are_an_answer() -> None:
    walk().check_answer(page(0, None), [])
    walk().check_answer(page(3, None), [])  # rows whose time cannot be read


def test_minutes_in_place_of_daily_bars_are_refused() -> None:
    asked = evolve(bars_request(("AAPL",), MONDAY, MONDAY), timeframe=Timeframe.DAY_1)
    PageWalk(asked).check_answer(page(1, None), [(Symbol("AAPL"), (MIDNIGHT, MIDNIGHT))])
    with pytest.raises(WrongAnswerError, match="another timeframe than 1d"):
        PageWalk(asked).check_answer(page(390, None), [(Symbol("AAPL"), DAY)])


@pytest.mark.parametrize("spans", [[], [(Symbol("AAPL"), (5, 9))], [(Symbol("AAPL"), (6, 8))]], ids=repr)
def test_repeated_bars_are_no_progress(spans: list[tuple[Symbol, tuple[int, int]]]) -> None:
    pages = walk()
    pages.accept(page(5, "first"), [(Symbol("AAPL"), (5, 9))])
    for number in range(IDLE_PAGES_IN_A_ROW - 1):
        pages.accept(page(5, f"cursor {number}"), spans)
    with pytest.raises(EndlessPagingError, match="25 pages in a row"):
        pages.accept(page(5, "one more"), spans)


@pytest.mark.parametrize("span", [(4, 9), (5, 10), (10, 12), (1, 2)])
def test_a_bar_before_or_after_those_of_its_symbol_is_progress(span: tuple[int, int]) -> None:
    pages = walk()
    pages.accept(page(5, "first"), [(Symbol("AAPL"), (5, 9))])
    for number in range(IDLE_PAGES_IN_A_ROW - 1):
        pages.accept(page(0, f"cursor {number}"), [])
    pages.accept(page(5, "new"), [(Symbol("AAPL"), span)])
    assert next_asked(pages) == ("AAPL", "new")


def test_more_bars_than_the_days_have_minutes_end_the_walk() -> None:
    pages = PageWalk(bars_request(("AAPL", "MSFT"), MONDAY, "2024-03-12"))
    accept(pages, page(4 * 2 * 1440, "b"))
    with pytest.raises(EndlessPagingError, match="more bars than minutes"):
        accept(pages, page(1, "c"))


def test_a_named_symbol_is_dropped_and_the_rest_requested_again() -> None:
    pages = walk("AAPL", "BAD", "MSFT")
    assert pages.refuse(SymbolRefusedError("no BAD", "BAD")) == (RefusedSymbol(Symbol("BAD"), "no BAD"),)
    assert next_asked(pages) == ("AAPL,MSFT", None)
    accept(pages, page(1, None))
    assert pages.next_call() is None


@pytest.mark.parametrize("named", [None, "", "bad", "OTHER", "BAD,"])
def test_a_group_is_bisected_if_the_refused_symbol_is_not_in_it(named: str | None) -> None:
    pages = walk("AAPL", "BAD", "MSFT")
    assert pages.refuse(SymbolRefusedError("one is bad", named)) == ()
    assert next_asked(pages) == ("AAPL", None)
    accept(pages, page(1, None))
    assert next_asked(pages) == ("BAD,MSFT", None)


def test_a_symbol_refused_alone_is_dropped_whatever_the_provider_named() -> None:
    pages = walk("BAD")
    assert pages.refuse(SymbolRefusedError("no", "OTHER")) == (RefusedSymbol(Symbol("BAD"), "no"),)
    assert pages.next_call() is None


def test_groups_may_get_the_same_cursors() -> None:
    """For example page numbers, which belong to the pages of one group."""
    pages = walk("AAPL", "BAD", "IBM", "MSFT")
    pages.refuse(SymbolRefusedError("one is bad"))
    for cursor in ("page 2", "page 3", None):
        accept(pages, page(1, cursor))
    assert next_asked(pages) == ("IBM,MSFT", None)
    for cursor in ("page 2", "page 3", None):
        accept(pages, page(1, cursor))
    assert pages.next_call() is None


def test_a_group_refused_halfway_starts_again_from_its_first_page() -> None:
    pages = walk("AAPL", "MSFT")
    for cursor in ("b", "c"):
        accept(pages, page(1, cursor))
    pages.refuse(SymbolRefusedError("one is bad"))
    assert next_asked(pages) == ("AAPL", None)
    for cursor in ("b", "c", None):
        accept(pages, page(1, cursor))
    assert next_asked(pages) == ("MSFT", None)


def test_groups_without_bars_are_no_empty_pages_in_a_row() -> None:
    pages = walk(*(f"S{number}" for number in range(64)))
    for size in (64, 32, 16, 8, 4, 2):
        call = pages.next_call()
        assert call is not None
        assert len(call.request.symbols) == size
        pages.refuse(SymbolRefusedError("one of them"))
    for _ in range(6 * 2):
        accept(pages, page(0, None))
    for number in range(IDLE_PAGES_IN_A_ROW - 1):
        accept(pages, page(0, f"cursor {number}"))
    assert next_asked(pages) == (",".join(f"S{number}" for number in range(32, 64)), "cursor 23")


@given(
    symbols=st.lists(st.integers(0, 99).map("S{}".format), min_size=1, max_size=40, unique=True),
    bad=st.sets(st.integers(0, 99).map("S{}".format), max_size=20),
    named=st.booleans(),
)
def test_exactly_the_bad_symbols_are_refused_and_every_other_is_requested_once(
    symbols: list[str], bad: set[str], named: bool
) -> None:
    pages, answered, refused = walk(*symbols), list[str](), list[str]()
    while (call := pages.next_call()) is not None:
        names = [str(symbol) for symbol in call.request.symbols]
        offenders = [name for name in names if name in bad]
        if offenders:
            error = SymbolRefusedError("bad", offenders[-1] if named else None)
            refused += [str(out.symbol) for out in pages.refuse(error)]
        else:
            answered += names
            accept(pages, page(len(names), None))
    assert answered == [name for name in symbols if name not in bad]
    assert sorted(refused) == sorted(name for name in symbols if name in bad)
