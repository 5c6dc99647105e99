"""Every bar store keeps the promises of the port: the one that writes Parquet, and the fake that other tests use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from attrs import define, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.columnar_bars import SymbolDaySlice
from marketpipe.shared_kernel.domain.time_window import TimeWindow
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay
from marketpipe.storage.application.ports import BarStore
from tests.support.bar_stores import OPEN, Harness, InMemory, OnDisk, at, word
from tests.support.builders import columnar, day, sessions, table

AAPL, MSFT = day("AAPL", "2024-01-02"), day("MSFT", "2024-01-02")
NOTHING = columnar()
SESSION = sessions("2024-01-02", "2024-01-02")[0]


@pytest.fixture(params=["partition_manager", "in_memory"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return OnDisk(tmp_path) if request.param == "partition_manager" else InMemory()


def test_new_bars_are_stored_and_described(harness: Harness) -> None:
    found = harness.store.store(columnar((AAPL, [at(0), at(1), at(2)])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(1), at(2)]
    (result,) = found
    assert (result.symbol_day, result.rows, result.rejected, result.whole) == (AAPL, 3, 0, True)
    assert (result.first, result.last) == (Timestamp(OPEN), Timestamp(OPEN + timedelta(minutes=2)))
    assert result.size_bytes > 0
    assert result.sha256 is not None
    assert len(result.sha256) == 64
    assert result.error is None


def test_every_slice_gets_its_entry_in_the_order_given(harness: Harness) -> None:
    later = day("AAPL", "2024-01-03")
    accepted = columnar((MSFT, [at(0)]), (later, []), (AAPL, [at(1), at(2)]))

    found = harness.store.store(accepted, NOTHING)

    assert [(entry.symbol_day, entry.rows) for entry in found] == [(MSFT, 1), (later, 0), (AAPL, 2)]
    assert (harness.bars(MSFT), harness.bars(later), harness.bars(AAPL)) == ([at(0)], [], [at(1), at(2)])


def test_nothing_to_store_is_an_answer_without_entries(harness: Harness) -> None:
    assert harness.store.store(NOTHING, NOTHING) == ()


def test_a_symbol_day_without_bars_has_no_file(harness: Harness) -> None:
    found = harness.store.store(columnar((AAPL, [])), NOTHING)

    assert found == (StoredSymbolDay(AAPL, 0, 0, True),)
    assert harness.bars(AAPL) == []


def test_bars_are_stored_ascending_whatever_order_they_come_in(harness: Harness) -> None:
    found = harness.store.store(columnar((AAPL, [at(2), at(0), at(1)])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(1), at(2)]
    assert (found[0].first, found[0].last) == (Timestamp(OPEN), Timestamp(OPEN + timedelta(minutes=2)))


def test_the_newer_word_wins_per_timestamp(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0, 100.0), at(1, 100.0)]), whole=False), NOTHING)
    harness.store.store(columnar((AAPL, [at(1, 200.0, trade_count=None, vwap=None)]), whole=False), NOTHING)

    assert harness.bars(AAPL) == [at(0, 100.0), at(1, 200.0, trade_count=None, vwap=None)]


def test_one_bar_written_over_a_full_day_loses_none(harness: Harness) -> None:
    minutes = [at(minute) for minute in range(390)]
    harness.store.store(columnar((AAPL, minutes)), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [at(389, 101.0)]), whole=False), NOTHING)

    assert (result.rows, result.whole) == (390, False)
    assert harness.bars(AAPL) == [*minutes[:-1], at(389, 101.0)]


def test_a_whole_word_withdraws_what_it_leaves_out(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0), at(1), at(2)])), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [at(0), at(2)])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(2)]
    assert result.rows == 2


def test_a_whole_word_on_regular_hours_keeps_extended_hours(harness: Harness) -> None:
    before, after = at(-1), at(390)
    harness.store.store(columnar((AAPL, [before, at(0), at(389), after])), NOTHING)

    harness.store.store(word(AAPL, [at(5)], SESSION.regular), NOTHING)

    assert harness.bars(AAPL) == [before, at(5), after]


def test_a_whole_word_without_bars_withdraws_nothing(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0), at(1)])), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [])), NOTHING)

    assert harness.bars(AAPL) == [at(0), at(1)]
    assert (result.rows, result.first) == (2, Timestamp(OPEN))


def test_a_rejected_newer_version_keeps_the_stored_bar(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0), at(1), at(2)])), NOTHING)

    (result,) = harness.store.store(columnar((AAPL, [at(0, 200.0)])), columnar((AAPL, [at(1, -5.0)])))

    assert harness.bars(AAPL) == [at(0, 200.0), at(1)]
    assert (result.rows, result.rejected) == (2, 1)


def test_rejected_bars_lie_in_quarantine_and_nowhere_else(harness: Harness) -> None:
    (result,) = harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(1, -5.0), at(2, -6.0)])))

    assert harness.quarantine(AAPL) == [at(1, -5.0), at(2, -6.0)]
    assert harness.bars(AAPL) == []
    assert result == StoredSymbolDay(AAPL, 0, 2, True)


def test_a_clean_whole_word_lifts_the_quarantine(harness: Harness) -> None:
    harness.store.store(
        columnar((AAPL, []), (MSFT, [])), columnar((AAPL, [at(1, -5.0)]), (MSFT, [at(1, -6.0)]), whole=False)
    )
    harness.store.store(columnar((AAPL, [at(1)])), NOTHING)

    assert (harness.quarantine(AAPL), harness.quarantine(MSFT)) == ([], [at(1, -6.0)])


def test_a_partial_word_adds_to_the_quarantine_and_repeats_nothing(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(1, -5.0)])))
    for _ in range(2):
        harness.store.store(columnar((AAPL, []), whole=False), columnar((AAPL, [at(1, -5.0), at(2, -6.0)])))

    assert harness.quarantine(AAPL) == [at(1, -5.0), at(2, -6.0)]


def test_a_whole_word_replaces_the_quarantine(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(1, -5.0)])))
    harness.store.store(columnar((AAPL, [])), columnar((AAPL, [at(2, -6.0)])))

    assert harness.quarantine(AAPL) == [at(2, -6.0)]


def test_a_partial_word_leaves_the_quarantine(harness: Harness) -> None:
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


def test_a_whole_word_replaces_a_damaged_symbol_day(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)])), NOTHING)
    harness.damage(AAPL)

    (result,) = harness.store.store(columnar((AAPL, [at(1), at(2)])), NOTHING)

    assert (result.rows, result.error) == (2, None)
    assert harness.bars(AAPL) == [at(1), at(2)]


def test_a_whole_word_without_bars_does_not_hide_a_damaged_symbol_day(harness: Harness) -> None:
    harness.store.store(columnar((AAPL, [at(0)])), NOTHING)
    harness.damage(AAPL)

    (result,) = harness.store.store(columnar((AAPL, [])), NOTHING)

    assert "damaged" in str(result.error)


def test_the_same_word_twice_changes_nothing(harness: Harness) -> None:
    said = columnar((AAPL, [at(0), at(1, vwap=None)]), (MSFT, [at(7)]))

    assert harness.store.store(said, NOTHING) == harness.store.store(said, NOTHING)
    assert (harness.bars(AAPL), harness.bars(MSFT)) == ([at(0), at(1, vwap=None)], [at(7)])


@frozen
class Word:
    """What a provider says of some minutes: the prices of those accepted, and the minutes that were turned down."""

    accepted: dict[int, float]
    rejected: set[int]
    whole: TimeWindow | None


def windows() -> st.SearchStrategy[TimeWindow | None]:
    return st.sampled_from((None, SESSION.extended, SESSION.regular, TimeWindow(SESSION.opens, SESSION.opens)))


def words() -> st.SearchStrategy[Word]:
    minutes = st.integers(-3, 6) | st.sampled_from((389, 390))
    prices = st.sampled_from((100.0, 101.0, 102.0))
    return st.builds(Word, st.dictionaries(minutes, prices, max_size=6), st.sets(minutes, max_size=3), windows())


@settings(max_examples=30)
@given(st.lists(words(), min_size=1, max_size=5), st.integers(0, 4))
def test_the_fake_and_the_partition_manager_agree(said: list[Word], broken: int) -> None:
    with _both() as (disk, memory):
        for number, each in enumerate(said):
            if number == broken and disk.bars(AAPL):
                disk.damage(AAPL)
                memory.damage(AAPL)
            answers = [_say(harness.store, each) for harness in (disk, memory)]
            assert answers[0] == answers[1]
            if answers[0][-1]:
                return
            assert disk.bars(AAPL) == memory.bars(AAPL)
            assert disk.quarantine(AAPL) == memory.quarantine(AAPL)


def _say(store: BarStore, said: Word) -> tuple[object, ...]:
    accepted = word(AAPL, [at(minute, price) for minute, price in said.accepted.items()], said.whole)
    rejected = columnar((AAPL, [at(minute, -1.0) for minute in sorted(said.rejected)])) if said.rejected else NOTHING
    (found,) = store.store(accepted, rejected)
    return found.rows, found.rejected, found.whole, found.first, found.last, found.error is not None


@contextmanager
def _both() -> Iterator[tuple[OnDisk, InMemory]]:
    with tempfile.TemporaryDirectory() as folder:
        yield OnDisk(Path(folder)), InMemory()


def test_bars_travel_as_any_arrow_stream(harness: Harness) -> None:
    @define
    class Stream:
        """``ColumnarBars`` of somebody else, in several chunks."""

        slices: tuple[SymbolDaySlice, ...] = (SymbolDaySlice(AAPL, 0, 3, SESSION.extended),)
        num_rows: int = 3

        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
            chunks = [table([at(0)]), table([at(1)]), table([at(2)])]
            return pa.concat_tables(chunks).__arrow_c_stream__(requested_schema)

    (result,) = harness.store.store(Stream(), NOTHING)

    assert (result.rows, harness.bars(AAPL)) == (3, [at(0), at(1), at(2)])
