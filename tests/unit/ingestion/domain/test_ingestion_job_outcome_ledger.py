"""Outcomes in few bytes: to be told from a dict by nothing but what it costs."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.ingestion_job import OutcomeLedger
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.builders import day

START = TradingDate.parse("2024-01-02")
DAYS = st.builds(
    lambda name, number: SymbolDay(Symbol(name), START.plus_days(number)),
    st.sampled_from(["AAPL", "BRK.B", "MSFT"]),
    st.integers(-400, 400),
)
OUTCOMES = st.builds(
    SymbolDayOutcome,
    DAYS,
    st.sampled_from(Outcome),
    st.integers(0, 2880),
    st.integers(0, 1_000_000),
    st.none() | st.sampled_from(["503", "disk full"]),
)


@given(found=st.lists(OUTCOMES, max_size=40), asked=DAYS)
def test_it_is_a_dict_in_order(found: list[SymbolDayOutcome], asked: SymbolDay) -> None:
    ledger, plain = OutcomeLedger(), dict[SymbolDay, SymbolDayOutcome]()
    for outcome in found:
        ledger.put(outcome)
        plain[outcome.symbol_day] = outcome

    assert dict(ledger) == plain
    assert list(ledger) == sorted(plain)
    assert list(ledger.values()) == [plain[day] for day in sorted(plain)]
    assert (len(ledger), ledger.get(asked), asked in ledger) == (len(plain), plain.get(asked), asked in plain)
    assert ledger.counts() == {kind: n for kind in Outcome if (n := sum(o.outcome is kind for o in plain.values()))}


def test_what_was_never_noted_is_no_key() -> None:
    ledger = OutcomeLedger()
    ledger.put(SymbolDayOutcome(day("AAPL", "2024-01-04"), Outcome.COMPLETE))

    for date in ("2024-01-03", "2024-01-05", "1980-01-02"):
        with pytest.raises(KeyError):
            ledger[day("AAPL", date)]
    with pytest.raises(KeyError):
        ledger[day("MSFT", "2024-01-04")]


def test_a_symbol_day_costs_a_dozen_bytes() -> None:
    """Else a year of a thousand symbols would leave 45 MB behind, and the next year as many again."""
    symbols, sessions = [Symbol(f"S{number}") for number in range(40)], [n for n in range(365) if n % 7 < 5]
    ledger = OutcomeLedger()
    tracemalloc.start()
    for symbol in symbols:
        for number in sessions:
            day_of_it = SymbolDay(symbol, START.plus_days(number))
            ledger.put(SymbolDayOutcome(day_of_it, Outcome.COMPLETE, 390 + number, number))
    cost = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert len(ledger) == len(symbols) * len(sessions)
    assert cost / len(ledger) < 16
