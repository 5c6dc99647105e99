"""The contract of the port ``IngestionState``: for the state in SQLite, real and simulated, and the fake in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_checkpoint import Answer, IngestionCheckpoint, contradiction
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, InterruptedJob
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, TypicalVolume
from marketpipe.ingestion.domain.official_days import OfficialDaysReport
from marketpipe.ingestion.domain.store_status import JobRecord, RunRecord, SymbolSummary
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.store_inventory import NO_MARK, DatasetIdentity, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradedMinutes, TradingDate
from tests.simulation.modelled_states import ModelledState
from tests.support.builders import day
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import answer, record
from tests.support.examples import examples
from tests.support.in_memory_ingestion_state import InMemoryIngestionState
from tests.support.postgres_states import states_in

LATER = NOW.plus(timedelta(seconds=1.5))
FIRST, LAST = TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05")
NONE, REGULAR, EARLY, LATE, EXTENDED = (
    SessionHours.NONE,
    SessionHours.REGULAR,
    SessionHours.EARLY,
    SessionHours.LATE,
    SessionHours.EXTENDED,
)
COMPLETE, EMPTY, PARTIAL, FAILED = Outcome.COMPLETE, Outcome.EMPTY, Outcome.PARTIAL, Outcome.FAILED
IDENTITY = DatasetIdentity("alpaca", "iex", "raw")
ONE_SHA, OTHER_SHA = "ab" * 32, "cd" * 32


def _on_disk(folder: Path) -> IngestionState:
    return SQLiteState(folder / "state" / "marketpipe.sqlite", "../data")


STATES: dict[str, Callable[[Path], IngestionState]] = {
    "sqlite": _on_disk,
    "in memory": lambda _: InMemoryIngestionState(),
    "simulated": lambda _: ModelledState(),
}


@pytest.fixture(params=[*STATES, "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IngestionState]:
    other = STATES.get(request.param)
    made = other(tmp_path) if other else request.getfixturevalue("postgres_states").open()
    yield made
    made.close()


def scope(*symbols: str) -> IngestionScope:
    return IngestionScope(symbols, FIRST, LAST)


def known(state: IngestionState, *symbols: str) -> set[str]:
    return {f"{symbol} {date}" for symbol in symbols for date in state.checkpoints.between(Symbol(symbol), FIRST, LAST)}


def aapl(outcome: Outcome = COMPLETE, rows: int = 390, **changes: Any) -> Answer:
    return answer("AAPL", "2024-01-02", outcome, rows, **changes)


def record_of_aapl(state: IngestionState) -> IngestionCheckpoint:
    """Return the record of the only day that ``aapl`` is about."""
    (found,) = state.checkpoints.between(Symbol("AAPL"), FIRST, FIRST).values()
    return found


def recorded_file(state: IngestionState) -> RecordedVersion:
    file = record_of_aapl(state).version
    assert file is not None
    return file


def finished_job(job_id: int, wanted: IngestionScope, *outcomes: SymbolDayOutcome, planned: int) -> IngestionJob:
    job = IngestionJob(job_id, wanted, planned=planned)
    job.absorb(outcomes)
    job.finish()
    return job


def test_a_new_state_is_empty(state: IngestionState) -> None:
    assert dict(state.checkpoints.between(Symbol("AAPL"), FIRST, LAST)) == {}
    assert (
        state.checkpoints.settled_hours_and_marks(Symbol("AAPL"), FIRST, LAST),
        state.checkpoints.requested_spans(),
        state.checkpoints.stored_spans(),
    ) == (({}, {}), {}, {})
    assert dict(state.statistics.typical_volumes([Symbol("AAPL")])) == {}
    assert state.statistics.typical_volume() is None
    assert state.dataset() is None
    assert list(state.statistics.summaries()) == []
    assert list(state.jobs.latest(10)) == []


def test_the_version_changes_with_what_is_recorded_and_not_with_what_is_read(state: IngestionState) -> None:
    versions = [state.version()]
    record(state, [aapl()])
    versions.append(state.version())
    state.bind_dataset(IDENTITY, SessionKind.EXTENDED)
    versions.append(state.version())
    record_of_aapl(state)

    assert state.version() == versions[-1]
    assert len(set(map(str, versions))) == len(versions)


def test_what_was_recorded_comes_back(state: IngestionState) -> None:
    minutes = TradedMinutes.of(0b1011 << 330)

    record(state, [aapl(rejected=3, minutes=minutes, hours=REGULAR | LATE, known_since=LATER)])

    file = RecordedVersion("a mark", LATER, ONE_SHA)
    assert dict(state.checkpoints.between(Symbol("AAPL"), FIRST, LAST)) == {
        FIRST: IngestionCheckpoint(COMPLETE, REGULAR | LATE, 1, 3, None, 390, file, minutes)
    }


def test_figures_come_back_with_the_checkpoint(state: IngestionState) -> None:
    figures = DayFigures(open=143.5, volume=2.0**40, opening_peak=330, in_lots=True, values_hash=2**64 - 1)

    record(state, [aapl(figures=figures)])

    assert record_of_aapl(state).figures == figures


@pytest.mark.parametrize(("sha", "kept"), [(ONE_SHA, True), (OTHER_SHA, False)])
def test_figures_stay_until_the_bytes_change(state: IngestionState, sha: str, kept: bool) -> None:
    figures = DayFigures(close=7.0)
    record(state, [aapl(figures=figures)])

    record(state, [aapl(sha=sha)])

    assert record_of_aapl(state).figures == (figures if kept else None)


def test_figures_are_added_to_the_same_bytes_that_lack_them(state: IngestionState) -> None:
    figures, others = DayFigures(close=7.0), DayFigures(close=8.0)
    record(state, [aapl(), answer("MSFT", "2024-01-02", figures=others)])
    known = [day for _, _, day in (aapl(figures=figures), answer("MSFT", "2024-01-02", figures=figures)) if day]

    state.checkpoints.add_figures([evolve(known[0], sha256=OTHER_SHA)])
    assert record_of_aapl(state).figures is None

    before = record_of_aapl(state)
    state.checkpoints.add_figures(known)
    assert record_of_aapl(state) == evolve(before, figures=figures)
    assert state.checkpoints.between(Symbol("MSFT"), FIRST, FIRST)[FIRST].figures == others


def test_a_day_without_bars_has_no_file(state: IngestionState) -> None:
    record(state, [aapl(FAILED, 0)])

    assert record_of_aapl(state) == IngestionCheckpoint(FAILED, EXTENDED, error="no")


def test_a_version_may_be_recorded_without_its_moment_and_mark(state: IngestionState) -> None:
    record(state, [aapl(known_since=None, mark=None)])

    assert recorded_file(state) == RecordedVersion(NO_MARK, None, ONE_SHA)


@pytest.mark.parametrize("sha", [ONE_SHA, OTHER_SHA])
def test_the_latest_mark_counts_also_of_the_same_bytes(state: IngestionState, sha: str) -> None:
    record(state, [aapl()])

    record(state, [aapl(mark="another mark", sha=sha)])

    assert recorded_file(state).mark == "another mark"


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("hours", [EXTENDED, REGULAR, REGULAR | EARLY])
def test_only_complete_and_empty_days_are_settled_and_for_their_hours(
    state: IngestionState, outcome: Outcome, hours: SessionHours
) -> None:
    record(state, [aapl(outcome, hours=hours)])

    assert record_of_aapl(state).settled_hours == (hours if outcome in (COMPLETE, EMPTY) else NONE)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("hours", [NONE, EXTENDED, REGULAR | EARLY])
@pytest.mark.parametrize("rows", [0, 390])
@pytest.mark.parametrize("mark", [None, "a mark"])
def test_settled_hours_and_marks_agree_with_the_checkpoints(
    state: IngestionState, outcome: Outcome, hours: SessionHours, rows: int, mark: VersionMark | None
) -> None:
    record(state, [aapl(outcome, rows, hours=hours, mark=mark)])
    record(state, [answer(*day) for day in (("AAPL", "2023-12-29"), ("AAPL", "2024-01-08"), ("A", "2024-01-02"))])

    settled, marks = state.checkpoints.settled_hours_and_marks(Symbol("AAPL"), FIRST, LAST)
    known = record_of_aapl(state)

    assert dict(settled) == ({FIRST: known.settled_hours} if known.settled_hours else {})
    assert dict(marks) == ({FIRST.day: mark or NO_MARK} if known.version else {})


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("hours", [NONE, EXTENDED, REGULAR | EARLY])
@pytest.mark.parametrize("wanted", [REGULAR, EXTENDED])
def test_settled_dates_agree_with_the_checkpoints(
    state: IngestionState, outcome: Outcome, hours: SessionHours, wanted: SessionHours
) -> None:
    record(state, [aapl(outcome, hours=hours)])
    record(state, [answer(*day) for day in (("AAPL", "2023-12-29"), ("AAPL", "2024-01-08"), ("A", "2024-01-02"))])

    settled = state.checkpoints.settled_dates(Symbol("AAPL"), FIRST, LAST, wanted)

    assert settled == ({FIRST.day} if record_of_aapl(state).settled_hours.covers(wanted) else set())


def test_spans_are_between_the_first_and_the_last_date_asked_for(state: IngestionState) -> None:
    asked = [("AAPL", "2024-01-03", 390), ("AAPL", "2024-01-08", 0), ("BRK.B", "2024-01-02", 0)]
    record(state, [answer(name, date, COMPLETE if rows else EMPTY, rows) for name, date, rows in asked])

    assert [(str(symbol), *map(str, span)) for symbol, span in state.checkpoints.requested_spans().items()] == [
        ("AAPL", "2024-01-03", "2024-01-08"),
        ("BRK.B", "2024-01-02", "2024-01-02"),
    ]


def test_records_are_those_of_one_symbol_between_the_dates_and_ascend(state: IngestionState) -> None:
    dates = ["2024-01-08", "2024-01-03", "2024-01-05", "2023-12-29", "2024-01-02"]
    record(state, [answer(symbol, date) for symbol in ("A", "AAPL", "AAPLX", "MSFT") for date in dates])

    assert list(map(str, state.checkpoints.between(Symbol("AAPL"), FIRST, LAST))) == [
        "2024-01-02",
        "2024-01-03",
        "2024-01-05",
    ]
    assert list(state.checkpoints.between(Symbol("AAPL"), FIRST, FIRST)) == [FIRST]
    assert list(state.checkpoints.between(Symbol("AAP"), FIRST, LAST)) == []


@pytest.mark.parametrize("symbol", ["BRK.B", "BF-B", "3M", "A"])
def test_every_kind_of_symbol_comes_back(state: IngestionState, symbol: str) -> None:
    record(state, [answer(symbol, "2024-01-02")])

    assert known(state, symbol, "ZZZZ") == {f"{symbol} 2024-01-02"}
    assert [str(found.symbol) for found in state.statistics.summaries()] == [symbol]


@pytest.mark.parametrize("together", [True, False], ids=["in one call", "one by one"])
def test_a_checkpoint_that_covers_the_regular_session_replaces_what_was_known(
    state: IngestionState, together: bool
) -> None:
    newer = aapl(PARTIAL, 10, rejected=1, hours=REGULAR, sha=OTHER_SHA, minutes=TradedMinutes.of(7), known_since=LATER)
    for some in [[aapl(rejected=2), newer]] if together else [[aapl(rejected=2)], [newer]]:
        record(state, some)

    file = RecordedVersion("a mark", LATER, OTHER_SHA)
    assert record_of_aapl(state) == IngestionCheckpoint(PARTIAL, REGULAR, 1, 1, None, 10, file, TradedMinutes.of(7))


@pytest.mark.parametrize("outcome", [COMPLETE, EMPTY])
def test_a_failed_request_withdraws_nothing(state: IngestionState, outcome: Outcome) -> None:
    record(state, [aapl(outcome, 390 if outcome is COMPLETE else 0)])
    before = record_of_aapl(state)

    record(state, [aapl(FAILED, 0)])

    assert record_of_aapl(state) == before


def test_lifetimes_are_between_the_first_and_the_last_stored_bars(state: IngestionState) -> None:
    record(state, [answer("AAPL", f"2024-01-0{date}") for date in (3, 2, 5)])
    record(state, [answer("AAPL", "2024-01-08", Outcome.EMPTY, 0), answer("MSFT", "2024-01-02", Outcome.EMPTY, 0)])

    assert {str(symbol): tuple(map(str, life)) for symbol, life in state.checkpoints.stored_spans().items()} == {
        "AAPL": ("2024-01-02", "2024-01-05")
    }


def test_a_checkpoint_without_a_file_keeps_the_recorded_file(state: IngestionState) -> None:
    record(state, [aapl(PARTIAL)])

    record(state, [aapl(FAILED, 0)])

    assert record_of_aapl(state) == IngestionCheckpoint(
        FAILED, EXTENDED, error="no", rows=390, version=RecordedVersion("a mark", NOW, ONE_SHA)
    )


@pytest.mark.parametrize(
    ("hours", "is_kept"),
    [(EXTENDED, False), (REGULAR, False), (REGULAR | LATE, False), (EARLY, True), (EARLY | LATE, True)],
)
def test_an_empty_day_has_no_file_but_empty_other_hours_do_not_remove_it(
    state: IngestionState, hours: SessionHours, is_kept: bool
) -> None:
    record(state, [aapl(minutes=TradedMinutes.of(7))])

    record(state, [aapl(EMPTY, 0, hours=hours)])

    found = record_of_aapl(state)
    assert (found.version is not None, found.minutes is not None, found.rows) == (is_kept, is_kept, 390 * is_kept)


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ([aapl(EMPTY, 0)], 1),
        ([aapl(EMPTY, 0), aapl(EMPTY, 0)], 2),
        ([aapl(EMPTY, 0), aapl(EMPTY, 0), aapl(EMPTY, 0)], 3),
        ([aapl(EMPTY, 0), aapl(FAILED, 0), aapl(EMPTY, 0)], 2),
        ([aapl(), aapl()], 2),
        ([aapl(), aapl(sha=OTHER_SHA)], 1),
        ([aapl(), aapl(sha=OTHER_SHA), aapl(sha=OTHER_SHA)], 2),
        ([aapl(), aapl(rows=0)], 1),
        ([aapl(rows=0), aapl(rows=0)], 2),
        ([aapl(PARTIAL), aapl(PARTIAL)], 2),
        ([aapl(PARTIAL), aapl(COMPLETE)], 1),
        ([aapl(PARTIAL), aapl(PARTIAL, sha=OTHER_SHA)], 1),
        ([aapl(), aapl(FAILED, 0)], 1),
        ([aapl(), aapl(FAILED, 0), aapl(FAILED, 0)], 1),
        ([aapl(FAILED, sha=ONE_SHA), aapl(FAILED, sha=OTHER_SHA)], 1),
        ([aapl(FAILED, sha=ONE_SHA), aapl(FAILED, sha=ONE_SHA)], 2),
        ([aapl(hours=REGULAR), aapl(hours=EXTENDED)], 2),
    ],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one call", "one by one"])
def test_the_same_answer_is_counted_while_outcome_and_file_stay_the_same(
    state: IngestionState, asked: list[Answer], answers: int, together: bool
) -> None:
    for some in [asked] if together else [[found] for found in asked]:
        record(state, some)

    assert record_of_aapl(state).answers == answers


@pytest.mark.parametrize(
    ("before", "then", "outcome"),
    [
        (aapl(COMPLETE, hours=REGULAR), aapl(COMPLETE, hours=EARLY), COMPLETE),
        (aapl(COMPLETE, hours=REGULAR), aapl(EMPTY, 0, hours=EARLY), COMPLETE),
        (aapl(EMPTY, 0, hours=REGULAR), aapl(COMPLETE, hours=EARLY), COMPLETE),
        (aapl(EMPTY, 0, hours=REGULAR), aapl(EMPTY, 0, hours=EARLY), EMPTY),
    ],
)
def test_other_hours_widen_those_of_a_settled_day(
    state: IngestionState, before: Answer, then: Answer, outcome: Outcome
) -> None:
    record(state, [before])

    record(state, [then])

    assert (record_of_aapl(state).outcome, record_of_aapl(state).settled_hours) == (outcome, REGULAR | EARLY)
    record(state, [(then[0], LATE, then[2])])
    assert (record_of_aapl(state).outcome, record_of_aapl(state).settled_hours) == (outcome, EXTENDED)


def test_both_other_hours_may_widen_a_day_at_once_and_their_rejected_bars_are_added(state: IngestionState) -> None:
    record(state, [aapl(rejected=2, hours=REGULAR)])

    record(state, [aapl(rejected=3, hours=EARLY | LATE)])

    assert (record_of_aapl(state).hours, record_of_aapl(state).rejected) == (EXTENDED, 5)


@pytest.mark.parametrize(
    ("widening", "answers"),
    [
        (aapl(EMPTY, 0, hours=LATE), 2),
        (aapl(COMPLETE, hours=LATE), 2),
        (aapl(COMPLETE, hours=LATE, sha=OTHER_SHA), 2),
    ],
    ids=["no file", "the same file", "another file"],
)
def test_widening_keeps_the_count_of_answers(state: IngestionState, widening: Answer, answers: int) -> None:
    record(state, [aapl(hours=REGULAR), aapl(hours=REGULAR)])

    record(state, [widening])

    assert record_of_aapl(state).answers == answers


@pytest.mark.parametrize(
    ("before", "then"),
    [(COMPLETE, PARTIAL), (COMPLETE, FAILED), (PARTIAL, COMPLETE), (FAILED, COMPLETE), (FAILED, EMPTY)],
)
def test_other_hours_do_not_change_the_day_if_one_of_both_is_not_settled(
    state: IngestionState, before: Outcome, then: Outcome
) -> None:
    record(state, [aapl(before, hours=REGULAR, rejected=2)])
    known_before = record_of_aapl(state)

    record(state, [aapl(then, 0, hours=LATE, rejected=3)])

    assert record_of_aapl(state) == known_before


@pytest.mark.parametrize(("before", "then"), [(COMPLETE, PARTIAL), (FAILED, COMPLETE)])
def test_the_file_of_other_hours_is_recorded_whatever_becomes_of_the_day(
    state: IngestionState, before: Outcome, then: Outcome
) -> None:
    record(state, [aapl(before, hours=REGULAR)])

    record(state, [aapl(then, 500, hours=LATE, sha=OTHER_SHA, minutes=TradedMinutes.of(7), known_since=LATER)])

    found = record_of_aapl(state)
    assert (found.outcome, found.hours, found.rows, found.minutes) == (before, REGULAR, 500, TradedMinutes.of(7))
    assert found.version == RecordedVersion("a mark", LATER, OTHER_SHA)


@pytest.mark.parametrize("outcome", Outcome)
def test_other_hours_of_an_unknown_day_are_recorded_as_they_are(state: IngestionState, outcome: Outcome) -> None:
    record(state, [aapl(outcome, 0, hours=EARLY)])

    assert record_of_aapl(state) == IngestionCheckpoint(outcome, EARLY, error="no" if outcome is FAILED else None)


@pytest.mark.parametrize(
    ("before", "then", "kept"), [(NOW, LATER, LATER), (LATER, NOW, NOW), (None, LATER, LATER), (NOW, None, NOW)]
)
def test_the_same_bytes_are_known_since_the_moment_that_storing_returned(
    state: IngestionState, before: Timestamp | None, then: Timestamp | None, kept: Timestamp
) -> None:
    record(state, [aapl(known_since=before)])

    record(state, [aapl(known_since=then)])

    assert recorded_file(state).known_since == kept


def test_symbols_whose_days_failed_for_a_reason_are_found_by_it(state: IngestionState) -> None:
    record(state, [aapl(), (SymbolDayOutcome(day("MSFT", "2024-01-02"), FAILED, error="no"), EXTENDED, None)])
    assert (state.checkpoints.failed_for("no"), state.checkpoints.failed_for("n")) == ({Symbol("MSFT")}, frozenset())

    state.checkpoints.mark_suspect(Symbol("AAPL"), {TradingDate.parse("2024-01-02"): "no"})
    assert state.checkpoints.failed_for("no") == {Symbol("AAPL"), Symbol("MSFT")}


def test_answers_before_a_day_was_marked_suspect_confirm_nothing(state: IngestionState) -> None:
    for _ in range(3):
        record(state, [aapl()])
    assert record_of_aapl(state).answers == 3

    state.checkpoints.mark_suspect(Symbol("AAPL"), {TradingDate.parse("2024-01-02"): contradiction(1)})

    found = record_of_aapl(state)
    assert (found.outcome, found.answers, found.days) == (FAILED, 1, 1)


def test_other_bytes_are_known_since_they_were_written(state: IngestionState) -> None:
    record(state, [aapl(known_since=LATER)])

    record(state, [aapl(known_since=NOW, sha=OTHER_SHA)])

    assert recorded_file(state) == RecordedVersion("a mark", NOW, OTHER_SHA)


@pytest.mark.parametrize(("sha", "minutes"), [(ONE_SHA, TradedMinutes.of(7)), (OTHER_SHA, None)])
def test_minutes_that_were_noted_are_kept_while_the_bytes_stay_the_same(
    state: IngestionState, sha: str, minutes: TradedMinutes | None
) -> None:
    record(state, [aapl(minutes=TradedMinutes.of(7))])

    record(state, [aapl(minutes=None, sha=sha)])

    assert record_of_aapl(state).minutes == minutes


def test_a_day_that_was_emptied_and_filled_again_knows_its_new_file_only(state: IngestionState) -> None:
    record(state, [aapl(minutes=TradedMinutes.of(7)), aapl(EMPTY, 0), aapl(known_since=LATER)])

    assert record_of_aapl(state) == IngestionCheckpoint(
        COMPLETE, EXTENDED, rows=390, version=RecordedVersion("a mark", LATER, ONE_SHA), minutes=None
    )


SEVERAL_ANSWERS = st.lists(
    st.builds(
        aapl,
        st.sampled_from(Outcome),
        st.sampled_from([0, 390]),
        rejected=st.integers(0, 3),
        hours=st.sampled_from([SessionHours(value) for value in range(1, 8)]),
        sha=st.sampled_from([ONE_SHA, OTHER_SHA]),
        minutes=st.sampled_from([None, TradedMinutes.of(7)]),
        known_since=st.sampled_from([None, NOW, LATER]),
    ),
    min_size=1,
    max_size=6,
)


@given(SEVERAL_ANSWERS)
@examples(60)
def test_all_states_agree_after_any_sequence_of_records(asked: list[Answer]) -> None:
    found = []
    with TemporaryDirectory() as folder:
        for make in STATES.values():
            state = make(Path(folder))
            found.append(_recorded(state, asked))
            state.close()

    assert found[0] == found[1] == found[2]


@given(SEVERAL_ANSWERS)
@examples(30)
def test_both_databases_agree_after_any_sequence_of_records(shared_database: str, asked: list[Answer]) -> None:
    with TemporaryDirectory() as folder, states_in(shared_database) as states:
        sqlite = _on_disk(Path(folder))
        assert _recorded(sqlite, asked) == _recorded(states.open(), asked)
        sqlite.close()


def _recorded(state: IngestionState, answers: list[Answer]) -> tuple[object, ...]:
    record(state, answers)
    quick = state.checkpoints.settled_hours_and_marks(Symbol("AAPL"), FIRST, LAST)
    return record_of_aapl(state), quick, state.statistics.summaries(), state.statistics.typical_volume()


def test_typical_volumes_are_means_by_symbol_over_what_is_stored(state: IngestionState) -> None:
    volumes = {("A", "2024-01-02"): 100, ("A", "2024-01-03"): 300, ("M", "2024-01-02"): 900, ("Z", "2024-01-02"): 600}
    record(state, [answer(symbol, date, rows=rows) for (symbol, date), rows in volumes.items()])
    record(state, [answer("A", "2024-01-04", EMPTY, 0), answer("E", "2024-01-02", EMPTY, 0)])

    assert dict(state.statistics.typical_volumes([Symbol(name) for name in ("Z", "A", "E", "B")])) == {
        Symbol("A"): TypicalVolume(200.0, 19.5, 2),
        Symbol("Z"): TypicalVolume(600.0, 6.5, 1),
    }
    assert dict(state.statistics.typical_volumes([])) == {}


def test_the_typical_volume_is_the_mean_over_all_symbols(state: IngestionState) -> None:
    record(state, [answer("A", "2024-01-02", rows=100), answer("A", "2024-01-03", rows=300)])
    record(state, [answer("M", "2024-01-02", rows=800), answer("E", "2024-01-02", EMPTY, 0)])

    assert state.statistics.typical_volume() == TypicalVolume(400.0, 9.75, 3)


def test_recording_is_all_or_none(state: IngestionState) -> None:
    record(state, [answer("AAPL", "2024-01-02")])

    with pytest.raises(KeyboardInterrupt):
        record(state, _Interrupted([answer("AAPL", "2024-01-03"), answer("MSFT", "2024-01-03")]))

    assert known(state, "AAPL", "MSFT") == {"AAPL 2024-01-02"}
    record(state, [answer("MSFT", "2024-01-04")])
    assert known(state, "AAPL", "MSFT") == {"AAPL 2024-01-02", "MSFT 2024-01-04"}


def test_recording_nothing_is_allowed(state: IngestionState) -> None:
    record(state, [])

    assert list(state.statistics.summaries()) == []


def test_summaries_count_by_symbol(state: IngestionState) -> None:
    record(
        state,
        [
            answer("MSFT", "2024-01-05", rows=7),
            answer("AAPL", "2024-01-02", rows=390, rejected=2),
            answer("AAPL", "2024-01-03", EMPTY, 0),
            answer("AAPL", "2024-01-04", PARTIAL, 10, rejected=1),
            answer("AAPL", "2023-12-29", FAILED, 0),
        ],
    )

    first, last, friday = (TradingDate.parse(date) for date in ("2023-12-29", "2024-01-04", "2024-01-05"))
    assert list(state.statistics.summaries()) == [
        SymbolSummary(Symbol("AAPL"), first, last, 1, 1, 1, 1, bars=400, rejected=3, size_bytes=7800),
        SymbolSummary(Symbol("MSFT"), friday, friday, 1, 0, 0, 0, bars=7, rejected=0, size_bytes=3900),
    ]


def test_the_recorded_files_of_a_symbol_come_with_the_outcome_of_their_day(state: IngestionState) -> None:
    record(
        state,
        [
            answer("AAPL", "2024-01-04", PARTIAL, 10),
            answer("AAPL", "2024-01-02", rows=390),
            answer("AAPL", "2024-01-03", EMPTY, 0),
            answer("MSFT", "2024-01-02", rows=7),
        ],
    )

    found = state.statistics.recorded_files(Symbol("AAPL"))
    assert [(str(date), file.outcome, file.bars) for date, file in found.items()] == [
        *(("2024-01-02", Outcome.COMPLETE, 390), ("2024-01-04", Outcome.PARTIAL, 10))
    ]
    assert {file.size_bytes for file in found.values()} == {3900}


def test_a_job_is_running_until_it_is_closed(state: IngestionState) -> None:
    wanted = scope("AAPL", "MSFT")
    number = state.jobs.open(wanted, NOW)
    assert list(state.jobs.latest(10)) == [
        JobRecord(number, "running", str(NOW), None, 2, wanted.first, wanted.last, planned=0, done=0, failed=0)
    ]

    good = SymbolDayOutcome(day("AAPL", "2024-01-02"), EMPTY)
    bad = SymbolDayOutcome(day("AAPL", "2024-01-03"), FAILED, error="no")
    state.jobs.close(finished_job(number, wanted, good, bad, planned=3), LATER)

    assert list(state.jobs.latest(10)) == [
        JobRecord(number, "failed", str(NOW), str(LATER), 2, wanted.first, wanted.last, planned=3, done=1, failed=1)
    ]


def test_a_job_of_official_days_alone_is_recorded_with_their_number(state: IngestionState) -> None:
    wanted = scope("AAPL")
    job = IngestionJob(state.jobs.open(wanted, NOW), wanted, planned=0)
    job.official = OfficialDaysReport(requested=9, answered=7, failures={day("AAPL", "2024-01-02"): "no"}, left=1)
    job.finish()
    state.jobs.close(job, LATER)
    (record,) = state.jobs.latest(10)
    assert (record.planned, record.done, record.failed) == (9, 7, 1)


def test_jobs_left_running_become_interrupted_when_the_next_one_opens(state: IngestionState) -> None:
    wanted = scope("AAPL")
    completed = state.jobs.open(wanted, NOW)
    state.jobs.close(finished_job(completed, wanted, planned=0), NOW)
    crashed = state.jobs.open(wanted, NOW)

    latest = state.jobs.open(wanted, LATER)

    assert [(job.job_id, job.state, job.finished_at) for job in state.jobs.latest(10)] == [
        (latest, "running", None),
        (crashed, "interrupted", str(NOW)),
        (completed, "completed", str(NOW)),
    ]


def test_a_job_that_was_killed_has_recorded_how_far_it_came(state: IngestionState) -> None:
    crashed = state.jobs.open(scope("AAPL"), NOW, planned=4)
    noted = [answer("AAPL", "2024-01-02"), answer("AAPL", "2024-01-03", FAILED, 0)]
    record(state, noted, crashed, LATER)

    state.jobs.open(scope("AAPL"), LATER.plus(timedelta(hours=1)))

    killed = state.jobs.latest(2)[1]
    assert (killed.planned, killed.done, killed.failed, killed.finished_at) == (4, 1, 1, str(LATER))


def test_interrupted_jobs_are_those_that_were_stopped_and_those_whose_process_is_gone(state: IngestionState) -> None:
    wanted = evolve(scope("AAPL"), session_kind=SessionKind.REGULAR)
    completed, stopped, crashed = (state.jobs.open(wanted, NOW) for _ in range(3))
    state.jobs.close(finished_job(completed, wanted, planned=0), NOW)
    ended = IngestionJob(stopped, wanted, planned=1)
    ended.interrupt()
    state.jobs.close(ended, LATER)

    assert list(state.jobs.interrupted()) == [
        InterruptedJob(number, NOW, wanted.first, wanted.last, SessionKind.REGULAR) for number in (stopped, crashed)
    ]


def test_the_latest_jobs_come_first_and_no_more_than_asked(state: IngestionState) -> None:
    numbers = [state.jobs.open(scope("AAPL"), NOW) for _ in range(5)]

    assert [job.job_id for job in state.jobs.latest(2)] == [numbers[4], numbers[3]]


def test_threads_that_record_at_the_same_time_lose_nothing(state: IngestionState) -> None:
    start = threading.Barrier(4)

    def record_a_symbol(symbol: str) -> None:
        start.wait(60)
        for date in range(2, 6):
            record(state, [answer(symbol, f"2024-01-0{date}", rows=date)])
            state.checkpoints.between(Symbol(symbol), FIRST, LAST)

    threads = [threading.Thread(target=record_a_symbol, args=(name,)) for name in ("A", "B", "C", "D")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [(summary.complete, summary.bars) for summary in state.statistics.summaries()] == [(4, 14)] * 4


def test_a_closed_state_refuses_to_work(state: IngestionState) -> None:
    state.close()

    with pytest.raises(StateError):
        record(state, [answer("AAPL", "2024-01-02")])
    with pytest.raises(StateError):
        state.jobs.latest(1)


class _Interrupted(Sequence[Answer]):
    """Raises KeyboardInterrupt before the last of them, whenever they are iterated."""

    def __init__(self, checkpoints: Sequence[Answer]) -> None:
        self._checkpoints = checkpoints

    def __len__(self) -> int:
        return len(self._checkpoints)

    def __getitem__(self, position: Any) -> Any:
        if position == len(self) - 1:
            raise KeyboardInterrupt
        return self._checkpoints[position]


def test_the_dataset_is_the_one_that_was_bound(state: IngestionState) -> None:
    for kind in (SessionKind.REGULAR, SessionKind.REGULAR, SessionKind.EXTENDED, SessionKind.EXTENDED):
        state.bind_dataset(IDENTITY, kind)

        assert state.dataset() == (IDENTITY, kind)


def test_the_closing_auction_is_the_one_that_was_bound_last(state: IngestionState) -> None:
    assert state.closing_auction() is None
    for minute in (0, 5, None):
        state.bind_dataset(IDENTITY, SessionKind.REGULAR, minute)

        assert state.closing_auction() == minute


@pytest.mark.parametrize("other", [("alpaca", "sip", "raw"), ("alpaca", "iex", "all"), ("synthetic", "iex", "raw")])
@pytest.mark.parametrize("kind", SessionKind)
def test_checkpoints_belong_to_one_dataset(
    state: IngestionState, other: tuple[str, str, str], kind: SessionKind
) -> None:
    state.bind_dataset(IDENTITY, SessionKind.REGULAR)

    with pytest.raises(DatasetMismatchError) as refused:
        state.bind_dataset(DatasetIdentity(*other), kind)

    assert str(IDENTITY) in str(refused.value)
    assert str(DatasetIdentity(*other)) in str(refused.value)
    assert state.dataset() == (IDENTITY, SessionKind.REGULAR)


def test_a_store_of_the_extended_session_takes_no_regular_hours_only(state: IngestionState) -> None:
    state.bind_dataset(IDENTITY, SessionKind.REGULAR)
    state.bind_dataset(IDENTITY, SessionKind.EXTENDED)

    with pytest.raises(DatasetMismatchError, match=r"session extended.*session regular"):
        state.bind_dataset(IDENTITY, SessionKind.REGULAR)

    assert state.dataset() == (IDENTITY, SessionKind.EXTENDED)


@pytest.mark.parametrize(
    ("recorded", "latest", "is_premature"),
    [
        ("2024-01-03T01:15:00Z", "2024-01-03T01:15:00Z", False),
        ("2024-01-03T01:15:00Z", "2024-01-03T01:14:00Z", True),
        ("2024-01-10T21:20:00.500000Z", "2024-01-02T21:20:00Z", True),
        ("2024-01-02T21:00:00Z", "2024-06-01T00:00:00Z", False),
        ("2024-01-02T20:59:59Z", "2024-06-01T00:00:00Z", True),
    ],
)
def test_what_no_right_clock_can_have_recorded_is_premature(
    state: IngestionState, recorded: str, latest: str, is_premature: bool
) -> None:
    settled = [answer("AAPL", "2024-01-02"), answer("MSFT", "2024-01-02", Outcome.EMPTY, 0)]
    others = [answer("AAPL", "2024-01-03", Outcome.PARTIAL), answer("AAPL", "2024-01-04", Outcome.FAILED, 0)]
    state.checkpoints.record(1, Timestamp.parse(recorded), [*settled, *others])

    found = state.checkpoints.premature(Timestamp.parse(latest))

    assert {str(day): str(at) for day, at in found.items()} == {
        name: recorded for name in ("AAPL 2024-01-02", "MSFT 2024-01-02") if is_premature
    }


def test_the_latest_settled_dates_are_those_of_complete_or_empty_days(state: IngestionState) -> None:
    record(state, [answer("AAPL", f"2024-01-0{date}") for date in (2, 3)])
    record(state, [answer("AAPL", "2024-01-04", Outcome.EMPTY, 0), answer("AAPL", "2024-01-05", Outcome.PARTIAL)])
    record(state, [answer("MSFT", "2024-01-02", Outcome.FAILED, 0), answer("Z", "2023-12-29")])

    latest = state.checkpoints.latest_settled()

    assert {str(symbol): str(date) for symbol, date in latest.items()} == {"AAPL": "2024-01-04", "Z": "2023-12-29"}


def test_a_forgotten_symbol_has_no_checkpoint_and_others_keep_theirs(state: IngestionState) -> None:
    record(state, [aapl(), answer("MSFT", "2024-01-02", COMPLETE, 390)])
    state.checkpoints.forget(Symbol("AAPL"))
    assert known(state, "AAPL", "MSFT") == {"MSFT 2024-01-02"}
    assert set(state.checkpoints.requested_spans()) == set(state.checkpoints.stored_spans()) == {Symbol("MSFT")}
    record(state, [aapl(PARTIAL, 10)])
    assert record_of_aapl(state).answers == 1


def test_the_last_run_of_each_kind_and_state_is_kept(state: IngestionState) -> None:
    failed, former, later = (
        RunRecord("update", kind, NOW.plus(timedelta(days=number)), 2.5)
        for number, kind in enumerate(("failed", "completed", "completed"))
    )
    for run in (failed, former, later):
        state.runs.record(run, {}, {})

    assert list(state.runs.latest()) == [later, failed]


def test_what_runs_counted_is_added_up_and_what_they_state_is_replaced(state: IngestionState) -> None:
    errors, unadopted = ("errors_total", ("timeout",)), ("audit_unadopted_symbol_days", ())
    for _ in range(2):
        state.runs.record(RunRecord("audit", "completed", NOW, 1.0), {errors: 2}, {unadopted: 3})
    assert state.runs.totals() == {errors: 4, unadopted: 3}

    state.runs.replace_totals({unadopted: 0})
    assert state.runs.totals() == {errors: 4, unadopted: 0}


def test_answers_of_a_day_that_are_recorded_together_count_like_those_recorded_one_by_one(
    state: IngestionState,
) -> None:
    def answers(symbol: str) -> list[Answer]:
        return [
            answer(symbol, "2024-01-02", COMPLETE, hours=SessionHours.REGULAR),
            answer(symbol, "2024-01-03", COMPLETE),
            answer(symbol, "2024-01-02", EMPTY, 0, hours=SessionHours.EARLY),
            answer(symbol, "2024-01-02", COMPLETE, rejected=1, hours=SessionHours.LATE, sha="cd" * 32),
            answer(symbol, "2024-01-03", EMPTY, 0),
        ]

    record(state, answers("AAPL"))
    for each in answers("MSFT"):
        record(state, [each])

    together, one_by_one = (state.checkpoints.between(Symbol(name), FIRST, LAST) for name in ("AAPL", "MSFT"))
    assert together == one_by_one
    assert [found.outcome for found in together.values()] == [COMPLETE, EMPTY]
