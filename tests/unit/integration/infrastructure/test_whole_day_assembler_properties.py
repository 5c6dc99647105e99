"""Any bars, cut into any pages, come out once each, by symbol-day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby, pairwise

import pyarrow as pa
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.whole_day_assembler import WholeDayAssembler
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.testing import bar, bar_table, bars_request

SYMBOLS = ("AAPL", "BRK.B", "MSFT")
SPANS = (("2024-03-08", "2024-03-12"), ("2024-11-01", "2024-11-05"), ("2024-07-02", "2024-07-05"))
"""The start and the end of summer time, each with a weekend inside, a half day and a holiday."""
MINUTES = (1, 2, 239, 240, 569, 570, 779, 780, 959, 960, 1139, 1140, 1199, 1200, 1438, 1439)
"""Times of the New York day around the edges of the sessions and of the UTC date."""


@frozen
class Given:
    """A row of the input; ``number`` identifies it."""

    number: int
    symbol: str
    moment: Timestamp

    @property
    def day(self) -> SymbolDay:
        return SymbolDay(Symbol(self.symbol), TradingDate.of(self.moment))


@frozen
class Scene:
    asked: BarsRequest
    rows: list[Given]
    pages: list[RawMarketData]


@frozen
class Found:
    part: SymbolDaySlice
    numbers: list[int]


@st.composite
def scenes(draw: st.DrawFn, *, kind: SessionKind = SessionKind.EXTENDED, in_order: bool = True) -> Scene:
    first, last = draw(st.sampled_from(SPANS))
    asked = bars_request(SYMBOLS, first, last, kind=kind)
    days = st.integers(-2, 8).map(TradingDate.parse(first).plus_days)
    moments = st.builds(
        lambda day, minute: day.midnight.plus(timedelta(minutes=minute)), days, st.sampled_from(MINUTES)
    )
    drawn = draw(st.lists(st.tuples(st.sampled_from(SYMBOLS), moments), max_size=40))
    if in_order:  # by symbol and date, as providers promise; within a date in any order
        drawn.sort(key=lambda row: (row[0], TradingDate.of(row[1])))
    rows = [Given(number, symbol, moment) for number, (symbol, moment) in enumerate(drawn)]
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=8)))
    bounds = [*pairwise([0, *cuts, len(rows)])]
    with_raw = draw(st.sets(st.integers(0, len(bounds))))
    pages = [_page(rows[a:b], i < len(bounds) - 1, i in with_raw) for i, (a, b) in enumerate(bounds)]
    return Scene(asked, rows, pages)


def _page(rows: Sequence[Given], more: bool, with_raw: bool) -> RawMarketData:
    columns = bar_table([bar(str(row.moment), volume=float(row.number)) for row in rows])
    if with_raw:
        columns = columns.append_column("raw", pa.array([f"raw {row.number}" for row in rows], pa.string()))
    runs = tuple(SymbolRun(Symbol(name), len(list(run))) for name, run in groupby(rows, lambda row: row.symbol))
    return RawMarketData(columns, runs, "more" if more else None)


def assemble(scene: Scene) -> tuple[list[Found], int]:
    assembler = WholeDayAssembler(scene.asked)
    emitted = [assembler.add(page) for page in scene.pages] + [assembler.close()]
    found = []
    for bars in (bars for bars in emitted if bars is not None):
        numbers = [int(volume) for volume in bars.table["volume"].to_pylist()]
        assert [part.offset for part in bars.slices] == [*_offsets(bars.slices)][:-1]
        assert bars.num_rows == [*_offsets(bars.slices)][-1] > 0
        found += [Found(part, numbers[part.offset : part.offset + part.length]) for part in bars.slices]
    assert assembler.close() is None
    return found, assembler.unrequested


def _offsets(slices: Sequence[SymbolDaySlice]) -> Iterator[int]:
    offset = 0
    for part in slices:
        yield offset
        offset += part.length
    yield offset


def _expected(rows: Sequence[Given]) -> dict[SymbolDay, list[int]]:
    """In the order of arrival."""
    days: defaultdict[SymbolDay, list[int]] = defaultdict(list)
    for row in rows:
        days[row.day].append(row.number)
    return dict(days)


def _asked_for(scene: Scene) -> list[Given]:
    dates = [session.trading_date for session in scene.asked.sessions]
    return [row for row in scene.rows if dates[0] <= row.day.trading_date <= dates[-1]]


@given(scene=scenes())
def test_every_symbol_day_comes_once_and_complete_however_the_pages_are_cut(scene: Scene) -> None:
    found, unrequested = assemble(scene)
    windows = {asked.trading_date: asked.window for asked in scene.asked.sessions}
    wanted = _asked_for(scene)
    assert {one.part.symbol_day: one.numbers for one in found} == _expected(wanted)
    assert sorted(one.part.symbol_day for one in found) == sorted({row.day for row in wanted})
    assert [one.part.final_window for one in found] == [windows.get(one.part.symbol_day.trading_date) for one in found]
    assert unrequested == len(scene.rows) - len(wanted)


@given(scene=scenes(in_order=False))
def test_in_any_order_every_row_still_comes_exactly_once_and_in_the_order_of_arrival(scene: Scene) -> None:
    found, unrequested = assemble(scene)
    wanted = _asked_for(scene)
    together: defaultdict[SymbolDay, list[int]] = defaultdict(list)
    for one in found:
        assert one.part.final_window is None or one.part.symbol_day not in together
        together[one.part.symbol_day] += one.numbers
    assert together == _expected(wanted)
    assert unrequested == len(scene.rows) - len(wanted)


@given(scene=scenes(kind=SessionKind.REGULAR))
def test_a_regular_session_leaves_the_other_hours_of_its_day_out_without_counting_them(scene: Scene) -> None:
    found, unrequested = assemble(scene)
    sessions = {asked.trading_date: asked.session for asked in scene.asked.sessions}

    def other_hours(row: Given) -> bool:
        session = sessions.get(row.day.trading_date)
        inside = session is not None and session.extended.contains(row.moment)
        return session is not None and inside and not session.regular.contains(row.moment)

    wanted = _asked_for(scene)
    assert {one.part.symbol_day: one.numbers for one in found} == _expected([r for r in wanted if not other_hours(r)])
    assert unrequested == len(scene.rows) - len(wanted)


@given(scene=scenes())
def test_the_providers_own_text_stays_with_its_row(scene: Scene) -> None:
    assembler, texts = WholeDayAssembler(scene.asked), dict[int, str | None]()
    for bars in [*map(assembler.add, scene.pages), assembler.close()]:
        if bars is not None and "raw" in bars.table.column_names:
            pairs = zip(bars.table["volume"].to_pylist(), bars.table["raw"].to_pylist(), strict=True)
            texts |= {int(volume): text for volume, text in pairs}
    had_text = {
        int(volume)
        for page in scene.pages
        if "raw" in pa.table(page.columns).column_names
        for volume in pa.table(page.columns)["volume"].to_pylist()
    }
    wanted = {row.number for row in _asked_for(scene)}
    assert {number for number, text in texts.items() if text is not None} == had_text & wanted
    assert {text == f"raw {number}" for number, text in texts.items() if text is not None} <= {True}
