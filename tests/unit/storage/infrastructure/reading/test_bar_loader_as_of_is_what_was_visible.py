"""After any sequence of answers, bars as of a moment are those that could be loaded at that moment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.testing import bar
from tests.support.builders import CALENDAR, columnar, day
from tests.support.examples import examples, some
from tests.support.sparse_minutes import FULL_DAYS
from tests.support.store_on_disk import AGGREGATED, NOTHING, StoreOnDisk

Row = dict[str, Any]

DATES = ("2024-01-02", "2024-01-31")


def load(
    store: StoreOnDisk,
    as_of: Timestamp | None = None,
    timeframe: Timeframe = Timeframe.MINUTE_1,
    first: str = "2024-01-02",
) -> str:
    """In words that tell NaN from null and -0.0 from 0.0, and any two doubles apart."""
    last = TradingDate.parse("2024-03-31")
    bars = store.loader.load([Symbol("AAPL")], TradingDate.parse(first), last, timeframe, as_of)
    return f"{bars.schema} {bars.to_pylist()}"


@frozen
class Word:
    """``prices`` of the minutes of one of two trading dates, said ``pause`` seconds after the word before."""

    date: str
    prices: dict[int, float]
    whole: bool
    pause: int

    def say(self, store: StoreOnDisk) -> None:
        symbol_day = day("AAPL", self.date)
        start = CALENDAR.sessions(symbol_day.trading_date, symbol_day.trading_date)[0].opens
        rows = [bar(str(start.plus(timedelta(minutes=minute))), price) for minute, price in self.prices.items()]
        store.clock.advance(self.pause)
        store.partitions.store(columnar((symbol_day, rows), whole=self.whole), NOTHING)


def words(minutes: st.SearchStrategy[int]) -> st.SearchStrategy[list[Word]]:
    said = st.dictionaries(minutes, st.sampled_from((100.0, 101.1, 102.7)), max_size=5)
    word = st.builds(Word, st.sampled_from(DATES), said, st.booleans(), st.integers(1, 3))
    return st.lists(word, min_size=1, max_size=6)


def _moments(history: Sequence[tuple[Timestamp, str]]) -> list[Timestamp]:
    """Just before, at and after each word."""
    micros = [timedelta(microseconds=step) for step in (-1, 0, 1)]
    return [moment.plus(step) for moment, _ in history[1:] for step in micros]


def _visible(history: Sequence[tuple[Timestamp, str]], moment: Timestamp) -> str:
    return [seen for since, seen in history if since <= moment][-1]


def _tell(store: StoreOnDisk, said: Sequence[Word], look: Callable[[], str]) -> Iterator[tuple[Timestamp, str]]:
    """What was visible at first, and after each word."""
    yield Timestamp.from_epoch_micros(0), look()
    for word in said:
        word.say(store)
        yield store.clock.now(), look()


@examples(25)
@given(words(st.integers(-2, 3) | st.sampled_from((389, 390))))
def test_what_was_visible_at_a_moment_is_what_is_loaded_as_of_it(said: list[Word]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = StoreOnDisk(Path(folder))
        history = list(_tell(store, said, lambda: load(store)))

        for moment in _moments(history):
            assert load(store, moment) == _visible(history, moment)


@examples(12)
@given(words(st.integers(-330, 629)), st.sampled_from(AGGREGATED))
def test_aggregates_of_the_past_are_the_former_ones(said: list[Word], timeframe: Timeframe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = StoreOnDisk(Path(folder))

        def look(as_of: Timestamp | None = None) -> str:
            """At both dates, and at the later one alone."""
            return " ".join(load(store, as_of, timeframe, first) for first in DATES)

        def look_at_new_ones() -> str:
            store.refresh("AAPL", [timeframe])
            return look()

        history = list(_tell(store, said, look_at_new_ones))
        assert [look(moment) for moment, _ in history] == [seen for _, seen in history]


@pytest.mark.parametrize("timeframe", some(AGGREGATED))
def test_aggregates_of_full_days_of_the_past_are_the_former_ones(tmp_path: Path, timeframe: Timeframe) -> None:
    store, seen = StoreOnDisk(tmp_path), {}
    for factor in (1.0, 1.1, 0.7):
        store.keep(*_days_of(FULL_DAYS.bars, factor))
        store.refresh("AAPL", [timeframe])
        seen[store.clock.now()] = load(store, None, timeframe)
        store.clock.advance(60)

    assert {moment: load(store, moment, timeframe) for moment in seen} == seen
    assert len(set(seen.values())) == 3


def _days_of(rows: Sequence[Row], factor: float) -> list[tuple[SymbolDay, list[Row]]]:
    days: dict[TradingDate, list[Row]] = {}
    for row in rows:
        changed = {**row, "close": row["close"] * factor, "vwap": row["vwap"] * factor}
        days.setdefault(TradingDate.of(Timestamp(row["timestamp"])), []).append(changed)
    return [(day("AAPL", str(date)), bars) for date, bars in days.items()]
