"""What every ``VersionRegister`` returns, whatever the state below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.application.recovery import RecordedVersions
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.store_inventory import VersionRegister
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.trading_date import DISTANT_FUTURE, DISTANT_PAST, TradingDate
from tests.simulation.modelled_states import ModelledState
from tests.support.checkpoints import answer, record
from tests.support.in_memory_ingestion_state import InMemoryIngestionState

AAPL = Symbol("AAPL")
DATES = ("2024-01-02", "2024-01-03", "2024-01-04")


STATES: dict[str, Callable[[Path], IngestionState]] = {
    "sqlite": lambda folder: SQLiteState(folder / "marketpipe.sqlite", "data"),
    "simulated": lambda _: ModelledState("data"),
    "in memory": lambda _: InMemoryIngestionState(),
}


@pytest.fixture(params=[*STATES, "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IngestionState]:
    other = STATES.get(request.param)
    made = other(tmp_path) if other else request.getfixturevalue("postgres_states").open()
    record(made, [answer("AAPL", date) for date in DATES])
    record(made, [answer("MSFT", DATES[0], Outcome.EMPTY, 0)])
    yield made
    made.close()


@pytest.fixture
def register(state: IngestionState) -> VersionRegister:
    return RecordedVersions(state.checkpoints)


def dates(register: VersionRegister, first: str, last: str) -> list[str]:
    return [str(date) for date in register.versions(AAPL, TradingDate.parse(first), TradingDate.parse(last))]


def known(state: IngestionState, date: str) -> IngestionCheckpoint:
    day = TradingDate.parse(date)
    return state.checkpoints.between(AAPL, day, day)[day]


def test_it_knows_every_symbol_with_a_checkpoint(register: VersionRegister) -> None:
    assert register.symbols() == {AAPL, Symbol("MSFT")}


def test_it_returns_the_versions_between_the_dates_both_inclusive(register: VersionRegister) -> None:
    assert dates(register, "2024-01-01", "2024-01-31") == list(DATES)
    assert dates(register, DATES[1], DATES[1]) == [DATES[1]]
    assert register.versions(Symbol("MSFT"), DISTANT_PAST, DISTANT_FUTURE) == {}


def test_a_suspect_day_is_requested_again_and_its_version_stays_recorded(
    state: IngestionState, register: VersionRegister
) -> None:
    before = known(state, DATES[1])

    register.mark_suspect(AAPL, {TradingDate.parse(DATES[1]): "it rotted"})

    after = known(state, DATES[1])
    assert (after.outcome, after.error, after.settled_hours.value) == (Outcome.FAILED, "it rotted", 0)
    assert (after.version, after.minutes, after.hours) == (before.version, before.minutes, before.hours)
    assert known(state, DATES[0]).outcome is Outcome.COMPLETE


def test_marking_a_day_suspect_again_changes_nothing(state: IngestionState, register: VersionRegister) -> None:
    register.mark_suspect(AAPL, {TradingDate.parse(DATES[1]): "it rotted"})
    once = known(state, DATES[1])

    register.mark_suspect(AAPL, {TradingDate.parse(DATES[1]): "it rotted again"})

    assert known(state, DATES[1]) == once


def test_a_day_without_a_record_cannot_be_marked_suspect(state: IngestionState, register: VersionRegister) -> None:
    register.mark_suspect(AAPL, {TradingDate.parse("2024-01-05"): "it rotted"})

    assert dates(register, "2024-01-01", "2024-01-31") == list(DATES)
