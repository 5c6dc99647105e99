from __future__ import annotations

from marketpipe.importing import left_in_another_scale, shortened
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate

AAPL = Symbol("AAPL")
DAYS = [TradingDate.parse(f"2024-01-0{day}") for day in (2, 3, 4, 5)]


def test_days_that_keep_their_bars_are_no_question() -> None:
    assert shortened({AAPL: {DAYS[0]: 390}}, {AAPL: {DAYS[0]: 390, DAYS[1]: 1}}) == []


def test_days_that_would_lose_bars_are_counted_and_named() -> None:
    stored, given = {AAPL: dict.fromkeys(DAYS, 390)}, {AAPL: dict.fromkeys(DAYS, 100)}
    (question,) = shortened(stored, given)
    assert question.startswith("4 stored symbol-days would lose bars: AAPL 2024-01-02 (100 instead of 390), ")
    assert " …. State replace=True" in question


def test_adjusted_prices_that_replace_a_whole_history_are_no_question() -> None:
    assert left_in_another_scale({AAPL: (DAYS[1], DAYS[2])}, {AAPL: dict.fromkeys(DAYS, 1)}) == []


def test_adjusted_prices_of_a_part_of_a_history_are_refused() -> None:
    (question,) = left_in_another_scale({AAPL: (DAYS[0], DAYS[2])}, {AAPL: dict.fromkeys(DAYS[1:], 1)})
    assert "stored from 2024-01-02 to 2024-01-04" in question
