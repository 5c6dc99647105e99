"""What coverage reports about real files, and how one ingestion changes that."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe.config import StoreConfig
from marketpipe.ingestion.domain.coverage.verdict import Suspicion, Verdict
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ProviderUnavailableError
from marketpipe.store import Store
from marketpipe.testing import FakeClock, sessions
from tests.support.pipeline_ring import config, fingerprints, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

FIRST, LAST = "2024-01-02", "2024-01-31"
DATES = [str(session.trading_date) for session in sessions(FIRST, LAST)]
MIDDLE, OTHER, THIRD = DATES[5], DATES[9], DATES[14]


def market(*symbols: str, bars: int = 390) -> dict[str, dict[str, list[Row]]]:
    return {symbol: {date: minutes(date, bars) for date in DATES} for symbol in symbols}


def found(report: CoverageReport) -> dict[str, str]:
    """Everything but what is complete, by symbol-day."""
    days = {str(day.symbol_day): str(day.finding.suspicion or day.verdict) for day in report.days()}
    return {day: verdict for day, verdict in days.items() if verdict != "complete"}


def path_of(root: Path, symbol: str, date: str) -> Path:
    year, month, day = date.split("-")
    return root / "data" / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"


def forget_in_the_state(root: Path, symbol: str, date: str) -> None:
    with sqlite3.connect(root / "state" / "marketpipe.sqlite") as state:
        for table in ("checkpoints", "partitions"):
            state.execute(f"DELETE FROM {table} WHERE symbol = ? AND trading_date = ?", (symbol, date))
    state.close()


def test_a_whole_store_is_complete_and_every_verdict_has_its_evidence(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", "MSFT"))
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], FIRST, LAST), provider) as made:
        made.ingest()
        report = made.coverage()

    assert report.ok
    assert found(report) == {}
    assert report.gaps() == []
    table = report.to_arrow()
    assert table.num_rows == 2 * len(DATES)
    assert table.slice(0, 1).to_pylist() == [
        {
            "symbol": "AAPL",
            "trading_date": sessions(FIRST, FIRST)[0].trading_date.day,
            "verdict": "complete",
            "suspicion": None,
            "detail": None,
            "bars": 390,
            "rejected": 0,
            "first": minutes(FIRST, 1)[0]["timestamp"],
            "last": minutes(FIRST, 390)[-1]["timestamp"],
            "evidence": "neighbours+market",
        }
    ]
    assert table.schema.field("first").type == pa.timestamp("us", tz="UTC")


def test_three_holes_cut_by_hand_are_named_and_healed_by_one_ingestion(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", "MSFT"))
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], FIRST, LAST), provider) as made:
        made.ingest()
    whole = fingerprints(tmp_path)
    path_of(tmp_path, "AAPL", MIDDLE).unlink()
    truncated = path_of(tmp_path, "MSFT", OTHER)
    truncated.write_bytes(truncated.read_bytes()[:-100])
    forget_in_the_state(tmp_path, "AAPL", THIRD)
    provider.forget()

    with pipeline(config(tmp_path, ["AAPL", "MSFT"], FIRST, LAST), provider) as made:
        report = made.coverage()
        healed = made.ingest()
        after = made.coverage()

    holes = {f"AAPL {MIDDLE}": "missing", f"MSFT {OTHER}": "file altered", f"AAPL {THIRD}": "missing"}
    assert found(report) == holes
    assert provider.asked == sorted(holes)
    assert (healed.planned, healed.state, after.ok) == (3, "completed", True)
    assert {name: digest for name, (digest, _) in fingerprints(tmp_path).items()} == {
        name: digest for name, (digest, _) in whole.items()
    }


def test_a_byte_that_flipped_in_place_is_found_and_healed(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL"))
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
        path = path_of(tmp_path, "AAPL", MIDDLE)
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        provider.forget()

        assert found(made.coverage()) == {f"AAPL {MIDDLE}": "file altered"}
        made.ingest()

        assert provider.asked == [f"AAPL {MIDDLE}"]
        assert made.coverage().ok


def test_coverage_asks_no_provider_and_changes_nothing(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL"))
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
    provider.forget()
    before = fingerprints(tmp_path)

    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.coverage()

    assert fingerprints(tmp_path) == before
    assert provider.requests == []


def test_coverage_of_what_does_not_exist_creates_nothing(tmp_path: Path) -> None:
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), ScriptedProvider()) as made:
        report = made.coverage()

    assert set(found(report).values()) == {"missing"}
    assert list(tmp_path.iterdir()) == []


def test_a_withheld_day_is_suspect_until_it_is_asked_for_again(tmp_path: Path) -> None:
    bars: dict[str, dict[str, list[Row]]] = market("AAPL", "MSFT")
    kept = bars["AAPL"].pop(MIDDLE)
    provider = ScriptedProvider(bars)
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], FIRST, LAST), provider) as made:
        made.ingest()
        assert found(made.coverage()) == {f"AAPL {MIDDLE}": "withheld"}
        provider.forget()
        assert made.ingest().planned == 0

        provider.bars["AAPL"][MIDDLE] = kept
        assert made.plan(retry_suspect=True).planned == 1
        made.ingest(retry_suspect=True)

        assert provider.asked == [f"AAPL {MIDDLE}"]
        assert made.coverage().ok


def test_the_same_silence_once_more_is_short_and_stays_visible(tmp_path: Path) -> None:
    bars = market("AAPL", "MSFT")
    del bars["AAPL"][MIDDLE]
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], FIRST, LAST), ScriptedProvider(bars)) as made:
        made.ingest()
        made.ingest(retry_suspect=True)

        report = made.coverage()
        assert (report.ok, report.strict_ok, report.count(Verdict.SHORT)) == (True, False, 1)
        (gap,) = report.gaps()
        assert (str(gap.first), gap.finding.verdict, gap.finding.suspicion) == (
            MIDDLE,
            Verdict.SHORT,
            Suspicion.WITHHELD,
        )
        assert report.to_arrow().to_pylist()[DATES.index(MIDDLE)]["verdict"] == "short"
        assert made.plan(retry_suspect=True).planned == 0


def test_a_failed_day_is_missing_with_the_error_of_the_provider(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL"), errors={"AAPL": ProviderUnavailableError("the provider is away")})
    with pipeline(config(tmp_path, ["AAPL"], FIRST, LAST), provider) as made:
        made.ingest()
        (gap,) = made.coverage().gaps()

    assert (gap.sessions, gap.finding.detail) == (len(DATES), "the provider is away")


def test_a_stale_aggregate_makes_the_changed_day_suspect_and_aggregate_makes_it_good(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", bars=390))
    settings = config(tmp_path, ["AAPL"], FIRST, LAST, timeframes=["5m", "1d"])
    with pipeline(settings, provider, FakeClock()) as made:
        made.ingest()
        assert made.coverage().ok
    shutil.copytree(tmp_path / "aggregates", tmp_path / "backup")
    provider.bars["AAPL"][MIDDLE] = minutes(MIDDLE, 390, price=200.0)
    path_of(tmp_path, "AAPL", MIDDLE).unlink()
    with pipeline(settings, provider) as made:
        made.ingest()
    shutil.rmtree(tmp_path / "aggregates")
    (tmp_path / "backup").rename(tmp_path / "aggregates")

    with pipeline(settings, provider) as made:
        assert found(made.coverage()) == {f"AAPL {MIDDLE}": "stale aggregate"}
        made.aggregate()
        assert made.coverage().ok


def test_a_store_without_a_configuration_is_judged_by_what_was_ever_asked_for(tmp_path: Path) -> None:
    provider = ScriptedProvider(market("AAPL", "MSFT"))
    with pipeline(config(tmp_path, ["AAPL", "MSFT"], FIRST, LAST, session="regular"), provider) as made:
        made.ingest()
    folders = {name: tmp_path / name for name in ("data", "aggregates", "quarantine", "revisions")}
    at_rest = StoreConfig(
        output_path=folders["data"],
        aggregates_path=folders["aggregates"],
        quarantine_path=folders["quarantine"],
        revisions_path=folders["revisions"],
        state_path=tmp_path / "state" / "marketpipe.sqlite",
    )

    with Store(at_rest, clock=FakeClock()) as store:
        report = store.coverage()

    assert (str(report.first), str(report.last), str(report.session)) == (FIRST, LAST, "regular")
    assert report.ok
    with Store(StoreConfig(state_path=tmp_path / "none.sqlite")) as nothing, pytest.raises(ConfigurationError):
        nothing.coverage()


CLOSURES: Mapping[str, tuple[str, str, int]] = {
    "2001-09-11": ("2001-09-10", "2001-09-17", 2),
    "2012-10-29": ("2012-10-26", "2012-10-31", 2),
    "2018-12-05": ("2018-12-04", "2018-12-06", 2),
    "2025-01-09": ("2025-01-08", "2025-01-10", 2),
}


@pytest.mark.parametrize("closed", CLOSURES)
def test_a_day_on_which_the_exchange_stayed_closed_is_no_session(tmp_path: Path, closed: str) -> None:
    first, last, count = CLOSURES[closed]
    with pipeline(config(tmp_path, ["AAPL"], first, last), ScriptedProvider()) as made:
        dates = [str(date) for date in made.coverage().dates]

    assert (len(dates), closed in dates) == (count, False)
