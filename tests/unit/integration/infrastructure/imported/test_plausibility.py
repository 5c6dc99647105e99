from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from marketpipe.integration.domain.table_import import Stamps
from marketpipe.integration.infrastructure.imported.plausibility import Doubts, SessionTable, doubts
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.shared_kernel.infrastructure.new_york_days import day_numbers
from tests.support.builders import CALENDAR
from tests.support.own_files import Market

EXTENDED = Market(first="2024-01-02", last="2024-01-12")
REGULAR = Market(first="2024-01-02", last="2024-01-05", extended=False)
HALF_DAYS = Market(first="2024-11-29", last="2024-11-29", extended=False)


def examined(market: Market, minutes: int = 0, *, stamps: Stamps | None = None, every: int = 1) -> Doubts:
    table = market.table()
    micros = table["timestamp"].cast(pa.int64()).to_numpy()[::every] + minutes * MICROS_PER_MINUTE
    days = day_numbers(micros)
    volumes = table["volume"].to_numpy()[::every]
    return doubts(micros, days, np.zeros(len(days), np.int64), volumes, SessionTable.around(CALENDAR, days), stamps)


@pytest.mark.parametrize("market", [EXTENDED, REGULAR, HALF_DAYS])
def test_left_edges_in_the_right_zone_raise_no_question(market: Market) -> None:
    assert examined(market) == Doubts()


@pytest.mark.parametrize("market", [EXTENDED, REGULAR])
def test_right_edges_are_asked_about(market: Market) -> None:
    assert 'stamps="right"' in examined(market, 1).questions[0]


def test_right_edges_that_were_stated_as_left_are_a_note() -> None:
    found = examined(REGULAR, 1, stamps=Stamps.LEFT)
    assert found.questions == ()
    assert "taken as you stated" in found.notes[0]


@pytest.mark.parametrize("market", [EXTENDED, REGULAR])
@pytest.mark.parametrize("minutes", [-180, -60, 60, 61, 300])
def test_times_of_another_zone_are_asked_about(market: Market, minutes: int) -> None:
    assert 'timezone="…"' in examined(market, minutes).questions[0]


@pytest.mark.parametrize("extended", [True, False])
def test_a_clock_that_changes_on_other_days_is_asked_about(extended: bool) -> None:
    table = Market(first="2024-03-07", last="2024-03-12", extended=extended).table()
    within = SessionTable.around(CALENDAR, day_numbers(table["timestamp"].cast(pa.int64()).to_numpy()))
    micros = table["timestamp"].cast(pa.int64()).to_numpy().copy()
    days = day_numbers(micros)
    late = days > day_numbers(micros[:1])[0] + 3
    micros[late] += 60 * MICROS_PER_MINUTE  # as -05:00 would have it after the clocks were set forward
    places, _ = within.places(days)
    inside = micros < within.ends[places]
    micros, days, volumes = micros[inside], days[inside], table["volume"].to_numpy()[inside]
    found = doubts(micros, days, np.zeros(len(days), np.int64), volumes, within, None)
    assert "on 2 days, such as 2024-03-11, the market seems to open 60 minutes too late" in found.questions[0]


def test_bars_of_five_minutes_are_asked_about() -> None:
    table = Market(last="2024-01-02", extended=False).table()
    micros = table["timestamp"].cast(pa.int64()).to_numpy()
    micros = micros[micros // MICROS_PER_MINUTE % 5 == 0]
    days, ones = day_numbers(micros), np.ones(len(micros))
    found = doubts(micros, days, np.zeros(len(days), np.int64), ones, SessionTable.around(CALENDAR, days), None)
    assert found.questions == ("the bars are 5 minutes apart: only bars of one minute are imported",)


def test_bars_between_minutes_are_asked_about() -> None:
    micros = np.arange(100) * 1_000_000 + EXTENDED.sessions[0].opens.epoch_micros
    days = day_numbers(micros)
    found = doubts(micros, days, np.zeros(100, np.int64), np.ones(100), SessionTable.around(CALENDAR, days), None)
    assert "do not begin on a full minute" in found.questions[0]


def test_days_without_a_session_are_asked_about() -> None:
    found = examined(Market(first="2024-01-05", last="2024-01-05"), 24 * 60)
    assert "2024-01-06" in found.questions[0]


def test_few_odd_bars_are_a_note() -> None:
    table = EXTENDED.table()
    micros = table["timestamp"].cast(pa.int64()).to_numpy().copy()
    micros[-1] = EXTENDED.sessions[-1].extended.end.epoch_micros + 5 * MICROS_PER_MINUTE
    days = day_numbers(micros)
    sessions = SessionTable.around(CALENDAR, days)
    found = doubts(micros, days, np.zeros(len(days), np.int64), table["volume"].to_numpy(), sessions, None)
    assert found.questions == ()
    assert "outside the hours of trading: 1 bar, such as" in found.notes[0]
