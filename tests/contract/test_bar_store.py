"""The contract of the port ``BarStore``, for the store that writes Parquet and for the fake that other tests use."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from attrs import define, evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.ohlcv_bar import SymbolDaySlice
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import TradedMinutes
from marketpipe.shared_kernel.events import StoredSymbolDay
from marketpipe.testing import bar_table, sessions
from tests.support.bar_stores import OPEN, Compacted, Harness, InBucket, InMemory, OnDisk, at, word
from tests.support.builders import columnar, day
from tests.support.examples import examples

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
NOTHING = columnar()
SESSION = sessions("2024-01-02", "2024-01-02")[0]


@pytest.fixture(params=["partition_manager", "compacted", "in_bucket", "in_memory"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    if request.param == "in_memory":
        return InMemory()
    if request.param == "in_bucket":
        return InBucket()
    return OnDisk(tmp_path) if request.param == "partition_manager" else Compacted(tmp_path)


def test_new_bars_are_stored_and_described(harness: Harness) -> None:
    found = harness.store.store(columnar((AAPL, [at(0), at(1), at(2)])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(1), at(2)]
    (result,) = found
    assert (result.symbol_day, result.rows, result.rejected, result.final) == (AAPL, 3, 0, True)
    assert (result.first, result.last) == (Timestamp(OPEN), Timestamp(OPEN + timedelta(minutes=2)))
    assert result.size_bytes > 0
    assert result.sha256 is not None
    assert len(result.sha256) == 64
    assert result.error is None


def test_the_report_has_an_entry_for_every_slice_in_the_order_given(harness: Harness) -> None:
    later = day("AAPL", "2024-01-03")
    accepted = columnar((MSFT, [at(0)]), (later, []), (AAPL, [at(1), at(2)]))

    found = harness.store.store(accepted, NOTHING)

    assert [(entry.symbol_day, entry.rows) for entry in found] == [(MSFT, 1), (later, 0), (AAPL, 2)]
    assert (harness.bars(MSFT), harness.bars(later), harness.bars(AAPL)) == ([at(0)], [], [at(1), at(2)])


def test_nothing_to_store_gives_an_empty_report(harness: Harness) -> None:
    assert harness.store.store(NOTHING, NOTHING) == ()


def test_a_symbol_day_without_bars_has_no_file(harness: Harness) -> None:
    found = harness.store.store(columnar((AAPL, [])), NOTHING)

    assert found == (StoredSymbolDay(AAPL, 0, 0, True),)
    assert harness.bars(AAPL) == []


def test_bars_are_stored_ascending_whatever_order_they_come_in(harness: Harness) -> None:
    found = harness.store.store(columnar((AAPL, [at(2), at(0), at(1)])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(1), at(2)]
    assert (found[0].first, found[0].last) == (Timestamp(OPEN), Timestamp(OPEN + timedelta(minutes=2)))


def test_the_newer_bar_wins_per_timestamp(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0, 100.0), at(1, 100.0)]), whole=False), NOTHING)
    harness.store.store(columnar((AAPL, [at(1, 200.0, trade_count=None, vwap=None)]), whole=False), NOTHING)

    assert harness.bars(AAPL) == [at(0, 100.0), at(1, 200.0, trade_count=None, vwap=None)]


def test_one_bar_written_over_a_full_day_loses_none(harness: Harness) -> None:
    minutes = [at(minute) for minute in range(390)]
    harness.store.store(columnar((AAPL, minutes)), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [at(389, 101.0)]), whole=False), NOTHING)

    assert (result.rows, result.final) == (390, False)
    assert harness.bars(AAPL) == [*minutes[:-1], at(389, 101.0)]


def test_a_final_answer_withdraws_what_it_leaves_out(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0), at(1), at(2)])), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [at(0), at(2)])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(2)]
    assert result.rows == 2


def test_a_final_answer_on_regular_hours_keeps_extended_hours(harness: Harness) -> None:
    before, after = at(-1), at(390)
    harness.store.store(columnar((AAPL, [before, at(0), at(389), after])), NOTHING)

    harness.store.store(word(AAPL, [at(5)], SESSION.regular), NOTHING)

    assert harness.bars(AAPL) == [before, at(5), after]


def test_a_final_answer_without_bars_withdraws_nothing(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0), at(1)])), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(1)]
    assert (result.rows, result.first) == (2, Timestamp(OPEN))


def test_a_rejected_newer_version_keeps_the_stored_bar(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0), at(1), at(2)])), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [at(0, 200.0)])), columnar((AAPL, [at(1, -5.0)])))

    assert harness.bars(AAPL) == [at(0, 200.0), at(1)]
    assert (result.rows, result.rejected) == (2, 1)


def test_rejected_bars_are_in_quarantine_only(harness: Harness) -> None:
    (result,) = harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(1, -5.0), at(2, -6.0)])))

    assert harness.quarantine(AAPL) == [at(1, -5.0), at(2, -6.0)]
    assert harness.bars(AAPL) == []
    assert result == StoredSymbolDay(AAPL, 0, 2, True)


def test_a_clean_final_answer_lifts_the_quarantine(harness: Harness) -> None:
    harness.store.store(
        columnar((AAPL, []), (MSFT, [])), columnar((AAPL, [at(1, -5.0)]), (MSFT, [at(1, -6.0)]), whole=False)
    )
    harness.store.store(columnar((AAPL, [at(1)])), NOTHING)

    assert (harness.quarantine(AAPL), harness.quarantine(MSFT)) == ([], [at(1, -6.0)])


def test_a_partial_answer_adds_to_the_quarantine_and_repeats_nothing(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(1, -5.0)])))
    for _ in range(2):
        harness.store.store(columnar((AAPL, []), whole=False), columnar((AAPL, [at(1, -5.0), at(2, -6.0)])))

    assert harness.quarantine(AAPL) == [at(1, -5.0), at(2, -6.0)]


def test_a_final_answer_replaces_the_quarantine(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(1, -5.0)])))
    harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(2, -6.0)])))

    assert harness.quarantine(AAPL) == [at(2, -6.0)]


def test_a_partial_answer_leaves_the_quarantine(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(1, -5.0)])))
    harness.store.store(columnar((AAPL, [at(0)]), whole=False), NOTHING)

    assert harness.quarantine(AAPL) == [at(1, -5.0)]


def test_a_damaged_symbol_day_fails_alone(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)]), (MSFT, [at(0)])), NOTHING)
    harness.damage(AAPL)

    damaged, sound = harness.store.store(columnar((AAPL, [at(1)]), (MSFT, [at(1)]), whole=False), NOTHING)

    assert damaged.symbol_day == AAPL
    assert "damaged" in str(damaged.error)
    assert (damaged.rows, damaged.first, damaged.sha256) == (0, None, None)
    assert (sound.rows, sound.error) == (2, None)
    assert harness.bars(MSFT) == [at(0), at(1)]


def test_a_final_answer_replaces_a_damaged_symbol_day(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)])), NOTHING)
    harness.damage(AAPL)

    (result,) = harness.store.store(columnar((AAPL, [at(1), at(2)])), NOTHING)

    assert (result.rows, result.error) == (2, None)
    assert harness.bars(AAPL) == [at(1), at(2)]


def test_a_final_answer_without_bars_does_not_hide_a_damaged_symbol_day(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)])), NOTHING)
    harness.damage(AAPL)

    (result,) = harness.store.store(columnar((AAPL, [])), NOTHING)

    assert "damaged" in str(result.error)


def test_the_same_answer_twice_changes_nothing(harness: Harness) -> None:
    response = columnar((AAPL, [at(0), at(1, vwap=None)]), (MSFT, [at(7)]))

    assert harness.store.store(response, NOTHING) == harness.store.store(response, NOTHING)
    assert (harness.bars(AAPL), harness.bars(MSFT)) == ([at(0), at(1, vwap=None)], [at(7)])


def test_an_answer_that_changes_nothing_leaves_moment_and_mark(harness: Harness) -> None:
    (first,) = harness.store.store(columnar((AAPL, [at(0), at(1)])), NOTHING)
    harness.clock.advance(60)

    (same,) = harness.store.store(columnar((AAPL, [at(1), at(0)])), NOTHING)
    (part,) = harness.store.store(columnar((AAPL, [at(1)]), whole=False), NOTHING)
    (silence,) = harness.store.store(columnar((AAPL, [])), NOTHING)

    assert first.known_since == Timestamp.parse("2025-06-02T12:00:00Z")
    assert first.mark
    assert {(each.known_since, each.mark) for each in (same, part, silence)} == {(first.known_since, first.mark)}


def test_an_answer_that_changes_something_is_known_since_now(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)]), (MSFT, [at(0)])), NOTHING)
    harness.clock.advance(60)

    changed, same = harness.store.store(columnar((AAPL, [at(0, 101.0)]), (MSFT, [at(0)])), NOTHING)

    now = Timestamp.parse("2025-06-02T12:01:00Z")
    assert (changed.known_since, same.known_since) == (now, now.plus(timedelta(minutes=-1)))


def test_two_changes_at_the_same_moment_are_distinguished(harness: Harness) -> None:
    prices = (100.0, 101.0, 100.0)
    found = [harness.store.store(columnar((AAPL, [at(0, price)])), NOTHING)[0] for price in prices]

    start = Timestamp.parse("2025-06-02T12:00:00Z")
    assert len({each.mark for each in found}) == 3
    assert [each.known_since for each in found] == [start.plus(timedelta(microseconds=n)) for n in range(3)]


def test_a_damaged_symbol_day_that_is_replaced_is_known_since_now(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)])), NOTHING)
    harness.damage(AAPL)
    harness.clock.advance(60)

    (result,) = harness.store.store(columnar((AAPL, [at(0, 101.0)])), NOTHING)

    assert result.known_since == Timestamp.parse("2025-06-02T12:01:00Z")


def test_an_answer_on_late_hours_leaves_what_was_kept_out_of_the_regular_ones(harness: Harness) -> None:
    late = TimeWindow(SESSION.closes, SESSION.extended.end)
    harness.store.store(columnar((AAPL, [at(0)])), columnar((AAPL, [at(1)])))

    harness.store.store(word(AAPL, [at(400)], late), columnar((AAPL, [at(401)])))
    assert [row["timestamp"] for row in harness.quarantine(AAPL)] == [at(m)["timestamp"] for m in (1, 401)]

    harness.store.store(word(AAPL, [at(400)], late), NOTHING)
    assert [row["timestamp"] for row in harness.quarantine(AAPL)] == [at(1)["timestamp"]]
    assert [row["timestamp"] for row in harness.bars(AAPL)] == [at(m)["timestamp"] for m in (0, 400)]


def test_an_answer_on_late_hours_does_not_replace_a_damaged_day(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)])), NOTHING)
    harness.damage(AAPL)

    (result,) = harness.store.store(word(AAPL, [at(400)], TimeWindow(SESSION.closes, SESSION.extended.end)), NOTHING)

    assert result.error is not None


def test_answers_on_one_day_that_come_at_the_same_time_are_all_kept(harness: Harness) -> None:
    edges = [SESSION.opens.plus(timedelta(minutes=minute)) for minute in range(25)]
    start = threading.Barrier(8)

    def say(minute: int) -> None:
        if minute < 8:
            start.wait(60)
        harness.store.store(word(AAPL, [at(minute)], TimeWindow(*edges[minute : minute + 2])), NOTHING)

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(say, range(24)))

    assert [row["timestamp"] for row in harness.bars(AAPL)] == [at(minute)["timestamp"] for minute in range(24)]


def test_minutes_are_those_with_a_bar(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(-330), at(3)]), whole=False), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [at(0), at(629)]), whole=False), NOTHING)

    assert result.minutes == TradedMinutes.of(1 | 1 << 330 | 1 << 333 | 1 << 959)


def test_bars_off_the_grid_count_for_their_minute_and_those_outside_the_hours_do_not(harness: Harness) -> None:
    odd = [{**at(0), "timestamp": OPEN + timedelta(minutes=minute, seconds=59)} for minute in (-331, -330, 0, 629, 630)]

    (result,) = harness.store.store(columnar((AAPL, [*odd, at(0)])), NOTHING)

    assert (result.rows, result.minutes) == (6, TradedMinutes.of(1 | 1 << 330 | 1 << 959))


@frozen
class Response:
    """A provider's response for some minutes: the prices of the accepted bars, and the minutes of the rejected ones."""

    accepted: dict[int, float]
    rejected: set[int]
    final_window: TimeWindow | None
    pause: float


