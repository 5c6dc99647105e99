"""100,000 checkpoints, as 400 symbols have in a year."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta

import pytest

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay
from tests.support.builders import request

NOW = Timestamp.parse("2025-06-02T12:00:00Z")
SYMBOLS = [Symbol(f"S{number:03d}") for number in range(400)]
DATES = [TradingDate(date(2023, 1, 2) + timedelta(days=number)) for number in range(250)]
FIRST, LAST = DATES[0], DATES[-1]


def checkpoint(symbol: Symbol, trading_date: TradingDate) -> IngestionCheckpoint:
    day = SymbolDay(symbol, trading_date)
    file = StoredSymbolDay(day, 390, 0, True, NOW, NOW, 1000, "ab" * 32)
    return IngestionCheckpoint(1, SymbolDayOutcome(day, Outcome.COMPLETE, 390), SessionKind.EXTENDED, NOW, file)


def record_all(state: SQLiteState, symbols: Iterable[Symbol]) -> float:
    """Seconds for a transaction of 250 checkpoints for each symbol, without making them."""
    batches = [[checkpoint(symbol, trading_date) for trading_date in DATES] for symbol in symbols]
    started = time.perf_counter()
    for batch in batches:
        state.record(batch)
    return time.perf_counter() - started


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SQLiteState, float, float]]:
    """The state, and seconds for the first and for the last fifth of its checkpoints."""
    state = SQLiteState(tmp_path_factory.mktemp("scale") / "marketpipe.sqlite", "../data")
    first = record_all(state, SYMBOLS[:80])
    record_all(state, SYMBOLS[80:320])
    yield state, first, record_all(state, SYMBOLS[320:])
    state.close()


def test_recording_takes_as_long_for_the_last_as_for_the_first(filled: tuple[SQLiteState, float, float]) -> None:
    _, first, last = filled

    assert last < 4 * first + 0.5
    assert last < 5.0


def test_settled_dates_of_everything_are_found_in_seconds(filled: tuple[SQLiteState, float, float]) -> None:
    state, *_ = filled
    started = time.perf_counter()

    settled = state.settled(IngestionScope(SYMBOLS, FIRST, LAST))

    assert time.perf_counter() - started < 5.0
    assert {symbol: len(dates) for symbol, dates in settled.items()} == dict.fromkeys(SYMBOLS, 250)


def test_what_concerns_one_symbol_does_not_read_the_others(filled: tuple[SQLiteState, float, float]) -> None:
    state, *_ = filled
    one = IngestionScope(SYMBOLS[200], FIRST, LAST)

    of_one = min(seconds(lambda: state.settled(one)) for _ in range(5))
    of_all = seconds(lambda: state.settled(IngestionScope(SYMBOLS, FIRST, LAST)))

    assert of_one < of_all / 20


def test_counting_over_everything_is_exact(filled: tuple[SQLiteState, float, float]) -> None:
    state, *_ = filled

    summaries = state.summaries()

    assert (len(summaries), sum(summary.bars for summary in summaries)) == (400, 39_000_000)
    assert state.typical_bars_per_day(SYMBOLS) == 390.0
    assert len(state.stored_bars(request(["S000", "S399"], "2023-01-03", "2023-01-06"))) == 8
