from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest
from attrs import evolve

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.shared_kernel.events import RefusedSymbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import ArrowBars
from marketpipe.testing import bar, bar_table, bars_request
from tests.support.builders import day

ASKED = bars_request(("AAPL", "MSFT"), "2024-03-11", "2024-03-13")
Row = tuple[str, str | None]
"""A symbol and the time of one bar, as March 2024's day and the UTC hour and minute: ``11 13:30``."""


def page(*rows: Row, cursor: str | None = None) -> RawMarketData:
    bars = [bar(_moment(at) if at else _moment("11 13:30"), volume=float(i)) for i, (_, at) in enumerate(rows)]
    stamped = [row if at else {**row, "timestamp": None} for row, (_, at) in zip(bars, rows, strict=True)]
    runs = tuple(SymbolRun(Symbol(name), len(list(run))) for name, run in groupby(rows, lambda row: row[0]))
    return RawMarketData(bar_table(stamped), runs, cursor)


def _moment(at: str) -> str:
    return f"2024-03-{at.replace(' ', 'T')}:00Z"


def told(bars: ArrowBars | None) -> list[str]:
    """Return ``AAPL 11: 2`` for two bars of the 11th, with a ? if they are not final."""
    return [
        f"{day.symbol} {day.trading_date.day.day}: {part.length}{'' if part.final_window else '?'}"
        for part in (bars.slices if bars else ())
        for day in [part.symbol_day]
    ]


def play(asked: BarsRequest, pages: Sequence[RawMarketData]) -> list[list[str]]:
    assembler = WholeDayAssembler(asked)
    return [*(told(assembler.add(one)) for one in pages), told(assembler.close())]


def test_the_last_symbol_day_of_a_page_waits_for_the_next() -> None:
    pages = [
        page(("AAPL", "11 13:30"), ("AAPL", "12 13:30"), cursor="b"),
        page(("AAPL", "12 13:31"), ("AAPL", "13 13:30"), cursor="c"),
        page(("MSFT", "11 13:30")),
    ]
    assert play(ASKED, pages) == [["AAPL 11: 1"], ["AAPL 12: 2"], ["AAPL 13: 1", "MSFT 11: 1"], []]


def test_a_symbol_day_may_continue_over_many_pages() -> None:
    pages = [page(("AAPL", f"11 13:{minute}"), cursor=f"t{minute}") for minute in range(30, 35)]
    assert play(ASKED, pages) == [[], [], [], [], [], ["AAPL 11: 5"]]


def test_the_last_page_holds_nothing_back() -> None:
    assert play(ASKED, [page(("AAPL", "11 13:30"), ("MSFT", "13 13:30"))]) == [["AAPL 11: 1", "MSFT 13: 1"], []]


def test_empty_pages_change_nothing() -> None:
    pages = [
        page(cursor="b"),
        page(("AAPL", "11 13:30"), cursor="c"),
        page(cursor="d"),
        page(("AAPL", "11 13:31")),
        page(),
    ]
    assert play(ASKED, pages) == [[], [], [], ["AAPL 11: 2"], [], []]


def test_a_refused_symbol_does_not_complete_a_cut_day() -> None:
    """A group may be refused and requested again halfway through its pages, before the symbol is named."""
    refused = RefusedSymbol(Symbol("MSFT"), "invalid symbol: MSFT")
    for interlude in (page(), evolve(page(), refused=(refused,))):
        pages = [page(("AAPL", "11 13:30"), cursor="b"), interlude, page(("AAPL", "11 13:30"), ("AAPL", "11 13:31"))]
        assert play(ASKED, pages) == [[], [], ["AAPL 11: 3"], []]


def test_a_second_part_of_an_emitted_symbol_day_is_not_final() -> None:
    pages = [
        page(("AAPL", "11 13:30"), ("AAPL", "12 13:30"), cursor="b"),
        page(("AAPL", "11 13:31"), ("AAPL", "12 13:31"), cursor="c"),
        page(),
    ]
    assert play(ASKED, pages) == [["AAPL 11: 1"], [], [], ["AAPL 11: 1?", "AAPL 12: 2"]]


def test_pages_by_time_over_all_symbols_are_assembled_when_they_have_ended() -> None:
    pages = [
        page(("AAPL", "11 13:30"), ("AAPL", "11 13:31"), ("MSFT", "11 13:30"), cursor="b"),
        page(("AAPL", "11 13:32"), ("MSFT", "11 13:31"), ("MSFT", "11 13:32"), cursor="c"),
        page(("AAPL", "12 13:30"), ("MSFT", "12 13:30")),
    ]
    assert play(ASKED, pages) == [[], [], ["AAPL 11: 3", "AAPL 12: 1", "MSFT 11: 3", "MSFT 12: 1"], []]