def windows() -> st.SearchStrategy[TimeWindow | None]:
    return st.sampled_from((None, SESSION.extended, SESSION.regular, TimeWindow(SESSION.opens, SESSION.opens)))


def responses() -> st.SearchStrategy[Response]:
    minutes = st.integers(-3, 6) | st.sampled_from((389, 390))
    prices = st.sampled_from((100.0, 101.0, 102.0))
    pauses = st.sampled_from((0.0, 1.0))
    return st.builds(
        Response, st.dictionaries(minutes, prices, max_size=6), st.sets(minutes, max_size=3), windows(), pauses
    )


@examples(30)
@given(st.lists(responses(), min_size=1, max_size=5), st.integers(0, 4))
def test_the_fake_and_the_partition_manager_agree(history: list[Response], damaged_before: int) -> None:
    with _both() as (disk, memory):
        for number, each in enumerate(history):
            if number == damaged_before and disk.bars(AAPL):
                disk.damage(AAPL)
                memory.damage(AAPL)
            answers = [_write_response(harness, each) for harness in (disk, memory)]
            assert evolve(answers[0], figures=None) == answers[1]  # the fake adds nothing up
            if answers[0].error:
                return
            assert disk.bars(AAPL) == memory.bars(AAPL)
            assert disk.quarantine(AAPL) == memory.quarantine(AAPL)


