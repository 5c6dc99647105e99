"""Minutes that disagree with their official day: what coverage shows, and what update requests again."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from marketpipe.pipeline import Pipeline
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.testing import FakeClock, bar, sessions
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

DATES = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-19")]
ODD, EMPTY = DATES[10], DATES[9]
EVENING = "2024-01-20T02:00:00Z"


def official(date: str, volume: float = 390_000.0) -> Row:
    """Return the official day of 390 bars of ``minutes``."""
    return bar(str(TradingDate.parse(date).midnight), 100.0, volume=volume)


def market(*symbols: str, **changed: list[Row]) -> ScriptedProvider:
    """``changed``: other bars of the ``ODD`` date, by symbol."""
    bars = {s: {date: minutes(date, 390) for date in DATES} | {ODD: changed.get(s, minutes(ODD, 390))} for s in symbols}
    days = {symbol: {date: official(date) for date in DATES} for symbol in symbols}
    return ScriptedProvider(bars, official=days)


def made(root: Path, provider: ScriptedProvider, *symbols: str) -> Pipeline:
    settings = config(root, [*symbols], DATES[0], DATES[-1], official_path=root / "official")
    return pipeline(settings, provider, FakeClock(EVENING))


def found(report: CoverageReport) -> dict[str, str]:
    days = {str(day.symbol_day): f"{day.verdict} {day.finding.suspicion or ''}".strip() for day in report.days()}
    return {day: verdict for day, verdict in days.items() if verdict != "complete"}


@pytest.mark.parametrize("lost", [range(100, 112), range(0, 390, 5)], ids=["twelve minutes", "one of five"])
def test_minutes_that_disagree_are_short_if_they_stay_so_and_requested_again_by_every_update(
    tmp_path: Path, lost: range
) -> None:
    rest = [row for number, row in enumerate(minutes(ODD, 390)) if number not in lost]
    provider = market("AAPL", "MSFT", AAPL=rest)
    with made(tmp_path, provider, "AAPL", "MSFT") as opened:
        opened.ingest()
        assert found(opened.coverage()) == {f"AAPL {ODD}": "suspect differs from official day"}
        provider.forget()

        opened.update()
        assert f"AAPL {ODD}" in provider.asked
        assert found(opened.coverage()) == {f"AAPL {ODD}": "short differs from official day"}
        assert (opened.coverage().ok, opened.coverage().strict_ok) == (True, False)

        provider.forget()
        provider.bars["AAPL"][ODD] = minutes(ODD, 390)
        opened.update()
        assert f"AAPL {ODD}" in provider.asked
        assert found(opened.coverage()) == {}


def test_minutes_that_the_provider_completes_later_are_found_by_the_next_update(tmp_path: Path) -> None:
    provider = market("AAPL", AAPL=minutes(ODD, 300))
    with made(tmp_path, provider, "AAPL") as opened:
        opened.ingest()
        provider.bars["AAPL"][ODD] = minutes(ODD, 390)
        opened.update()

        assert found(opened.coverage()) == {}
        assert {str(day.evidence) for day in opened.coverage().days()} == {"official+neighbours"}


def test_a_day_without_minutes_is_withheld_or_empty_as_its_official_day_is(tmp_path: Path) -> None:
    provider = market("AAPL", AAPL=[])
    del provider.bars["AAPL"][EMPTY]
    del provider.official["AAPL"][EMPTY]
    with made(tmp_path, provider, "AAPL") as opened:
        opened.ingest()

        assert found(opened.coverage()) == {f"AAPL {EMPTY}": "empty", f"AAPL {ODD}": "suspect withheld"}


def figures(root: Path) -> list[Any]:
    with sqlite3.connect(root / "state" / "marketpipe.sqlite") as state:
        rows = state.execute("SELECT figures FROM partitions ORDER BY symbol, trading_date").fetchall()
    state.close()
    return [row[0] for row in rows]


def test_days_that_were_stored_without_figures_are_compared_once_verify_has_read_them(tmp_path: Path) -> None:
    provider = market("AAPL", "MSFT", AAPL=[row for number, row in enumerate(minutes(ODD, 390)) if number % 5])
    with made(tmp_path, provider, "AAPL", "MSFT") as opened:
        opened.ingest()
    before = figures(tmp_path)
    with sqlite3.connect(tmp_path / "state" / "marketpipe.sqlite") as state:
        state.execute("UPDATE partitions SET figures = NULL")
    state.close()

    with made(tmp_path, provider, "AAPL", "MSFT") as opened:
        assert {str(day.evidence) for day in opened.coverage().days()} <= {"neighbours", "market", "neighbours+market"}
        assert opened.verify().ok
        assert found(opened.coverage()) == {f"AAPL {ODD}": "suspect differs from official day"}
    assert figures(tmp_path) == before
    assert None not in before
