from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from attrs import frozen
from hypothesis import example, given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.infrastructure.day_versions import are_in_order, in_order, merge_bars
from marketpipe.testing import bar_table

Prices = dict[int, float]
"""The price of each minute's bar."""

MINUTES = st.integers(0, 12)
PRICES = st.dictionaries(MINUTES, st.sampled_from((1.0, 2.0, 3.0)), max_size=8)


def _moment(minute: int) -> Timestamp:
    return Timestamp.from_epoch_micros(1_704_205_800_000_000 + minute * 60_000_000)


@frozen
class Case:
    """``whole`` are the first minute of the window and the first after it."""

    stored: Prices
    newer: Prices
    rejected: frozenset[int] = frozenset()
    whole: tuple[int, int] | None = None

    def merged(self) -> pa.Table:
        times = np.array([_moment(minute).epoch_micros for minute in sorted(self.rejected)], np.int64)
        return merge_bars(_bars(dict(sorted(self.stored.items()))), _bars(self.newer), times, self.window)

    @property
    def window(self) -> TimeWindow | None:
        return None if self.whole is None else TimeWindow(_moment(self.whole[0]), _moment(self.whole[1]))

    def covers(self, minute: int) -> bool:
        return self.whole is not None and self.whole[0] <= minute < self.whole[1]


def _bars(prices: Prices) -> pa.Table:
    return bar_table([_row(minute, price) for minute, price in prices.items()])


def _row(minute: int, price: float) -> dict[str, Any]:
    values = dict.fromkeys(("open", "high", "low", "close", "volume"), price)
    return {"timestamp": _moment(minute).moment, **values, "trade_count": None, "vwap": price}


def _prices(bars: pa.Table) -> Prices:
    start = _moment(0).epoch_micros
    minutes = ((int(time) - start) // 60_000_000 for time in bars["timestamp"].cast(pa.int64()).to_pylist())
    return dict(zip(minutes, bars["close"].to_pylist(), strict=True))


CASES = st.builds(
    Case,
    PRICES,
    PRICES,
    st.frozensets(MINUTES, max_size=4),
    st.none() | st.tuples(MINUTES, st.integers(0, 13)).map(lambda pair: (min(pair), max(pair))),
)


@given(CASES)
def test_the_newer_bar_wins_at_every_timestamp(case: Case) -> None:
    merged = _prices(case.merged())

    assert {minute: merged[minute] for minute in case.newer} == case.newer


@given(CASES)
def test_what_was_stored_is_lost_only_to_a_final_answer(case: Case) -> None:
    merged = _prices(case.merged())
    lost = set(case.stored) - set(merged)

    assert all(case.covers(minute) for minute in lost)
    assert not lost or case.newer
    assert not lost & case.rejected


@given(CASES)
def test_a_final_answer_leaves_no_bar_that_it_lacks(case: Case) -> None:
    if case.newer:
        stale = {minute for minute in _prices(case.merged()) if case.covers(minute)} - set(case.newer)

        assert stale == {minute for minute in case.stored if case.covers(minute)} & case.rejected - set(case.newer)


@given(CASES)
def test_a_bar_missing_in_the_answer_stays_as_it_was(case: Case) -> None:
    merged = _prices(case.merged())
    kept = set(merged) - set(case.newer)

    assert {minute: merged[minute] for minute in kept} == {minute: case.stored[minute] for minute in kept}


@given(CASES)
def test_the_result_is_ascending_without_repeats(case: Case) -> None:
    times = case.merged()["timestamp"].to_pylist()

    assert all(earlier < later for earlier, later in pairwise(times))


@given(CASES)
def test_merging_again_changes_nothing(case: Case) -> None:
    once = case.merged()
    again = Case(_prices(once), case.newer, case.rejected, case.whole).merged()

    assert again.equals(once)


@given(CASES, st.randoms())
def test_the_order_of_bars_does_not_matter(case: Case, random: Any) -> None:
    shuffled = list(case.newer.items())
    random.shuffle(shuffled)

    assert Case(case.stored, dict(shuffled), case.rejected, case.whole).merged().equals(case.merged())


@given(PRICES, PRICES)
@example({1: 1.0}, {})
def test_answers_that_are_not_final_add_up(stored: Prices, newer: Prices) -> None:
    assert _prices(Case(stored, newer).merged()) == dict(sorted({**stored, **newer}.items()))


def test_the_end_of_the_window_is_out_and_its_start_is_in() -> None:
    stored = dict.fromkeys(range(5), 1.0)

    assert _prices(Case(stored, {2: 2.0}, whole=(1, 4)).merged()) == {0: 1.0, 2: 2.0, 4: 1.0}


def test_the_columns_and_their_nulls_come_through() -> None:
    merged = Case({0: 1.0}, {1: 2.0}).merged()

    assert merged.schema == BAR_SCHEMA
    assert merged.to_pylist() == [_row(0, 1.0), _row(1, 2.0)]


def test_bars_in_order_are_not_copied() -> None:
    bars = _bars({0: 1.0, 1: 2.0})

    assert in_order(bars) is bars
    assert in_order(BAR_SCHEMA.empty_table()).num_rows == 0


def test_bars_out_of_order_are_put_in_order() -> None:
    assert list(_prices(in_order(_bars({3: 1.0, 1: 2.0, 2: 3.0}))).items()) == [(1, 2.0), (2, 3.0), (3, 1.0)]


@given(st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=5))
@example([])
@example([[], [3], [1, 2], [2, 2], []])
def test_each_of_many_days_is_in_order_or_not_whatever_its_neighbours_are(days: list[list[int]]) -> None:
    times = np.array([time for day in days for time in day], np.int64)
    expected = [all(one < next_one for one, next_one in pairwise(day)) for day in days]
    assert are_in_order(times, [len(day) for day in days]) == expected
