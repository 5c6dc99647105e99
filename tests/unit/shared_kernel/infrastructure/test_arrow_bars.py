from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, SymbolDaySlice
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA, with_lengths
from marketpipe.testing import bar
from tests.support.builders import columnar, day

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
NOTHING = day("NONE", "2024-01-02")


def test_canonical_columns_are_these() -> None:
    assert [(field.name, str(field.type)) for field in BAR_SCHEMA] == [
        ("timestamp", "timestamp[us, tz=UTC]"),
        ("open", "double"),
        ("high", "double"),
        ("low", "double"),
        ("close", "double"),
        ("volume", "double"),
        ("trade_count", "int64"),
        ("vwap", "double"),
    ]


def test_bars_become_a_table_without_a_copy() -> None:
    bars = columnar((AAPL, [bar("2024-01-02T14:30:00Z"), bar("2024-01-02T14:31:00Z", vwap=None)]))
    table = pa.table(bars)
    assert table.equals(bars.table)
    before, after = bars.table["open"].chunk(0).buffers()[1], table["open"].chunk(0).buffers()[1]
    assert before.address == after.address
    assert bars.num_rows == 2


def test_bars_are_columnar_bars_of_the_domain() -> None:
    bars: ColumnarBars = columnar((AAPL, [bar("2024-01-02T14:30:00Z")]), (MSFT, []))
    assert [(s.symbol_day, s.offset, s.length) for s in bars.slices] == [(AAPL, 0, 1), (MSFT, 1, 0)]


def test_with_lengths_returns_the_same_symbol_days_one_after_another() -> None:
    old = (SymbolDaySlice(AAPL, 0, 390), SymbolDaySlice(NOTHING, 390, 0), SymbolDaySlice(MSFT, 390, 391))
    assert with_lengths(old, [389, 0, 391]) == (
        SymbolDaySlice(AAPL, 0, 389),
        SymbolDaySlice(NOTHING, 389, 0),
        SymbolDaySlice(MSFT, 389, 391),
    )


def test_with_lengths_keeps_the_final_window() -> None:
    (old,) = columnar((AAPL, [bar("2024-01-02T14:30:00Z")])).slices
    assert old.final_window is not None
    assert with_lengths([old], iter([7])) == (SymbolDaySlice(AAPL, 0, 7, old.final_window),)


def test_with_lengths_of_nothing_is_nothing() -> None:
    assert with_lengths((), []) == ()


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_with_lengths_slices_cover_all_rows_without_overlap(lengths: list[int]) -> None:
    slices = with_lengths([SymbolDaySlice(AAPL, 5, 5)] * len(lengths), lengths)
    assert [s.length for s in slices] == lengths
    assert [row for s in slices for row in range(s.offset, s.offset + s.length)] == list(range(sum(lengths)))
