"""The calendar of a store: half days, exceptions and halts, from the configuration to every answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.loader import load_ohlcv
from marketpipe.testing import sessions
from tests.support.pipeline_ring import config, minutes, pipeline, quarantined_rows, stored_rows
from tests.support.scripted_provider import ScriptedProvider

HALF_DAY = "2019-12-24"


def test_what_comes_after_17_00_on_a_half_day_is_quarantined(tmp_path: Path) -> None:
    rows = [*minutes(HALF_DAY, 3), *minutes(HALF_DAY, 2, start="21:58"), *minutes(HALF_DAY, 2, start="23:00")]
    settings = config(tmp_path, ["SPY"], HALF_DAY, HALF_DAY)
    with pipeline(settings, ScriptedProvider(script={1: [[("SPY", row) for row in rows]]})) as made:
        made.ingest()
    assert len(stored_rows(tmp_path, "SPY", HALF_DAY)) == 5
    assert [row["rule"] for row in quarantined_rows(tmp_path, "SPY", HALF_DAY)] == ["within_session"] * 2


MOURNING = [str(session.trading_date) for session in sessions("2024-01-08", "2024-01-12")]


def test_an_exception_of_the_configuration_reaches_plan_coverage_and_aggregates(tmp_path: Path) -> None:
    closed, late = MOURNING[1], MOURNING[3]
    bars = {date: minutes(date, 6, start="17:00") for date in MOURNING if date != closed}
    entries = [{"date": closed, "closed": True}, {"date": late, "opens": "12:00"}]
    settings = config(tmp_path, ["AAPL"], MOURNING[0], MOURNING[-1], timeframes=["1h"])
    provider = ScriptedProvider({"AAPL": bars})
    with pipeline(settings, provider) as made:
        assert made.plan().planned == 5
    known = evolve(settings, calendar={"exceptions": entries})
    with pipeline(known, provider) as made:
        assert made.plan().planned == 4
        made.ingest()
        assert [str(day.symbol_day) for day in made.coverage().days()] == [f"AAPL {date}" for date in bars]
        hours = made.query("SELECT timestamp::VARCHAR FROM bars_1h ORDER BY timestamp").to_pylist()
    starts = [next(iter(row.values()))[11:16] for row in hours]
    assert starts == ["16:30", "16:30", "17:00", "16:30"]  # UTC: hours count from 09:30, and from 12:00 on that day
    loaded = load_ohlcv("AAPL", late, late, "1h", root=tmp_path, as_of="2100-01-01T00:00:00Z")  # made now, not stored
    assert [f"{each:%H:%M}" for each in loaded["timestamp"].to_pylist()] == ["17:00"]


@pytest.mark.parametrize(("symbols", "suspect"), [(["TSLA"], {"MSFT"}), (["MSFT", "TSLA"], set()), (None, set())])
def test_a_halt_of_the_configuration_is_no_hole(tmp_path: Path, symbols: list[str] | None, suspect: set[str]) -> None:
    dates = [str(session.trading_date) for session in sessions("2024-01-08", "2024-01-31")]
    odd, lost = dates[6], range(120, 240)
    bars = {date: minutes(date, 390) for date in dates}
    bars[odd] = [row for number, row in enumerate(bars[odd]) if number not in lost]
    halt = {"date": odd, "from": "11:30", "to": "13:30", **({"symbols": symbols} if symbols else {})}
    settings = config(tmp_path, ["AAPL", "MSFT", "TSLA"], dates[0], dates[-1], calendar={"halts": [halt]})
    whole = {date: minutes(date, 390) for date in dates}
    with pipeline(settings, ScriptedProvider({"AAPL": whole, "MSFT": bars, "TSLA": bars})) as made:
        made.ingest()
        days = [day for day in made.coverage().days() if str(day.verdict) != "complete"]
    assert {str(day.symbol_day.symbol) for day in days} == suspect
    assert all(str(day.symbol_day.trading_date) == odd for day in days)
