"""What every ``IngestionState`` does: the one in SQLite, and the tests' own in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import IngestionJob
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.store_summary import JobRecord, SymbolSummary
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from tests.support.builders import day, request
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import checkpoint
from tests.support.in_memory_ingestion_state import InMemoryIngestionState

LATER = NOW.plus(timedelta(seconds=1.5))
REGULAR, EXTENDED = SessionKind.REGULAR, SessionKind.EXTENDED


def _on_disk(folder: Path) -> IngestionState:
    return SQLiteState(folder / "state" / "marketpipe.sqlite", "../data")


STATES: dict[str, Callable[[Path], IngestionState]] = {
    "sqlite": _on_disk,
    "in memory": lambda _: InMemoryIngestionState(),
}


@pytest.fixture(params=list(STATES))
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IngestionState]:
    made = STATES[request.param](tmp_path)
    yield made
    made.close()


def scope(*symbols: str, kind: SessionKind = EXTENDED, first: str = "2024-01-02") -> IngestionScope:
    return IngestionScope(symbols, TradingDate.parse(first), TradingDate.parse("2024-01-05"), kind)


def settled(state: IngestionState, *symbols: str, **changes: Any) -> set[str]:
    found = state.settled(scope(*symbols, **changes))
    return {f"{symbol} {date}" for symbol, dates in found.items() for date in dates}


def finished_job(job_id: int, wanted: IngestionScope, *outcomes: SymbolDayOutcome, planned: int) -> IngestionJob:
    job = IngestionJob(job_id, wanted, planned=planned)
    job.start()
    job.absorb(outcomes)
    job.finish()
    return job


def test_a_new_state_knows_nothing(state: IngestionState) -> None:
    assert settled(state, "AAPL") == set()
    assert dict(state.stored_bars(request(["AAPL"], "2024-01-02", "2024-01-05"))) == {}
    assert state.typical_bars_per_day([Symbol("AAPL")]) is None
    assert list(state.summaries()) == []
    assert list(state.jobs(10)) == []


@pytest.mark.parametrize("outcome", Outcome)
def test_only_complete_and_empty_days_are_settled(state: IngestionState, outcome: Outcome) -> None:
    state.record([checkpoint("AAPL", "2024-01-02", outcome)])

    expected = {"AAPL 2024-01-02"} if outcome in (Outcome.COMPLETE, Outcome.EMPTY) else set()
    assert settled(state, "AAPL") == expected


@pytest.mark.parametrize(
    ("known", "wanted", "is_settled"),
    [
        (EXTENDED, EXTENDED, True),
        (EXTENDED, REGULAR, True),
        (REGULAR, REGULAR, True),
        (REGULAR, EXTENDED, False),
    ],
)
def test_extended_hours_settle_regular_ones_but_not_the_other_way_round(
    state: IngestionState, known: SessionKind, wanted: SessionKind, is_settled: bool
) -> None:
    state.record([checkpoint("AAPL", "2024-01-02", kind=known)])

    assert settled(state, "AAPL", kind=wanted) == ({"AAPL 2024-01-02"} if is_settled else set())


def test_settled_days_are_those_of_the_scope(state: IngestionState) -> None:
    dates = ["2023-12-29", "2024-01-02", "2024-01-05", "2024-01-08"]
    state.record([checkpoint(symbol, date) for symbol in ("A", "AAPL", "MSFT", "Z") for date in dates])

    assert settled(state, "AAPL", "Z") == {
        f"{symbol} {date}" for symbol in ("AAPL", "Z") for date in ("2024-01-02", "2024-01-05")
    }


@pytest.mark.parametrize("symbol", ["BRK.B", "BF-B", "3M", "A"])
def test_every_kind_of_symbol_comes_back(state: IngestionState, symbol: str) -> None:
    state.record([checkpoint(symbol, "2024-01-02")])

    assert settled(state, symbol, "ZZZZ") == {f"{symbol} 2024-01-02"}


def test_the_latest_checkpoint_of_a_day_counts(state: IngestionState) -> None:
    state.record([checkpoint("AAPL", "2024-01-02", Outcome.PARTIAL, 10)])
    state.record([checkpoint("AAPL", "2024-01-02", Outcome.COMPLETE, 390)])
    state.record([checkpoint("MSFT", "2024-01-02", Outcome.COMPLETE, 390)])
    state.record([checkpoint("MSFT", "2024-01-02", Outcome.FAILED, 0)])

    assert settled(state, "AAPL", "MSFT") == {"AAPL 2024-01-02"}


def test_a_checkpoint_without_a_file_leaves_the_known_file_alone(state: IngestionState) -> None:
    asked = request(["AAPL"], "2024-01-02", "2024-01-03")
    state.record([checkpoint("AAPL", "2024-01-02", rows=390)])

    state.record([checkpoint("AAPL", "2024-01-02", Outcome.FAILED, 0)])

    assert dict(state.stored_bars(asked)) == {day("AAPL", "2024-01-02"): 390}


def test_stored_bars_are_those_of_the_request(state: IngestionState) -> None:
    days = [checkpoint(symbol, date) for symbol in ("A", "M", "Z") for date in ("2024-01-02", "2024-01-03")]
    state.record([*days, checkpoint("A", "2024-01-04"), checkpoint("Z", "2024-01-04", Outcome.EMPTY, 0)])

    found = state.stored_bars(request(["A", "Z"], "2024-01-03", "2024-01-04"))

    assert dict(found) == {day("A", "2024-01-03"): 390, day("A", "2024-01-04"): 390, day("Z", "2024-01-03"): 390}


def test_typical_bars_are_the_mean_over_these_symbols_and_no_others(state: IngestionState) -> None:
    volumes = {("A", "2024-01-02"): 100, ("A", "2024-01-03"): 200, ("M", "2024-01-02"): 900, ("Z", "2024-01-02"): 600}
    state.record([checkpoint(symbol, date, rows=rows) for (symbol, date), rows in volumes.items()])

    assert state.typical_bars_per_day([Symbol("A"), Symbol("Z"), Symbol("B")]) == 300.0
    assert state.typical_bars_per_day([Symbol("M")]) == 900.0
    assert state.typical_bars_per_day([Symbol("B")]) is None


def test_recording_is_all_or_none(state: IngestionState) -> None:
    state.record([checkpoint("AAPL", "2024-01-02")])

    with pytest.raises(KeyboardInterrupt):
        state.record(_Interrupted([checkpoint("AAPL", "2024-01-03"), checkpoint("MSFT", "2024-01-03")]))

    assert settled(state, "AAPL", "MSFT") == {"AAPL 2024-01-02"}
    state.record([checkpoint("MSFT", "2024-01-04")])
    assert settled(state, "AAPL", "MSFT") == {"AAPL 2024-01-02", "MSFT 2024-01-04"}


def test_recording_nothing_is_allowed(state: IngestionState) -> None:
    state.record([])

    assert list(state.summaries()) == []


def test_summaries_count_by_symbol(state: IngestionState) -> None:
    state.record(
        [
            checkpoint("MSFT", "2024-01-05", rows=7),
            checkpoint("AAPL", "2024-01-02", rows=390, rejected=2),
            checkpoint("AAPL", "2024-01-03", Outcome.EMPTY, 0),
            checkpoint("AAPL", "2024-01-04", Outcome.PARTIAL, 10, rejected=1),
            checkpoint("AAPL", "2023-12-29", Outcome.FAILED, 0),
        ]
    )

    first, last, friday = (TradingDate.parse(date) for date in ("2023-12-29", "2024-01-04", "2024-01-05"))
    assert list(state.summaries()) == [
        SymbolSummary(Symbol("AAPL"), first, last, 1, 1, 1, 1, bars=400, rejected=3, size_bytes=7800),
        SymbolSummary(Symbol("MSFT"), friday, friday, 1, 0, 0, 0, bars=7, rejected=0, size_bytes=3900),
    ]


def test_a_job_is_running_until_it_is_closed(state: IngestionState) -> None:
    wanted = scope("AAPL", "MSFT")
    number = state.open_job(wanted, NOW)
    assert list(state.jobs(10)) == [
        JobRecord(number, "running", str(NOW), None, 2, wanted.first, wanted.last, planned=0, done=0, failed=0)
    ]

    good = SymbolDayOutcome(day("AAPL", "2024-01-02"), Outcome.EMPTY)
    bad = SymbolDayOutcome(day("AAPL", "2024-01-03"), Outcome.FAILED, error="no")
    state.close_job(finished_job(number, wanted, good, bad, planned=3), LATER)

    assert list(state.jobs(10)) == [
        JobRecord(number, "failed", str(NOW), str(LATER), 2, wanted.first, wanted.last, planned=3, done=1, failed=1)
    ]


def test_jobs_left_running_become_interrupted_when_the_next_one_opens(state: IngestionState) -> None:
    wanted = scope("AAPL")
    completed = state.open_job(wanted, NOW)
    state.close_job(finished_job(completed, wanted, planned=0), NOW)
    crashed = state.open_job(wanted, NOW)

    latest = state.open_job(wanted, LATER)

    assert [(job.job_id, job.state, job.finished_at) for job in state.jobs(10)] == [
        (latest, "running", None),
        (crashed, "interrupted", str(NOW)),
        (completed, "completed", str(NOW)),
    ]


def test_a_job_that_was_killed_has_left_word_of_how_far_it_came(state: IngestionState) -> None:
    crashed = state.open_job(scope("AAPL"), NOW, planned=4)
    noted = [checkpoint("AAPL", "2024-01-02"), checkpoint("AAPL", "2024-01-03", Outcome.FAILED, 0)]
    state.record([evolve(found, job_id=crashed, checked_at=LATER) for found in noted])

    state.open_job(scope("AAPL"), LATER.plus(timedelta(hours=1)))

    killed = state.jobs(2)[1]
    assert (killed.planned, killed.done, killed.failed, killed.finished_at) == (4, 1, 1, str(LATER))


def test_the_latest_jobs_come_first_and_no_more_than_asked(state: IngestionState) -> None:
    numbers = [state.open_job(scope("AAPL"), NOW) for _ in range(5)]

    assert [job.job_id for job in state.jobs(2)] == [numbers[4], numbers[3]]


def test_threads_that_record_at_the_same_time_lose_nothing(state: IngestionState) -> None:
    start = threading.Barrier(4)

    def record_a_symbol(symbol: str) -> None:
        start.wait(10)
        for date in range(2, 6):
            state.record([checkpoint(symbol, f"2024-01-0{date}", rows=date)])
            state.settled(scope(symbol))

    threads = [threading.Thread(target=record_a_symbol, args=(name,)) for name in ("A", "B", "C", "D")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [(summary.complete, summary.bars) for summary in state.summaries()] == [(4, 14)] * 4


def test_a_closed_state_refuses_to_work(state: IngestionState) -> None:
    state.close()

    with pytest.raises(StateError):
        state.record([checkpoint("AAPL", "2024-01-02")])
    with pytest.raises(StateError):
        state.jobs(1)


class _Interrupted(Sequence[IngestionCheckpoint]):
    """Somebody presses Ctrl-C before the last of them, whenever they are gone through."""

    def __init__(self, checkpoints: Sequence[IngestionCheckpoint]) -> None:
        self._checkpoints = checkpoints

    def __len__(self) -> int:
        return len(self._checkpoints)

    def __getitem__(self, position: Any) -> Any:
        if position == len(self) - 1:
            raise KeyboardInterrupt
        return self._checkpoints[position]


def test_recorded_sizes_are_those_of_the_files_in_the_scope(state: IngestionState) -> None:
    state.record([checkpoint("AAPL", date) for date in ("2023-12-29", "2024-01-02", "2024-01-03")])
    state.record([checkpoint("ABC", "2024-01-02"), checkpoint("MSFT", "2024-01-02")])

    scope = IngestionScope(("AAPL", "MSFT", "Z"), TradingDate.parse("2024-01-01"), TradingDate.parse("2024-01-31"))
    recorded = state.recorded_sizes(scope)

    assert {f"{symbol} {day}" for symbol, sizes in recorded.items() for day in sizes} == {
        "AAPL 2024-01-02",
        "AAPL 2024-01-03",
        "MSFT 2024-01-02",
    }
    assert all(size > 0 for sizes in recorded.values() for size in sizes.values())


def test_checkpoints_belong_to_one_dataset(state: IngestionState) -> None:
    identity = DatasetIdentity("alpaca", "iex", "raw")
    state.claim(identity)
    state.claim(identity)

    for other in (("alpaca", "sip", "raw"), ("alpaca", "iex", "all"), ("synthetic", "iex", "raw")):
        with pytest.raises(DatasetMismatchError) as refused:
            state.claim(DatasetIdentity(*other))
        assert str(identity) in str(refused.value)
        assert str(DatasetIdentity(*other)) in str(refused.value)
