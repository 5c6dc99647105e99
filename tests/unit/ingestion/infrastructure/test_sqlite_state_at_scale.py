"""30,000 checkpoints, as 120 symbols have in a year; ``make test-thoroughly`` makes 100,000."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta

import pytest

from marketpipe.ingestion.domain.ingestion_checkpoint import Answer
from marketpipe.ingestion.domain.ingestion_plan import TypicalVolume
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradedMinutes, TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay
from tests.support.examples import ALL, tries_more

pytestmark = tries_more

NOW = Timestamp.parse("2025-06-02T12:00:00Z")
COUNT = 400 if ALL else 120
FIFTH = COUNT // 5
SYMBOLS = [Symbol(f"S{number:03d}") for number in range(COUNT)]
DATES = [TradingDate(date(2023, 1, 2) + timedelta(days=number)) for number in range(250)]
FIRST, LAST = DATES[0], DATES[-1]
REGULAR_MINUTES = TradedMinutes.of(((1 << 390) - 1) << 330)


def answer(symbol: Symbol, trading_date: TradingDate) -> Answer:
    day = SymbolDay(symbol, trading_date)
    file = StoredSymbolDay(day, 390, 0, True, NOW, NOW, 1000, "ab" * 32, None, REGULAR_MINUTES, NOW)
    return SymbolDayOutcome(day, Outcome.COMPLETE, 390), SessionHours.EXTENDED, file


def record_all(state: SQLiteState, symbols: Iterable[Symbol]) -> float:
    """Seconds for a transaction of 250 checkpoints for each symbol, without making them."""
    batches = [[answer(symbol, trading_date) for trading_date in DATES] for symbol in symbols]
    return seconds(lambda: [state.checkpoints.record(1, NOW, batch) for batch in batches])


def seconds(work: Callable[[], object]) -> float:
    """Of this thread on a processor: what else the machine does in the meantime does not count."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SQLiteState, float, float]]:
    """The state, and seconds for the first and for the last fifth of its checkpoints."""
    state = SQLiteState(tmp_path_factory.mktemp("scale") / "marketpipe.sqlite", "../data")
    first = record_all(state, SYMBOLS[:FIFTH])
    record_all(state, SYMBOLS[FIFTH:-FIFTH])
    yield state, first, record_all(state, SYMBOLS[-FIFTH:])
    state.close()


def test_recording_takes_as_long_for_the_last_as_for_the_first(filled: tuple[SQLiteState, float, float]) -> None:
    _, first, last = filled

    assert last < 4 * first + 0.5


def test_the_records_of_every_symbol_are_read(filled: tuple[SQLiteState, float, float]) -> None:
    state, *_ = filled
    assert [len(state.checkpoints.between(symbol, FIRST, LAST)) for symbol in SYMBOLS] == [250] * COUNT


def test_what_concerns_one_symbol_does_not_read_the_others(filled: tuple[SQLiteState, float, float]) -> None:
    state, *_ = filled

    of_one = min(seconds(lambda: state.checkpoints.between(SYMBOLS[COUNT // 2], FIRST, LAST)) for _ in range(5))
    of_all = seconds(lambda: [state.checkpoints.between(symbol, FIRST, LAST) for symbol in SYMBOLS])
    volume_of_one = min(seconds(lambda: state.statistics.typical_volumes([SYMBOLS[COUNT // 2]])) for _ in range(5))
    volume_of_all = seconds(lambda: state.statistics.typical_volumes(SYMBOLS))

    assert of_one < of_all / 20
    assert volume_of_one < volume_of_all / 20


def test_counting_over_everything_is_exact(filled: tuple[SQLiteState, float, float]) -> None:
    state, *_ = filled

    summaries = state.statistics.summaries()

    assert (len(summaries), sum(summary.bars for summary in summaries)) == (COUNT, COUNT * 250 * 390)
    assert state.statistics.typical_volume() == TypicalVolume(
        390.0, 1000 / 390, 100 * 250
    )  # of a part that is large enough
    assert dict(state.statistics.typical_volumes(SYMBOLS)) == dict.fromkeys(
        SYMBOLS, TypicalVolume(390.0, 1000 / 390, 250)
    )
