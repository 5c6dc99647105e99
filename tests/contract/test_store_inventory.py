"""The contract of the port ``StoreInventory``, for the one that lists folders and for the fake that other tests use."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.shared_kernel.domain.store_inventory import VersionCondition
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from tests.support.builders import day
from tests.support.inventories import Harness, InMemory, OnDisk, Recorded

DATES = ("2023-12-29", "2024-01-02", "2024-01-31", "2024-02-01")
ALL = ("2023-01-01", "2024-12-31")
GONE, ALTERED, UNRECORDED, _ = VersionCondition


@pytest.fixture(params=["files", "in_memory"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    made: Harness = OnDisk(tmp_path) if request.param == "files" else InMemory()
    made.store(*(day("AAPL", date) for date in DATES))
    return made


def bounds(first: str, last: str) -> tuple[TradingDate, TradingDate]:
    return TradingDate.parse(first), TradingDate.parse(last)


def dates(harness: Harness, first: str, last: str, symbol: str = "AAPL") -> set[str]:
    return {str(date) for date in harness.inventory.dates(Symbol(symbol), *bounds(first, last))}


def conditions(
    harness: Harness, first: str, last: str, recorded: Recorded | None = None, symbol: str = "AAPL"
) -> dict[str, VersionCondition]:
    known = harness.recorded(symbol) if recorded is None else recorded
    found = harness.inventory.conditions(Symbol(symbol), *bounds(first, last), known)
    return {str(date): condition for date, condition in found.items()}


def stale(harness: Harness, first: str, last: str, symbol: str = "AAPL") -> dict[str, tuple[str, ...]]:
    found = harness.inventory.stale_aggregates(Symbol(symbol), *bounds(first, last))
    return {str(date): timeframes for date, timeframes in found.items()}


def test_the_dates_are_those_that_have_a_file(harness: Harness) -> None:
    assert dates(harness, *ALL) == set(DATES)
    assert dates(harness, *ALL, "MSFT") == set()


def test_both_bounds_are_inclusive(harness: Harness) -> None:
    assert dates(harness, "2024-01-02", "2024-01-31") == {"2024-01-02", "2024-01-31"}
    assert dates(harness, "2024-01-03", "2024-01-30") == set()
    assert set(conditions(harness, "2024-01-02", "2024-01-31", {})) == {"2024-01-02", "2024-01-31"}
    assert conditions(harness, "2024-01-03", "2024-01-30", {}) == {}


def test_there_is_nothing_between_dates_in_the_wrong_order(harness: Harness) -> None:
    assert dates(harness, "2024-02-01", "2024-01-01") == set()
    assert conditions(harness, "2024-02-01", "2024-01-01") == {}
    assert stale(harness, "2024-02-01", "2024-01-01") == {}


def test_files_that_are_as_they_were_recorded_have_no_condition(harness: Harness) -> None:
    assert conditions(harness, *ALL) == {}


def is_marked_as_recorded(harness: Harness, first: str, last: str) -> bool:
    start, end = bounds(first, last)
    recorded = {date: file for date, file in harness.recorded().items() if start <= date <= end}
    return harness.inventory.marks(Symbol("AAPL"), start, end) == {
        date.day: file.mark for date, file in recorded.items()
    }


@pytest.mark.parametrize(("first", "last"), [ALL, ("2024-01-02", "2024-01-31"), ("2024-01-03", "2024-01-30")])
def test_marks_are_the_recorded_ones_until_a_file_changes(harness: Harness, first: str, last: str) -> None:
    assert is_marked_as_recorded(harness, first, last)
    assert harness.inventory.marks(Symbol("MSFT"), *bounds(*ALL)) == {}

    harness.leave(day("AAPL", "2024-01-17"))
    assert not is_marked_as_recorded(harness, first, last)


@pytest.mark.parametrize("happened", ["lose", "alter"])
def test_the_mark_of_a_lost_or_changed_file_is_not_the_recorded_one(harness: Harness, happened: str) -> None:
    getattr(harness, happened)(day("AAPL", "2024-01-31"))

    assert not is_marked_as_recorded(harness, *ALL)
    assert is_marked_as_recorded(harness, "2023-12-01", "2024-01-30")


def test_a_file_that_was_taken_away_is_gone(harness: Harness) -> None:
    harness.lose(day("AAPL", "2024-01-31"))

    assert conditions(harness, *ALL) == {"2024-01-31": GONE}
    assert "2024-01-31" not in dates(harness, *ALL)


def test_a_file_with_other_bytes_is_altered_and_still_there(harness: Harness) -> None:
    harness.alter(day("AAPL", "2024-01-31"))

    assert conditions(harness, *ALL) == {"2024-01-31": ALTERED}
    assert "2024-01-31" in dates(harness, *ALL)


def test_a_file_without_a_record_is_unrecorded(harness: Harness) -> None:
    harness.leave(day("AAPL", "2024-03-04"))

    assert conditions(harness, *ALL) == {"2024-03-04": UNRECORDED}
    assert "2024-03-04" in dates(harness, *ALL)


def test_a_symbol_without_a_record_may_have_files(harness: Harness) -> None:
    harness.leave(day("MSFT", "2024-01-02"))

    assert conditions(harness, *ALL, symbol="MSFT") == {"2024-01-02": UNRECORDED}
    assert conditions(harness, *ALL) == {}


def test_what_counts_is_what_the_caller_has_recorded(harness: Harness) -> None:
    known = harness.recorded()
    first, last = bounds("2023-12-29", "2024-02-01")
    other = evolve(known[first], mark="another", sha256="cd" * 32)
    never_stored = TradingDate.parse("2024-01-03")

    recorded = {first: other, never_stored: known[last], last: known[last]}

    assert conditions(harness, *ALL, recorded) == {
        "2023-12-29": ALTERED,
        "2024-01-02": UNRECORDED,
        "2024-01-03": GONE,
        "2024-01-31": UNRECORDED,
    }


def test_conditions_come_in_the_order_of_their_dates(harness: Harness) -> None:
    harness.leave(day("AAPL", "2022-05-02"))
    harness.leave(day("AAPL", "2024-01-03"))
    harness.lose(day("AAPL", "2024-02-01"))
    harness.lose(day("AAPL", "2023-12-29"))
    harness.alter(day("AAPL", "2024-01-31"))

    found = conditions(harness, "2022-01-01", "2024-12-31")

    assert list(found.items()) == [
        ("2022-05-02", UNRECORDED),
        ("2023-12-29", GONE),
        ("2024-01-03", UNRECORDED),
        ("2024-01-31", ALTERED),
        ("2024-02-01", GONE),
    ]


def test_what_is_outside_the_dates_is_not_reported(harness: Harness) -> None:
    harness.leave(day("AAPL", "2024-01-03"))
    harness.lose(day("AAPL", "2024-02-01"))
    harness.alter(day("AAPL", "2023-12-29"))

    assert conditions(harness, "2024-01-04", "2024-01-31") == {}


def test_a_symbol_whose_files_are_all_gone_is_missed(harness: Harness) -> None:
    for date in DATES:
        harness.lose(day("AAPL", date))

    assert conditions(harness, *ALL) == dict.fromkeys(DATES, GONE)


def test_an_aggregate_that_does_not_exist_is_not_stale(harness: Harness) -> None:
    assert stale(harness, *ALL) == {}


def test_aggregates_that_were_made_from_these_minutes_are_not_stale(harness: Harness) -> None:
    harness.aggregate("AAPL", Timeframe.MINUTE_5, Timeframe.DAY_1)

    assert stale(harness, *ALL) == {}


def test_a_day_that_changed_since_makes_its_aggregates_stale_of_that_day_alone(harness: Harness) -> None:
    harness.store(day("MSFT", "2024-01-31"))
    harness.aggregate("AAPL", Timeframe.MINUTE_5, Timeframe.HOUR_1, Timeframe.DAY_1)
    harness.aggregate("MSFT", Timeframe.MINUTE_5)

    harness.store_another(day("AAPL", "2024-01-31"))

    assert stale(harness, *ALL) == {"2024-01-31": ("5m", "1h", "1d")}
    assert stale(harness, "2024-01-31", "2024-01-31") == {"2024-01-31": ("5m", "1h", "1d")}
    assert stale(harness, "2024-01-01", "2024-01-30") == {}
    assert stale(harness, "2024-02-01", "2024-12-31") == {}
    assert stale(harness, *ALL, "MSFT") == {}
