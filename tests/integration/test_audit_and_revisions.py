"""History that a provider rewrites: found by an audit, adopted, and both versions kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from marketpipe import load_ohlcv
from marketpipe.ingestion.domain.restatement import RestatementKind
from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.testing import FakeClock, sessions
from tests.support.builders import day
from tests.support.examples import some
from tests.support.pipeline_ring import config, fingerprints, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

DATES = [str(session.trading_date) for session in sessions("2024-01-02", "2024-01-31")]
FIRST, LAST, MIDDLE = DATES[0], DATES[-1], DATES[5]
AN_HOUR = 3600.0


class Adjusted(ScriptedProvider):
    @property
    def capabilities(self) -> ProviderCapabilities:
        return ProviderCapabilities("scripted", DataFeed("scripted"), "split")


def history(count: int = 8) -> dict[str, dict[str, list[Row]]]:
    return {"AAPL": {date: minutes(date, count) for date in DATES}}


def scaled(rows: list[Row], ratio: float, volume: float) -> list[Row]:
    prices = {name: [round(row[name] * ratio, 4) for row in rows] for name in ("open", "high", "low", "close", "vwap")}
    return [
        {**row, **{name: prices[name][i] for name in prices}, "volume": row["volume"] * volume}
        for i, row in enumerate(rows)
    ]


def closes(table: Any) -> list[float]:
    found: list[float] = table["close"].to_pylist()
    return found


def test_an_audit_of_an_unchanged_history_finds_nothing_and_changes_nothing(tmp_path: Path) -> None:
    provider = ScriptedProvider(history())
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
        before = fingerprints(tmp_path)
        report = made.audit(start=FIRST)

    assert report.ok
    assert report.restatements == []
    assert len(report.compared) == len(DATES)
    assert {found.unchanged for found in report.compared.values()} == {8}
    assert fingerprints(tmp_path) == before


def test_a_restated_day_is_found_adopted_and_both_versions_come_back(tmp_path: Path) -> None:
    provider, clock = ScriptedProvider(history()), FakeClock()
    settings = config(tmp_path, ["AAPL"], FIRST, LAST, timeframes=["5m", "1d"])
    with pipeline(settings, provider, clock) as made:
        before_anything = clock.now()
        clock.advance(AN_HOUR)
        made.ingest()
        known, aggregated = made.load("AAPL", FIRST, LAST), made.load("AAPL", FIRST, LAST, "5m")
        clock.advance(AN_HOUR)
        before = clock.now()
        clock.advance(AN_HOUR)
        rows = minutes(MIDDLE, 9)[1:]
        rows[3]["close"], rows[3]["high"] = rows[3]["close"] * 1.01, rows[3]["high"] * 1.02
        provider.bars["AAPL"][MIDDLE] = rows

        seen = made.audit(start=MIDDLE, end=MIDDLE)
        (restated,) = seen.restatements
        assert (restated.comparison.added, restated.comparison.removed, restated.comparison.changed) == (1, 1, 1)
        assert restated.comparison.largest_move == pytest.approx(0.02)
        assert restated.kind is RestatementKind.CORRECTION
        assert not seen.ok
        assert made.load("AAPL", FIRST, LAST).equals(known)

        adopted = made.audit(start=MIDDLE, end=MIDDLE, adopt=True)
        assert adopted.ok
        assert adopted.adopted is not None
        now = made.load("AAPL", FIRST, LAST)
        assert not now.equals(known)
        assert made.load("AAPL", FIRST, LAST, as_of=before).equals(known)
        assert made.load("AAPL", FIRST, LAST, "5m", as_of=before).equals(aggregated)
        assert made.load("AAPL", FIRST, LAST, as_of=clock.now()).equals(now)
        assert made.load("AAPL", FIRST, LAST, as_of=before_anything).num_rows == 0
        assert made.audit(start=MIDDLE, end=MIDDLE).ok
        assert made.coverage().ok

    assert load_ohlcv("AAPL", FIRST, LAST, root=tmp_path, as_of=str(before)).equals(known)
    assert load_ohlcv("AAPL", FIRST, LAST, root=tmp_path).equals(now)


def test_a_provider_that_falls_silent_is_reported_and_never_adopted(tmp_path: Path) -> None:
    provider = ScriptedProvider(history())
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
        del provider.bars["AAPL"][MIDDLE]
        report = made.audit(start=FIRST, adopt=True)

        assert report.withdrawn == [day("AAPL", MIDDLE)]
        assert (report.ok, report.adopted) == (False, None)
        assert made.load("AAPL", MIDDLE, MIDDLE).num_rows == 8


def test_a_day_that_was_empty_may_have_bars_by_now(tmp_path: Path) -> None:
    bars = history()
    late = bars["AAPL"].pop(MIDDLE)
    provider = ScriptedProvider(bars)
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
        provider.bars["AAPL"][MIDDLE] = late
        report = made.audit(start=FIRST, adopt=True)

        assert report.compared[day("AAPL", MIDDLE)].added == 8
        assert made.load("AAPL", MIDDLE, MIDDLE).num_rows == 8


@pytest.mark.parametrize(
    ("ratio", "volume", "kind"),
    some(
        [
            (2 / 3, 1.5, RestatementKind.SPLIT),
            (0.5, 2.0, RestatementKind.SPLIT),
            (0.1, 10.0, RestatementKind.SPLIT),
            (20.0, 0.05, RestatementKind.SPLIT),
            (0.9925, 1.0, RestatementKind.DIVIDEND),
        ]
    ),
)
def test_an_adjustment_concerns_the_whole_history(
    tmp_path: Path, ratio: float, volume: float, kind: RestatementKind
) -> None:
    provider = Adjusted(history())
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
        provider.bars["AAPL"] = {date: scaled(rows, ratio, volume) for date, rows in provider.bars["AAPL"].items()}
        report = made.audit(sample="10%")

        (adjustment,) = report.adjustments
        assert adjustment.restatement.kind is kind
        assert adjustment.restatement.ratio == pytest.approx(ratio, rel=1e-3)
        assert (str(adjustment.first), str(adjustment.last)) == (FIRST, LAST)

        whole = made.audit(["AAPL"], adjustment.first, adjustment.last, adopt=True)
        assert whole.ok
        assert made.audit(start=FIRST).ok
        assert closes(made.load("AAPL", MIDDLE, MIDDLE)) == [row["close"] for row in provider.bars["AAPL"][MIDDLE]]


def test_raw_prices_are_never_called_adjusted(tmp_path: Path) -> None:
    provider = ScriptedProvider(history())
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
        provider.bars["AAPL"][MIDDLE] = scaled(provider.bars["AAPL"][MIDDLE], 0.5, 2.0)
        report = made.audit(start=FIRST)

    assert report.adjustments == ()
    assert [item.kind for item in report.restatements] == [RestatementKind.SPLIT]


def test_a_sample_asks_for_its_share_of_the_sessions_and_others_on_another_day(tmp_path: Path) -> None:
    provider, clock, drawn = ScriptedProvider(history()), FakeClock(), []
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider, clock) as made:
        made.ingest()
        for _ in range(2):
            provider.forget()
            made.audit(sample=0.2)
            drawn.append(provider.asked)
            clock.advance(24 * AN_HOUR)

    assert [len(asked) for asked in drawn] == [5, 5]  # a fifth of 21 sessions, rounded up
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("sample", ["2", "two", "0%", "101%", "-1%", "", 0.0, 1.5])
def test_a_share_that_is_none_is_refused(tmp_path: Path, sample: str | float) -> None:
    with (
        pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), ScriptedProvider()) as made,
        pytest.raises(ConfigurationError, match="sample"),
    ):
        made.audit(sample=sample)


def test_an_audit_of_everything_has_to_be_meant(tmp_path: Path) -> None:
    with (
        pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), ScriptedProvider()) as made,
        pytest.raises(ConfigurationError, match="give a sample, symbols or dates"),
    ):
        made.audit()


def test_an_audit_fails_for_what_cannot_be_asked_or_read_and_compares_the_rest(tmp_path: Path) -> None:
    provider = ScriptedProvider({**history(), "MSFT": history()["AAPL"]}, symbols_per_request=1)
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], FIRST, LAST), provider) as made:
        made.ingest()
        provider.refused["MSFT"] = "no MSFT any more"
        year, month, number = MIDDLE.split("-")
        path = tmp_path / "data" / "symbol=AAPL" / f"year={year}" / f"month={month}" / f"day={number}.parquet"
        path.write_bytes(path.read_bytes()[:-50])
        report = made.audit(start=FIRST)

    assert len(report.compared) == len(DATES) - 1
    assert report.failures[day("MSFT", FIRST)] == "no MSFT any more"
    assert "is damaged" in report.failures[day("AAPL", MIDDLE)]
    assert not report.ok
