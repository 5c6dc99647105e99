"""Minutes in which trading was halted are no outage; a loss at another time of the same day is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time

import pytest

from marketpipe.ingestion.domain.coverage.baseline import SessionGrid, grid_session
from marketpipe.ingestion.domain.coverage.halts import KNOWN_HALTS, TradingHalt, halted_minutes
from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.testing import sessions
from tests.support.coverage_grids import Records, empty, full, traded, verdicts
from tests.support.coverage_grids import without as silent

MARCH = [str(session.trading_date) for session in sessions("2020-02-18", "2020-03-31")]
MARKET_WIDE = {"2020-03-09": (5, 19), "2020-03-12": (6, 20), "2020-03-16": (1, 15), "2020-03-18": (207, 221)}
"""The minutes after the open in which no symbol has a bar."""


def grid(first: str, last: str, halts: Iterable[TradingHalt] = KNOWN_HALTS) -> SessionGrid:
    return SessionGrid(tuple(grid_session(session, True, halts) for session in sessions(first, last)))


def of_march(odd: dict[str, tuple[int, int]], *more: tuple[str, int, int]) -> Records:
    """Return liquid days; on the dates of ``odd`` without the bars of these minutes, and of ``more``."""
    days = []
    for date in MARCH:
        lost = [range(*odd[date])] if date in odd else []
        lost += [range(start, end) for day, start, end in more if day == date]
        days.append(traded([minute for minute in range(390) if not any(minute in part for part in lost)]))
    return days


@pytest.mark.parametrize("symbols", [("SPY",), ("SPY", "AAPL", "MSFT"), (*"ABCDEFGH",)])
def test_the_halts_of_march_2020_are_no_outage(symbols: tuple[str, ...]) -> None:
    found = verdicts(grid(MARCH[0], MARCH[-1]), dict.fromkeys(symbols, of_march(MARKET_WIDE)))
    assert {verdict for days in found.values() for verdict in days} == {"complete"}
    if len(symbols) > 1:  # one symbol alone is suspect from thirty minutes on
        unknown = verdicts(grid(MARCH[0], MARCH[-1], ()), dict.fromkeys(symbols, of_march(MARKET_WIDE)))
        assert unknown[symbols[0]].count("provider outage") == 4


@pytest.mark.parametrize("date", MARKET_WIDE)
@pytest.mark.parametrize("lost", [(60, 75), (300, 312)])
def test_an_outage_at_another_time_of_such_a_day_is_found(date: str, lost: tuple[int, int]) -> None:
    records = of_march(MARKET_WIDE, (date, *lost))
    found = verdicts(grid(MARCH[0], MARCH[-1]), dict.fromkeys(["SPY", "AAPL", "MSFT"], records))
    assert [MARCH[i] for i, verdict in enumerate(found["AAPL"]) if verdict == "provider outage"] == [date]


def test_an_outage_that_goes_on_after_the_halt_is_found() -> None:
    records = of_march({**MARKET_WIDE, "2020-03-12": (6, 40)})
    found = verdicts(grid(MARCH[0], MARCH[-1]), dict.fromkeys(["SPY", "AAPL"], records))
    assert found["SPY"][MARCH.index("2020-03-12")] == "provider outage"


DAYS = grid("2018-07-16", "2018-08-31")
POSITION = next(i for i, date in enumerate(DAYS.dates) if str(date) == "2018-08-07")


@pytest.mark.parametrize(("symbol", "verdict"), [("TSLA", "complete"), ("AAPL", "holes")])
def test_a_known_halt_of_one_symbol_excuses_that_symbol_alone(symbol: str, verdict: str) -> None:
    records = [silent(278, 375) if position == POSITION else full() for position in range(len(DAYS))]
    assert verdicts(DAYS, {symbol: records, "SPY": [full()] * len(DAYS)})[symbol][POSITION] == verdict


def test_half_a_day_without_trading_is_neither_sparse_nor_withheld() -> None:
    halt = TradingHalt(DAYS.dates[12], time(9, 30), time(16), frozenset({Symbol("SIVB")}))
    halted = grid("2018-07-16", "2018-08-31", [halt])
    for odd in (empty(), traded([0, 389])):
        records = [odd if position == 12 else full() for position in range(len(DAYS))]
        markets = {"SIVB": records, "SPY": [full()] * len(DAYS)}
        assert verdicts(DAYS, markets)["SIVB"][12] in ("withheld", "holes")
        assert verdicts(halted, markets)["SIVB"][12] in ("empty", "complete")


def test_a_halt_counts_from_its_first_minute_to_the_reopening_auctions() -> None:
    halt = TradingHalt(TradingDate.parse("2024-06-03"), time(4, 2, 13), time(4, 4, 13), frozenset({Symbol("A")}))
    assert halted_minutes([halt], Symbol("A")) == 0b11_1111_1100
    assert halted_minutes([halt], Symbol("B")) == halted_minutes([halt], None) == 0


def test_every_known_halt_has_a_source_and_is_in_order() -> None:
    assert [halt.trading_date for halt in KNOWN_HALTS] == sorted(halt.trading_date for halt in KNOWN_HALTS)
    assert all(halt.source for halt in KNOWN_HALTS)


@pytest.mark.parametrize(("start", "end"), [(time(10), time(10)), (time(11), time(10)), (time(3), time(10))])
def test_a_halt_without_minutes_is_refused(start: time, end: time) -> None:
    with pytest.raises(ValidationError, match="is not a time between 04:00 and 20:00 New York time"):
        TradingHalt(TradingDate.parse("2024-06-03"), start, end)
