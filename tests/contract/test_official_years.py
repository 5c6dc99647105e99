"""The contract of the port ``OfficialYears``, for the state in SQLite and for the fake in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.store_inventory import RecordedOfficialYear, RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradingDate
from marketpipe.shared_kernel.events import StoredOfficialYear
from tests.simulation.modelled_states import ModelledState
from tests.support.in_memory_ingestion_state import InMemoryIngestionState

NOW = Timestamp.parse("2025-06-02T12:00:00.000123Z")
AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
ONE, OTHER = RecordedVersion("10-20", NOW, "ab" * 32), RecordedVersion("30-40", NOW, "cd" * 32)


STATES: dict[str, Callable[[Path], IngestionState]] = {
    "sqlite": lambda folder: SQLiteState(folder / "s.sqlite", "../data"),
    "simulated": lambda _: ModelledState(),
    "in memory": lambda _: InMemoryIngestionState(),
}


@pytest.fixture(params=[*STATES, "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IngestionState]:
    other = STATES.get(request.param)
    made = other(tmp_path) if other else request.getfixturevalue("postgres_states").open()
    yield made
    made.close()


def days(*dates: str) -> DaysOfYear:
    return DaysOfYear.of(int(dates[0][:4]), map(TradingDate.parse, dates))


def stored(*dates: str, symbol: Symbol = AAPL, **more: Any) -> StoredOfficialYear:
    return StoredOfficialYear(symbol, int(dates[0][:4]), days(*dates), **more)


def test_what_was_recorded_comes_back_by_year(state: IngestionState) -> None:
    first, last = stored("2023-12-29"), stored("2024-01-02", "2024-12-31", version=ONE)
    state.official_years.record(NOW, [last, first])
    expected = {
        2023: RecordedOfficialYear(days("2023-12-29")),
        2024: RecordedOfficialYear(days("2024-01-02", "2024-12-31"), ONE),
    }
    assert list(state.official_years.years(AAPL, 2000, 2030).items()) == list(expected.items())
    assert list(state.official_years.years(AAPL, 2024, 2024)) == [2024]
    assert state.official_years.years(MSFT, 2000, 2030) == {}
    assert state.official_years.symbols() == {AAPL}


def test_answered_days_are_added_and_the_version_is_the_last_one(state: IngestionState) -> None:
    state.official_years.record(NOW, [stored("2024-01-02", version=ONE)])
    state.official_years.record(NOW, [stored("2024-01-03", version=OTHER)])
    found = state.official_years.years(AAPL, 2024, 2024)[2024]
    assert found == RecordedOfficialYear(days("2024-01-02", "2024-01-03"), OTHER)


def test_days_of_a_lost_file_are_replaced(state: IngestionState) -> None:
    state.official_years.record(NOW, [stored("2024-01-02", version=ONE)])
    state.official_years.record(NOW, [stored("2024-01-03", version=OTHER, replaces=True)])
    assert state.official_years.years(AAPL, 2024, 2024)[2024] == RecordedOfficialYear(days("2024-01-03"), OTHER)


def test_a_year_that_could_not_be_stored_stays_as_it_was(state: IngestionState) -> None:
    state.official_years.record(NOW, [stored("2024-01-02", version=ONE)])
    failed = [stored("2024-01-03", error="full"), stored("2024-01-03", symbol=MSFT, error="full")]
    state.official_years.record(NOW, failed)
    assert state.official_years.years(AAPL, 2024, 2024)[2024] == RecordedOfficialYear(days("2024-01-02"), ONE)
    assert state.official_years.symbols() == {AAPL}


def test_a_symbol_can_be_forgotten(state: IngestionState) -> None:
    state.official_years.record(NOW, [stored("2023-01-03"), stored("2024-01-02"), stored("2024-01-02", symbol=MSFT)])
    state.official_years.forget(AAPL)
    assert state.official_years.years(AAPL, 2000, 2030) == {}
    assert state.official_years.symbols() == {MSFT}


@pytest.mark.parametrize("date", ["2024-12-31", "2023-12-31", "2024-02-29", "0001-01-01", "9999-12-31"])
def test_any_day_of_a_year_is_kept(state: IngestionState, date: str) -> None:
    state.official_years.record(NOW, [stored(date)])
    (found,) = state.official_years.years(AAPL, 1, 9999).values()
    assert [str(each) for each in found.answered.dates] == [date]


def test_days_that_a_year_does_not_have_are_a_damaged_state(tmp_path: Path) -> None:
    state = SQLiteState(tmp_path / "s.sqlite", "../data")
    state.official_years.record(NOW, [stored("2023-12-31")])
    with state._database.transaction() as connection:
        connection.execute("UPDATE official_years SET answered = ?", (b"\xff" * 46,))
    with pytest.raises(StateError, match="no day 368"):
        state.official_years.years(AAPL, 2023, 2023)
    state.close()


def test_days_that_are_reopened_are_no_longer_answered_and_the_version_stays(state: IngestionState) -> None:
    both = [stored("2023-01-03", "2023-12-29"), stored("2024-01-02", "2024-01-03", version=ONE)]
    state.official_years.record(NOW, [*both, stored("2024-01-02", symbol=MSFT)])
    state.official_years.reopen(AAPL, [TradingDate.parse(text) for text in ("2023-01-03", "2024-01-02", "2025-01-02")])
    assert state.official_years.years(AAPL, 2000, 2030) == {
        2023: RecordedOfficialYear(days("2023-12-29")),
        2024: RecordedOfficialYear(days("2024-01-03"), ONE),
    }
    assert state.official_years.years(MSFT, 2024, 2024)[2024] == RecordedOfficialYear(days("2024-01-02"))


def test_the_only_day_of_a_year_can_be_reopened_and_answered_again(state: IngestionState) -> None:
    state.official_years.record(NOW, [stored("2024-01-02", version=ONE)])
    state.official_years.reopen(AAPL, [TradingDate.parse("2024-01-02")])
    assert state.official_years.years(AAPL, 2024, 2024)[2024] == RecordedOfficialYear(DaysOfYear(2024), ONE)
    state.official_years.record(NOW, [stored("2024-01-02", version=OTHER)])
    assert state.official_years.years(AAPL, 2024, 2024)[2024] == RecordedOfficialYear(days("2024-01-02"), OTHER)