def _write_response(harness: Harness, response: Response) -> StoredSymbolDay:
    """Write a response; the two stores differ in bytes and in the message for a damaged day."""
    harness.clock.advance(response.pause)
    accepted = word(AAPL, [at(minute, price) for minute, price in response.accepted.items()], response.final_window)
    rejected = (
        columnar((AAPL, [at(minute, -1.0) for minute in sorted(response.rejected)])) if response.rejected else NOTHING
    )
    (found,) = harness.store.store(accepted, rejected)
    return evolve(found, size_bytes=0, sha256=None, mark=None, error=found.error and "damaged")


@contextmanager
def _both() -> Iterator[tuple[OnDisk, InMemory]]:
    with tempfile.TemporaryDirectory() as folder:
        yield OnDisk(Path(folder)), InMemory()


def test_bars_travel_as_any_arrow_stream(harness: Harness) -> None:
    @define
    class Stream:
        """``ColumnarBars`` of another library, in several chunks."""

        slices: tuple[SymbolDaySlice, ...] = (SymbolDaySlice(AAPL, 0, 3, SESSION.extended),)
        num_rows: int = 3

        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
            chunks = [bar_table([at(0)]), bar_table([at(1)]), bar_table([at(2)])]
            return pa.concat_tables(chunks).__arrow_c_stream__(requested_schema)

    (result,) = harness.store.store(Stream(), NOTHING)

    assert (result.rows, harness.bars(AAPL)) == (3, [at(0), at(1), at(2)])
