"""A store of regular sessions with the minute of the closing auction: asked for, stored, covered, recovered."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from marketpipe.config import StoreConfig
from marketpipe.ingestion.domain.coverage.verdict import Suspicion
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.store import Store
from marketpipe.testing import FakeClock, bar
from tests.support.pipeline_ring import config, minutes, pipeline, quarantined_rows, stored_rows
from tests.support.scripted_provider import Row, ScriptedProvider

SESSIONS = [("2024-03-08", "21:00"), ("2024-03-11", "20:00"), ("2024-07-03", "17:00")]
"""On winter and on summer time, and a half day: the moment of the close in UTC."""


def day_of(date: str, close: str) -> list[Row]:
    """Two minutes after the open, the auction's minute, and one more."""
    opens = "14:30" if date == "2024-03-08" else "13:30"
    auction = bar(f"{date}T{close}:00Z", 99.5, low=90.0, volume=5e6)
    return [*minutes(date, 2, start=opens), auction, bar(f"{date}T{close[:3]}01:00Z", 98.0)]


@pytest.mark.parametrize(("closing_auction", "stored"), [(0, 3), (1, 4), (None, 2)])
@pytest.mark.parametrize(("date", "close"), SESSIONS)
def test_a_regular_store_holds_the_minute_of_the_auction_if_the_provider_declares_it(
    tmp_path: Path, date: str, close: str, closing_auction: int | None, stored: int
) -> None:
    sent = day_of(date, close)
    provider = ScriptedProvider({"AAPL": {date: sent}}, closing_auction=closing_auction)

    with pipeline(config(tmp_path, ["AAPL"], date, date, session="regular"), provider) as made:
        report, again, coverage = made.ingest(), made.ingest(), made.coverage()

    assert (report.ok, report.bars, again.planned, len(provider.requests)) == (True, stored, 0, 1)
    assert stored_rows(tmp_path, "AAPL", date) == sent[:stored]
    assert quarantined_rows(tmp_path, "AAPL", date) == []
    (judged,) = coverage.symbols[0].days()
    # of the hours between the open and the close, as without the minute of the auction
    assert (str(coverage.session), judged.bars, judged.finding.suspicion) == ("regular", stored, Suspicion.STOPS_EARLY)


def test_the_day_of_a_regular_store_closes_with_the_auction(tmp_path: Path) -> None:
    date, close = SESSIONS[2]
    provider = ScriptedProvider({"AAPL": {date: day_of(date, close)}}, closing_auction=0)

    with pipeline(config(tmp_path, ["AAPL"], date, date, session="regular", timeframes=["1d"]), provider) as made:
        made.ingest()
        rows = made.load("AAPL", date, date, "1d").to_pylist()
        as_of = made.load("AAPL", date, date, "1d", as_of="2030-01-01T00:00:00Z").to_pylist()

    assert [(row["close"], row["low"], row["volume"]) for row in rows] == [(99.5, 99.0, 5_002_000.0)]
    assert [row["close"] for row in as_of] == [99.5]


def test_days_that_were_settled_without_the_minute_stay_settled(tmp_path: Path) -> None:
    (first, close), (second, later) = SESSIONS[:2]
    bars = {"AAPL": {first: day_of(first, close), second: day_of(second, later)}}
    with pipeline(config(tmp_path, ["AAPL"], first, first, session="regular"), ScriptedProvider(bars)) as made:
        made.ingest()
    provider = ScriptedProvider(bars, closing_auction=0)

    with pipeline(config(tmp_path, ["AAPL"], first, second, session="regular"), provider) as made:
        report = made.ingest()
        assert provider.asked == [f"AAPL {second}"]
        assert made.coverage().ok
        widened = made.audit(["AAPL"], first, first, adopt=True)

    assert (report.already_settled, len(stored_rows(tmp_path, "AAPL", second))) == (1, 3)
    assert [each.added for each in widened.compared.values()] == [1]
    assert stored_rows(tmp_path, "AAPL", first) == bars["AAPL"][first][:3]


def test_a_regular_store_is_widened_to_the_bytes_of_an_extended_one(tmp_path: Path) -> None:
    date, close = SESSIONS[0]
    provider = ScriptedProvider({"AAPL": {date: day_of(date, close)}}, closing_auction=0)
    for folder, kinds in (("widened", ["regular", "extended"]), ("extended", ["extended"])):
        for kind in kinds:
            with pipeline(config(tmp_path / folder, ["AAPL"], date, date, session=kind), provider) as made:
                assert made.ingest().ok

    path = "data/symbol=AAPL/year=2024/month=03/day=08.parquet"
    assert (tmp_path / "widened" / path).read_bytes() == (tmp_path / "extended" / path).read_bytes()


@pytest.mark.parametrize(("closing_auction", "kind"), [(0, "regular"), (None, "extended")])
def test_a_recovered_store_with_the_minute_is_a_regular_one_if_the_provider_declares_it(
    tmp_path: Path, closing_auction: int | None, kind: str
) -> None:
    date, close = SESSIONS[0]
    settings = config(tmp_path, ["AAPL"], date, date, session="regular" if closing_auction == 0 else "extended")
    provider = ScriptedProvider({"AAPL": {date: day_of(date, close)[:3]}}, closing_auction=closing_auction)
    with pipeline(settings, provider) as made:
        made.ingest()
    shutil.rmtree(tmp_path / "state")

    with pipeline(settings, provider) as made:
        assert str(made.recover().session) == kind


def test_a_store_without_a_provider_knows_the_recorded_auction(tmp_path: Path) -> None:
    date, close = SESSIONS[0]
    provider = ScriptedProvider({"AAPL": {date: day_of(date, close)}}, closing_auction=0)
    settings = config(tmp_path, ["AAPL"], date, date, session="regular", timeframes=["1d"])
    with pipeline(settings, provider) as made:
        made.ingest()
    names = ("output_path", "aggregates_path", "quarantine_path", "revisions_path", "state_path")

    with Store(StoreConfig(**{name: getattr(settings, name) for name in names})) as store:
        refreshed = store.aggregate(timeframes=[Timeframe.DAY_1])
        coverage = store.coverage()

    assert refreshed.written == 0
    assert Suspicion.STALE_AGGREGATE not in {judged.finding.suspicion for judged in coverage.symbols[0].days()}


def test_a_session_that_is_not_over_is_partial_with_its_auction_as_well(tmp_path: Path) -> None:
    date, close = SESSIONS[0]
    provider = ScriptedProvider({"AAPL": {date: day_of(date, close)}}, closing_auction=0)
    settings = config(tmp_path, ["AAPL"], date, date, session="regular")
    with pipeline(settings, provider, FakeClock(f"{date}T21:30:00Z")) as made:
        (found,) = made.ingest().outcomes.values()

    assert (found.outcome, found.rows) == (Outcome.PARTIAL, 3)
