from __future__ import annotations

from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.testing import bar, bar_table

BARS = bar_table([bar("2024-03-11T13:30:00Z", 431.25), bar("2024-03-11T13:31:00Z", 431.25)])


def test_the_number_of_rows_is_that_of_the_runs() -> None:
    runs = (SymbolRun(Symbol("AAPL"), 1), SymbolRun(Symbol("IBM"), 0), SymbolRun(Symbol("MSFT"), 1))
    assert RawMarketData(BARS, runs).num_rows == 2
    assert RawMarketData(BARS).num_rows == 0


def test_repr_is_small_and_without_bars() -> None:
    shown = repr(RawMarketData(BARS, (SymbolRun(Symbol("AAPL"), 2),), "next", unrequested=3))
    assert shown == (
        "RawMarketData(runs=(SymbolRun(symbol=Symbol('AAPL'), length=2),), next_cursor='next', refused=(), "
        "unrequested=3)"
    )
