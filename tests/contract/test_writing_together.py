"""The contract of ``together()``: what a thread records inside is one transaction, in each database of the state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresState
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import StateError, StorageError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate
from tests.simulation.modelled_states import STATE, ModelledComputer
from tests.support.builders import day
from tests.support.checkpoints import CHECKED_AT as NOW
from tests.support.checkpoints import answer, record
from tests.support.postgres_states import PostgresStates

AnyState = SQLiteState | PostgresState
MONDAY, LATER = day("AAPL", "2024-01-02"), NOW.plus(timedelta(minutes=10))
Two = tuple[AnyState, AnyState]


def _on_disk(folder: Path) -> Iterator[Two]:
    one, other = (SQLiteState(folder / "marketpipe.sqlite", "../data") for _ in range(2))
    yield one, other
    one.close()
    other.close()


def _simulated(_: Path) -> Iterator[Two]:
    computer = ModelledComputer()
    one, other = (SQLiteState(STATE, "../data", machine=computer.process()[0]) for _ in range(2))
    yield one, other
    one.close()
    other.close()
    computer.close()


@pytest.fixture(params=[_on_disk, _simulated, "postgresql"])
def states(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    """Two processes that have the same state open."""
    if request.param == "postgresql":
        states: PostgresStates = request.getfixturevalue("postgres_states")
        location = states.new_location()
        yield states.open(location), states.open(location)
    else:
        yield from request.param(tmp_path)


def known(state: AnyState) -> list[str]:
    span = TradingDate.parse("2024-01-01"), TradingDate.parse("2024-01-31")
    return [str(date) for date in state.checkpoints.between(Symbol("AAPL"), *span)]


def record_two_roles(state: AnyState) -> None:
    record(state, [answer("AAPL", "2024-01-02")])
    state.file_digests.expect({"revisions/a.parquet": "ab" * 32})


def carry_out_together(state: AnyState, *acts: Callable[[AnyState], object]) -> None:
    with state.together():
        for act in acts:
            act(state)


def test_what_is_recorded_together_appears_at_once(states: Two) -> None:
    one, other = states
    with one.together():
        record_two_roles(one)
        assert (known(other), other.file_digests.below("revisions/")) == ([], {})

    assert known(other) == known(one) == ["2024-01-02"]
    assert list(other.file_digests.below("revisions/")) == ["revisions/a.parquet"]


def _by_the_caller(state: AnyState) -> None:
    raise StorageError("the object could not be stored")


def _by_the_state(state: AnyState) -> None:
    state._database.query("SELECT no_column FROM stores", ())


@pytest.mark.parametrize(("fail", "error"), [(_by_the_caller, StorageError), (_by_the_state, StateError)])
def test_an_error_leaves_nothing_of_what_was_recorded_together(
    states: Two, fail: Callable[[AnyState], None], error: type[Exception]
) -> None:
    one, other = states
    with pytest.raises(error) as raised:
        carry_out_together(one, record_two_roles, fail)

    assert str(raised.value).count("the state ") == (error is StateError)
    assert (known(one), known(other), other.file_digests.below("revisions/")) == ([], [], {})
    record_two_roles(one)
    assert known(other) == ["2024-01-02"]


def test_a_context_inside_another_belongs_to_it(states: Two) -> None:
    one, other = states
    with one.together():
        with one.together():
            record_two_roles(one)
        assert known(other) == []
    assert known(other) == ["2024-01-02"]


def test_what_another_thread_records_meanwhile_is_a_transaction_of_its_own(states: Two) -> None:
    one, other = states
    thread = threading.Thread(target=record, args=(one, [answer("AAPL", "2024-01-03")]))
    with pytest.raises(StorageError):
        carry_out_together(one, record_two_roles, lambda _: thread.start(), _by_the_caller)
    thread.join()

    assert known(other) == ["2024-01-03"]


def test_a_lease_is_pinned_in_the_same_transaction(states: Two) -> None:
    one, other = states
    lease = one.leases.take({MONDAY: SessionHours.EXTENDED}, None, NOW, LATER).lease
    with pytest.raises(StorageError):
        carry_out_together(one, lambda state: state.leases.pin(lease, LATER), _by_the_caller)

    assert other.leases.being_written([MONDAY]) == set()
    with one.together():
        assert one.leases.pin(lease, LATER)
    assert other.leases.being_written([MONDAY]) == {MONDAY}
    one.leases.release(lease)
    with one.together():
        assert not one.leases.pin(lease, LATER)