@pytest.mark.parametrize(
    "second",
    [
        page(("MSFT", "12 13:30"), cursor="c"),
        page(("AAPL", "12 13:31"), cursor="c"),
        page(("AAPL", "11 13:32"), ("MSFT", "11 13:31"), cursor="c"),
        page(cursor="c"),
    ],
    ids=["one symbol goes on", "the other goes on", "both go on", "nothing"],
)
def test_half_a_symbol_day_is_not_emitted_before_its_pages_have_ended(second: RawMarketData) -> None:
    """The walk stops after the second page: without proof of the order, the last day of a symbol may go on."""
    first = page(("AAPL", "11 13:30"), ("AAPL", "12 13:30"), ("MSFT", "11 13:30"), ("MSFT", "12 13:29"), cursor="b")
    assembler = WholeDayAssembler(ASKED)
    emitted = [*told(assembler.add(first)), *told(assembler.add(second))]
    assert emitted == ["AAPL 11: 1", "MSFT 11: 1"]


def test_a_part_of_a_day_is_dropped_when_the_pages_begin_again() -> None:
    """Symbols may be asked for in two groups then, and one that is refused never comes again."""
    pages = [
        page(("AAPL", "11 13:30"), ("AAPL", "12 13:30"), ("MSFT", "11 13:30"), cursor="b"),
        evolve(page(), begins_again=True),
        page(("AAPL", "11 13:30"), ("AAPL", "12 13:30"), ("AAPL", "12 13:31")),
        evolve(page(), begins_again=True),
    ]
    assert play(ASKED, pages) == [["AAPL 11: 1"], [], ["AAPL 11: 1?", "AAPL 12: 2"], [], []]


def test_pages_whose_symbols_descend_are_assembled_when_they_have_ended() -> None:
    pages = [
        page(("MSFT", "11 13:30"), ("MSFT", "11 13:31"), cursor="b"),
        page(("AAPL", "11 13:30"), ("MSFT", "11 13:32"), cursor="c"),
        page(("AAPL", "11 13:31")),
    ]
    assert play(ASKED, pages) == [[], [], ["AAPL 11: 2", "MSFT 11: 3"], []]


def test_pages_whose_times_descend_are_assembled_when_they_have_ended() -> None:
    pages = [
        page(("AAPL", "13 13:30"), ("AAPL", "12 13:31"), cursor="b"),
        page(("AAPL", "12 13:30"), ("AAPL", "11 13:30")),
    ]
    assert play(ASKED, pages) == [[], ["AAPL 11: 1", "AAPL 12: 2", "AAPL 13: 1"], []]


def test_once_the_order_is_proven_only_the_last_symbol_day_is_kept() -> None:
    asked = bars_request(("AAPL", "MSFT", "TSLA"), "2024-03-11", "2024-03-13")
    pages = [
        page(("AAPL", "11 13:30"), ("AAPL", "11 13:40"), cursor="b"),
        page(("AAPL", "11 13:41"), ("MSFT", "11 13:30"), ("MSFT", "12 13:30"), cursor="c"),
        page(("MSFT", "12 13:31"), ("TSLA", "13 13:30"), cursor="d"),
        page(("TSLA", "13 13:31")),
    ]
    assert play(asked, pages) == [[], ["AAPL 11: 3", "MSFT 11: 1"], ["MSFT 12: 2"], ["TSLA 13: 2"], []]


def test_only_final_sessions_have_a_final_window() -> None:
    *final, last = ASKED.sessions
    still_open = evolve(ASKED, sessions=(*final, evolve(last, final=False)))
    assert play(still_open, [page(("AAPL", "12 13:30"), ("AAPL", "13 13:30"))])[0] == ["AAPL 12: 1", "AAPL 13: 1?"]


def test_the_final_window_is_the_requested_one() -> None:
    (session,) = bars_request(("AAPL",), "2024-03-11", "2024-03-11", kind=SessionKind.REGULAR).sessions
    asked = BarsRequest(1, (Symbol("AAPL"),), (session,), SessionKind.REGULAR)
    bars = WholeDayAssembler(asked).add(page(("AAPL", "11 13:30")))
    assert bars is not None
    assert [part.final_window for part in bars.slices] == [session.session.regular]


