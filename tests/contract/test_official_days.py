"""The contract of the port ``OfficialDays``, for the reader of files and for the fake in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from marketpipe import composition, place_parts
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import OfficialDays
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.testing import FakeClock, bar
from tests.support.in_memory_official_days import InMemoryOfficialDays
from tests.support.pipeline_ring import config, pipeline
from tests.support.scripted_provider import ScriptedProvider

Days = Mapping[str, float | None]
"""Closes by date, None for a day without a bar; every session of 2023-12-28 to 2024-01-04."""
DAYS: Days = {
    "2023-12-28": 10.0,
    "2023-12-29": None,
    "2024-01-02": 30.0,
    "2024-01-03": 40.5,
    "2024-01-04": 50.0,
}
AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")


def _day(close: float) -> OfficialDay:
    return OfficialDay(close, close + 1, close - 1, close, 1000.0, None, None)


def _in_memory(_: Path, days: Days) -> OfficialDays:
    known = {SymbolDay(AAPL, TradingDate.parse(date)): None if c is None else _day(c) for date, c in days.items()}
    return InMemoryOfficialDays(known)


def _on_disk(root: Path, days: Days) -> OfficialDays:
    stamps = {date: str(TradingDate.parse(date).midnight) for date in days}
    rows = {
        date: bar(stamps[date], close, close=close, trade_count=None, vwap=None)
        for date, close in days.items()
        if close is not None
    }
    settings = config(root, ["AAPL"], min(days), max(days), official_path=root / "official")
    opened = pipeline(settings, ScriptedProvider(official={"AAPL": rows}), FakeClock("2024-01-05T02:00:00Z"))
    opened.ingest()
    return composition.stored_official_days(opened._parts, place_parts.state(opened._parts))


Make = Callable[[Path, Days], OfficialDays]


@pytest.fixture(params=[_in_memory, _on_disk], ids=["in memory", "on disk"])
def days(request: pytest.FixtureRequest, tmp_path: Path) -> OfficialDays:
    made: OfficialDays = request.param(tmp_path, DAYS)
    return made


def between(days: OfficialDays, first: str, last: str, symbol: Symbol = AAPL) -> dict[str, float | None]:
    found = days.between(symbol, TradingDate.parse(first), TradingDate.parse(last))
    assert list(found) == sorted(found)
    return {str(date): None if day is None else day.close for date, day in found.items()}


def test_days_have_all_their_values(days: OfficialDays) -> None:
    date = TradingDate.parse("2024-01-03")
    assert days.between(AAPL, date, date) == {date: _day(40.5)}


def test_days_of_several_years_ascend_and_a_day_without_a_bar_is_none(days: OfficialDays) -> None:
    assert between(days, "2023-01-01", "2024-12-31") == DAYS


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2023-12-29", "2024-01-02", ["2023-12-29", "2024-01-02"]),
        ("2024-01-03", "2024-01-03", ["2024-01-03"]),
        ("2023-12-30", "2024-01-01", []),
        ("2022-01-01", "2023-12-28", ["2023-12-28"]),
        ("2024-01-05", "2030-01-01", []),
    ],
)
def test_both_bounds_are_inclusive(days: OfficialDays, first: str, last: str, expected: list[str]) -> None:
    assert list(between(days, first, last)) == expected


def test_what_was_never_requested_is_absent(days: OfficialDays) -> None:
    assert between(days, "2023-01-01", "2024-12-31", MSFT) == {}
    assert days.answered(MSFT, 2023, 2024) == {}


def test_answered_days_are_those_that_between_has(days: OfficialDays) -> None:
    found = days.answered(AAPL, 2023, 2024)
    assert [str(date) for year in sorted(found) for date in found[year].dates] == list(DAYS)
    assert list(days.answered(AAPL, 2024, 2024)) == [2024]
