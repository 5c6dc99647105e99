from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.ingestion_job import IngestionJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.builders import day

SCOPE = IngestionScope(["AAPL", "MSFT"], TradingDate.parse("2024-01-02"), TradingDate.parse("2024-01-05"))
DAYS = [day("AAPL", f"2024-01-0{number}") for number in (2, 3, 4, 5)]

MOVES: dict[str, Callable[[IngestionJob], None]] = {
    "finish": IngestionJob.finish,
    "interrupt": IngestionJob.interrupt,
}
WAYS: dict[str, tuple[str, ...]] = {"running": (), "completed": ("finish",), "interrupted": ("interrupt",)}


def job(planned: int = 0) -> IngestionJob:
    return IngestionJob(7, SCOPE, planned=planned)


def brought_to(state: str) -> IngestionJob:
    if state == "failed":
        brought = job(planned=1)
        brought.finish()
    else:
        brought = job()
        for move in WAYS[state]:
            MOVES[move](brought)
    assert str(brought.state) == state
    return brought


def outcome(number: int, kind: Outcome) -> SymbolDayOutcome:
    return SymbolDayOutcome(DAYS[number], kind, error="broken" if kind is Outcome.FAILED else None)


@pytest.mark.parametrize("state", [str(state) for state in JobState])
@pytest.mark.parametrize("move", MOVES)
def test_every_move_that_is_not_legal_is_refused_and_changes_nothing(state: str, move: str) -> None:
    subject = brought_to(state)
    if state == "running":
        MOVES[move](subject)
        assert str(subject.state) != state
    else:
        with pytest.raises(StateError, match=f"job 7 cannot go from {state} to "):
            MOVES[move](subject)
        assert str(subject.state) == state


@pytest.mark.parametrize("state", ["completed", "failed", "interrupted"])
def test_a_job_that_does_not_run_takes_no_outcomes(state: str) -> None:
    subject = brought_to(state)

    with pytest.raises(StateError, match=f"job 7 is {state} and takes no more outcomes"):
        subject.absorb([outcome(0, Outcome.COMPLETE)])

    assert dict(subject.outcomes) == {}


def test_a_job_completes_when_every_planned_symbol_day_is_known() -> None:
    subject = job(planned=3)
    subject.absorb([outcome(0, Outcome.COMPLETE), outcome(1, Outcome.EMPTY)])
    subject.absorb([outcome(2, Outcome.PARTIAL)])

    subject.finish()

    assert subject.state is JobState.COMPLETED
    assert dict(subject.counts) == {Outcome.COMPLETE: 1, Outcome.EMPTY: 1, Outcome.PARTIAL: 1}


def test_one_failed_symbol_day_fails_the_job() -> None:
    subject = job(planned=2)
    subject.absorb([outcome(0, Outcome.COMPLETE), outcome(1, Outcome.FAILED)])

    subject.finish()

    assert subject.state is JobState.FAILED


def test_a_symbol_day_without_an_answer_fails_the_job() -> None:
    subject = job(planned=2)
    subject.absorb([outcome(0, Outcome.COMPLETE)])

    subject.finish()

    assert subject.state is JobState.FAILED


@pytest.mark.parametrize("parts", [(Outcome.FAILED, Outcome.COMPLETE), (Outcome.COMPLETE, Outcome.FAILED)])
def test_a_symbol_day_asked_for_in_two_parts_has_failed_where_one_has(parts: tuple[Outcome, Outcome]) -> None:
    subject = job(planned=2)
    for part in parts:
        subject.absorb([outcome(0, part)])

    assert subject.left == 0
    subject.finish()

    assert subject.state is JobState.FAILED
    assert dict(subject.counts) == {Outcome.FAILED: 1}


def test_outcomes_cannot_be_changed_from_outside() -> None:
    subject = job(planned=1)

    with pytest.raises(TypeError):
        subject.outcomes[DAYS[0]] = outcome(0, Outcome.COMPLETE)  # type: ignore[index]


@given(kinds=st.lists(st.sampled_from(Outcome), max_size=4), planned=st.integers(0, 4))
def test_completed_means_that_all_is_known_and_none_has_failed(kinds: list[Outcome], planned: int) -> None:
    subject = job(planned=planned)
    subject.absorb(outcome(number, kind) for number, kind in enumerate(kinds))

    subject.finish()

    whole = len(kinds) >= planned and Outcome.FAILED not in kinds
    assert subject.state is (JobState.COMPLETED if whole else JobState.FAILED)