def test_the_evening_belongs_to_its_new_york_date() -> None:
    """19:59 in New York is 00:59 UTC of the next day in winter, 23:59 of the same day in summer."""
    winter = bars_request(("AAPL",), "2024-01-02", "2024-01-03")
    rows = bar_table([bar("2024-01-03T00:59:00Z"), bar("2024-01-03T09:00:00Z")])
    bars = WholeDayAssembler(winter).add(RawMarketData(rows, (SymbolRun(Symbol("AAPL"), 2),)))
    assert bars is not None
    assert [part.symbol_day for part in bars.slices] == [day("AAPL", "2024-01-02"), day("AAPL", "2024-01-03")]


def test_unrequested_dates_are_dropped_and_counted() -> None:
    assembler = WholeDayAssembler(ASKED)
    rows = [("AAPL", "10 13:30"), ("AAPL", "11 13:30"), ("AAPL", "14 13:30"), ("AAPL", "14 13:31")]
    assert told(assembler.add(page(*rows))) == ["AAPL 11: 1"]
    assert assembler.unrequested == 3


def test_unrequested_dates_are_counted_once_although_the_tail_is_cut_again() -> None:
    assembler = WholeDayAssembler(ASKED)
    assembler.add(evolve(page(("AAPL", "10 13:30"), ("AAPL", "11 13:30"), cursor="b"), unrequested=5))
    assembler.add(page(("AAPL", "14 13:30"), cursor="c"))
    assert told(assembler.close()) == ["AAPL 11: 1"]
    assert assembler.unrequested == 5 + 2


def test_a_page_of_other_dates_only_keeps_the_tail() -> None:
    pages = [page(("AAPL", "11 13:30"), cursor="b"), page(("AAPL", "20 13:30"), cursor="c"), page(("AAPL", "11 13:31"))]
    assert play(ASKED, pages) == [[], [], ["AAPL 11: 2"], []]


def test_a_day_without_a_session_between_requested_ones_is_left_to_validation() -> None:
    asked = bars_request(("AAPL",), "2024-03-08", "2024-03-11")
    rows = [("AAPL", "08 14:30"), ("AAPL", "09 14:30"), ("AAPL", "11 13:30")]
    assert play(asked, [page(*rows)])[0] == ["AAPL 8: 1", "AAPL 9: 1?", "AAPL 11: 1"]


def test_a_bar_without_a_time_goes_with_the_bar_of_its_symbol_before_it() -> None:
    rows: list[Row] = [("AAPL", "12 13:30"), ("AAPL", None), ("AAPL", "13 13:30"), ("MSFT", "11 13:30")]
    assert play(ASKED, [page(*rows)])[0] == ["AAPL 12: 2", "AAPL 13: 1", "MSFT 11: 1"]


def test_a_first_bar_without_a_time_goes_with_the_bar_of_its_symbol_after_it() -> None:
    """Not with the last date of the symbol before it, which would cut the days in the wrong places."""
    cut: list[Row] = [("AAPL", "13 13:30"), ("MSFT", None), ("MSFT", "11 13:30"), ("MSFT", "12 13:30")]
    pages = [page(*cut, cursor="b"), page(("MSFT", "12 13:31"), ("MSFT", "13 13:30"))]
    assert play(ASKED, pages) == [["MSFT 11: 2"], ["AAPL 13: 1", "MSFT 12: 2", "MSFT 13: 1"], []]


def test_a_bar_without_a_time_at_the_end_of_a_page_stays_with_its_day() -> None:
    pages = [page(("AAPL", "12 13:30"), ("AAPL", None), cursor="b"), page(("AAPL", "12 13:31"), ("AAPL", "13 13:30"))]
    assert play(ASKED, pages) == [[], ["AAPL 12: 3", "AAPL 13: 1"], []]


def test_bars_without_any_time_go_to_the_first_requested_date() -> None:
    assert play(ASKED, [page(("MSFT", None), ("MSFT", None))]) == [["MSFT 11: 2"], []]
    assert play(ASKED, [page(("MSFT", None), cursor="b"), page(("MSFT", "12 13:30"))]) == [[], ["MSFT 12: 2"], []]


def test_the_window_may_end_before_the_bars_do() -> None:
    """Bars of a requested day outside the requested window are kept."""
    (session,) = bars_request(("AAPL",), "2024-03-11", "2024-03-11").sessions
    until = Timestamp.parse("2024-03-11T14:00:00Z")
    asked = BarsRequest(1, (Symbol("AAPL"),), (evolve(session, window=session.window.until(until)),))
    assert play(asked, [page(("AAPL", "11 13:30"), ("AAPL", "11 15:00"))])[0] == ["AAPL 11: 2"]


def test_without_pages_there_is_nothing_to_close() -> None:
    assert WholeDayAssembler(ASKED).close() is None
