"""plan, update and ``end: latest``: what brings a store up to date, and no further."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.testing import FakeClock, sessions
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-12")]
BARS = {symbol: {date: minutes(date, 5) for date in DATES} for symbol in ("AAPL", "MSFT")}
FRIDAY_EVENING = "2024-01-06T02:00:00Z"  # 21:00 on the 5th in New York
FRIDAY_IN_SESSION = "2024-01-05T20:00:00Z"


def test_latest_is_the_newest_session_that_is_final(tmp_path: Path) -> None:
    provider, clock = ScriptedProvider(BARS, delay=timedelta(minutes=15)), FakeClock(FRIDAY_IN_SESSION)
    with pipeline(config(tmp_path, ["AAPL"], DATES[0], "latest"), provider, clock) as made:
        made.ingest()
        assert provider.asked[-1] == "AAPL 2024-01-04"

        clock.advance(6 * 3600)
        made.ingest()
        assert provider.asked[-1] == "AAPL 2024-01-05"
        assert str(made.coverage().last) == "2024-01-05"


def test_latest_before_the_start_is_refused(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], "2024-01-08", "latest")
    with (
        pipeline(settings, ScriptedProvider(), FakeClock(FRIDAY_EVENING)) as made,
        pytest.raises(ConfigurationError, match="end: latest is 2024-01-05"),
    ):
        made.ingest()
    assert list(tmp_path.iterdir()) == []


def test_update_goes_on_from_each_symbols_last_settled_session(tmp_path: Path) -> None:
    provider, clock = ScriptedProvider(BARS), FakeClock(FRIDAY_EVENING)
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], DATES[0], DATES[0]), provider, clock) as made:
        made.ingest(["AAPL"], DATES[0], DATES[2])
        made.ingest(["MSFT"], DATES[0], DATES[0])
        provider.forget()

        report = made.update()

    assert report.ok
    assert provider.asked == ["AAPL 2024-01-05", "MSFT 2024-01-03", "MSFT 2024-01-04", "MSFT 2024-01-05"]


def test_update_of_a_new_symbol_begins_at_the_configured_start(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS)
    with pipeline(config(tmp_path, ["AAPL"], DATES[2], DATES[2]), provider, FakeClock(FRIDAY_EVENING)) as made:
        made.update()

    assert provider.asked == ["AAPL 2024-01-04", "AAPL 2024-01-05"]


def test_update_of_a_current_store_asks_for_nothing(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS)
    with pipeline(config(tmp_path, ["AAPL"], DATES[0], DATES[0]), provider, FakeClock(FRIDAY_EVENING)) as made:
        made.update()
        provider.forget()
        report = made.update()

    assert (report.ok, provider.requests) == (True, [])


def test_update_does_not_go_back_to_older_holes(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS)
    with pipeline(config(tmp_path, ["AAPL"], DATES[0], DATES[0]), provider, FakeClock(FRIDAY_EVENING)) as made:
        made.ingest(["AAPL"], DATES[2], DATES[2])
        provider.forget()
        made.update()

    assert provider.asked == ["AAPL 2024-01-05"]


def test_a_second_update_at_the_same_time_steps_aside(tmp_path: Path) -> None:
    settings, clock = config(tmp_path, ["AAPL"], DATES[0], DATES[0]), FakeClock(FRIDAY_EVENING)
    inner: list[str] = []

    def update_too(_: object) -> None:
        with pipeline(settings, ScriptedProvider(BARS), clock) as second:
            try:
                second.update()
            except StoreBusyError as busy:
                inner.append(str(busy))

    from marketpipe import JobStarted

    with pipeline(settings, ScriptedProvider(BARS), clock) as made:
        made.subscribe(JobStarted, update_too)
        assert made.update().ok
        assert made.update().ok

    assert len(inner) == 2
    assert "an update, compact, drop, recover or copy of this store is running" in inner[0]


def test_a_plan_shows_what_will_be_requested_and_changes_nothing(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS)
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], DATES[0], DATES[4]), provider) as made:
        before = made.plan()
        assert list(tmp_path.iterdir()) == []
        assert provider.requests == []

        report = made.ingest()
        after = made.plan()

    assert (before.planned, before.already_settled, before.minutes) == (10, 0, None)
    assert (before.estimate.bars, before.estimate.known_days) == (3900, 0)
    assert (after.planned, after.already_settled, after.estimate.requests) == (0, 10, 0)
    assert report.estimate == before.estimate


def test_a_plan_goes_by_what_is_stored_already(tmp_path: Path) -> None:
    provider = ScriptedProvider(BARS)
    with pipeline(config(tmp_path, ["AAPL"], DATES[0], DATES[6]), provider) as made:
        made.ingest(end=DATES[2])
        planned = made.plan()
        report = made.ingest()

    assert planned.estimate.known_days == 3
    assert planned.estimate.bars == report.bars == 4 * 5
    assert planned.estimate.requests == report.planned / 4 == 1


def test_update_requests_the_first_silent_sessions_of_a_symbol_on_two_dates(tmp_path: Path) -> None:
    dates = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-31")]
    bars = {symbol: {date: minutes(date, 40) for date in dates} for symbol in ("GONE", "LATE", "HERE")}
    withheld = {date: bars["LATE"].pop(date) for date in dates[8:15]}
    del bars["GONE"]
    bars["GONE"] = {date: minutes(date, 40) for date in dates[:8]}
    provider, clock = ScriptedProvider(bars), FakeClock(f"{dates[14]}T23:59:00Z")
    clock.advance(6 * 3600)
    with pipeline(config(tmp_path, ["GONE", "HERE", "LATE"], dates[0], dates[0]), provider, clock) as made:
        made.update()
        silent = {str(day.symbol_day): str(day.verdict) for day in made.coverage().days() if not day.bars}
        provider.bars["LATE"] |= withheld
        clock.advance(86_400)
        provider.forget()
        made.update()
        requested = provider.asked
        made.update()
        clock.advance(86_400)
        made.update()
        found = {str(day.symbol_day): str(day.verdict) for day in made.coverage().days() if not day.bars}
        provider.forget()
        made.update()

    assert silent == {f"{symbol} {date}": "suspect" for symbol in ("GONE", "LATE") for date in dates[8:15]}
    assert {f"{symbol} {date}" for symbol in ("GONE", "LATE") for date in dates[8:13]} <= set(requested)
    assert found == {f"GONE {date}": "unlisted" for date in dates[8:17]}
    assert provider.asked == []
