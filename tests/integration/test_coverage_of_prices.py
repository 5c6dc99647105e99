"""Days whose minutes are all there and wrong, from the provider's response to the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from marketpipe.pipeline import Pipeline
from marketpipe.testing import sessions
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

DATES = [str(session.trading_date) for session in sessions("2023-03-15", "2023-04-14")]
ODD = DATES[10]
COUNT = 40


def day(date: str, price: float, *, number: int = 0, volume: float = 1000.0) -> list[Row]:
    made = []
    for minute, row in enumerate(minutes(date, COUNT)):
        now = round(price * (1 + number / 500 + minute / 4000), 4)
        prices = {"open": now, "high": now * 1.001, "low": now * 0.999, "close": now, "vwap": now}
        made.append({**row, **prices, "volume": volume + 7 * minute + number})
    return made


def history(price: float = 130.0, **odd: list[Row]) -> dict[str, list[Row]]:
    days = {date: day(date, price, number=number) for number, date in enumerate(DATES)}
    return days | {date.replace("_", "-"): rows for date, rows in odd.items()}


def findings(root: Path, bars: Mapping[str, Mapping[str, Sequence[Row]]]) -> dict[str, str]:
    provider = ScriptedProvider(
        {symbol: {date: list(rows) for date, rows in days.items()} for symbol, days in bars.items()}
    )
    with pipeline(config(root, list(bars), DATES[0], DATES[-1]), provider) as made:
        assert made.ingest().ok
        return found(made)


def found(made: Pipeline) -> dict[str, str]:
    days = ((str(day.symbol_day), str(day.finding.suspicion or day.verdict)) for day in made.coverage().days())
    return {name: verdict for name, verdict in days if verdict != "complete"}


@pytest.mark.parametrize("times", [100, 0.01])
def test_one_day_in_another_scale_is_suspect(tmp_path: Path, times: float) -> None:
    bars = history() | {ODD: day(ODD, 130.0 * times, number=10)}
    assert findings(tmp_path, {"AAPL": bars}) == {f"AAPL {ODD}": "other price level"}


def test_a_split_in_raw_prices_is_named(tmp_path: Path) -> None:
    bars = {
        date: rows if date < ODD else day(date, 13.0, number=number, volume=10_000.0)
        for number, (date, rows) in enumerate(history().items())
    }
    with pipeline(config(tmp_path, ["AAPL"], DATES[0], DATES[-1]), ScriptedProvider({"AAPL": bars})) as made:
        made.ingest()
        report = made.coverage()
        (named,) = (day for day in report.days() if day.finding.detail)
    assert report.ok
    assert [note.first for note in report.notes()] == [named.symbol_day.trading_date]
    assert (str(named.symbol_day), str(named.verdict)) == (f"AAPL {ODD}", "complete")
    assert "likely a 10:1 split" in str(named.finding.detail)


def test_frozen_and_repeated_days_and_those_of_another_symbol_are_suspect(tmp_path: Path) -> None:
    frozen = [
        {**row, "open": 99.0, "high": 99.0, "low": 99.0, "close": 99.0, "volume": 0.0} for row in minutes(ODD, COUNT)
    ]
    repeated = [
        {**row, "timestamp": new["timestamp"]} for row, new in zip(history()[DATES[8]], day(ODD, 1.0), strict=True)
    ]
    other = history(40.0)
    bars = {
        "AAPL": history(99.0) | {ODD: frozen},
        "MSFT": history(200.0) | {ODD: day(ODD, 40.0, number=10)},
        "NVDA": history() | {ODD: repeated},
        "TSLA": other,
    }
    assert findings(tmp_path, bars) == {
        f"AAPL {ODD}": "frozen",
        f"MSFT {ODD}": "bars of another symbol",
        f"NVDA {ODD}": "repeats another day",
    }


def test_another_security_after_weeks_of_silence_is_asked_for_with_both_dates(tmp_path: Path) -> None:
    bars = {date: rows for date, rows in history(15.0).items() if date < DATES[4]}
    bars |= {date: rows for date, rows in history(196.0).items() if date >= DATES[17]}
    with pipeline(config(tmp_path, ["META"], DATES[0], DATES[-1]), ScriptedProvider({"META": bars})) as made:
        made.ingest()
        days = {str(day.symbol_day): day.finding for day in made.coverage().days()}
    finding = days[f"META {DATES[17]}"]
    assert str(finding.suspicion) == "another security?"
    assert f"end on {DATES[3]}" in str(finding.detail)
    assert f"begin again on {DATES[17]}" in str(finding.detail)
