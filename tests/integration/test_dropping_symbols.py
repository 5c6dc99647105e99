"""Dropped symbols: versions and rejected bars stay, other symbols are untouched, and an ingestion starts anew."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from marketpipe import ConfigurationError, Outcome, Pipeline, StoreBusyError, StoreConfig, Symbol
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.testing import FakeClock, bar
from tests.support.builders import day
from tests.support.in_process_cli import Ended, run_in_process
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

TUESDAY, WEDNESDAY = "2024-01-02", "2024-01-03"
AAPL, FIRST = Symbol("AAPL"), day("AAPL", TUESDAY)
REJECTED = bar(f"{TUESDAY}T16:30:00Z", 100.0, high=1.0)
QUARANTINED = "quarantine/symbol=AAPL/year=2024/month=01/day=02.parquet"
CLI = f"{{provider: synthetic, symbols: [AAPL, MSFT], start: {TUESDAY}, end: 2024-01-05, timeframes: [5m, 1d]}}"


def begin(root: Path) -> tuple[Pipeline, ScriptedProvider, FakeClock]:
    dates = {date: minutes(date, 6) for date in (TUESDAY, WEDNESDAY)}
    bars = {"AAPL": {**dates, TUESDAY: [*dates[TUESDAY], REJECTED]}, "MSFT": dates}
    provider, clock = ScriptedProvider(bars), FakeClock("2024-01-08T12:00:00Z")
    made = pipeline(config(root, list(bars), TUESDAY, WEDNESDAY, timeframes=["5m", "1d"]), provider, clock)
    assert made.ingest().ok
    clock.advance(60)
    return made, provider, clock


def left(root: Path, symbol: str) -> set[str]:
    """Return the areas that have a folder of the symbol."""
    return {path.relative_to(root).parts[0] for path in root.rglob(f"symbol={symbol}")}


def test_what_is_left_of_a_dropped_symbol_are_its_versions_and_its_rejected_bars(tmp_path: Path) -> None:
    made, _, clock = begin(tmp_path)
    with made:
        timeframes = ("1m", "5m", "1d")
        before, then = {each: made.load("AAPL", TUESDAY, WEDNESDAY, each) for each in timeframes}, clock.now()
        others = {each: made.load("MSFT", TUESDAY, WEDNESDAY, each) for each in timeframes}
        assert left(tmp_path, "AAPL") == {"data", "aggregates", "quarantine", "revisions"}
        rejected = (tmp_path / QUARANTINED).read_bytes()
        clock.advance(60)

        report = made.drop("AAPL")

        assert (report.symbols, report.symbol_days, report.bars) == ((AAPL,), 2, 12)
        assert left(tmp_path, "AAPL") == {"quarantine", "revisions"}
        assert (tmp_path / QUARANTINED).read_bytes() == rejected
        for each in timeframes:
            assert made.load("AAPL", TUESDAY, WEDNESDAY, each, as_of=then).equals(before[each])
            assert made.load("MSFT", TUESDAY, WEDNESDAY, each).equals(others[each])
        assert made.load("AAPL", TUESDAY, WEDNESDAY, as_of=clock.now().plus(timedelta(minutes=1))).num_rows == 0
        assert [summary.symbol for summary in made.status().symbols] == [Symbol("MSFT")]
        assert made.query("SELECT DISTINCT symbol FROM bars UNION SELECT symbol FROM bars_1d")[
            "symbol"
        ].to_pylist() == ["MSFT"]
        assert made.verify().ok
        (tmp_path / "aggregates/timeframe=5m/symbol=AAPL").mkdir()  # a drop that is killed may leave it
        assert made.load("AAPL", TUESDAY, WEDNESDAY, as_of=then).equals(before["1m"])


def test_a_later_ingestion_takes_a_dropped_symbol_again_and_keeps_all_moments(tmp_path: Path) -> None:
    made, provider, clock = begin(tmp_path)
    with made:
        then = clock.now()
        clock.advance(60)
        made.drop("AAPL")
        dropped = clock.now()
        clock.advance(60)
        provider.forget()
        again = made.ingest()
        assert {str(each) for each in again.outcomes} == {f"AAPL {date}" for date in (TUESDAY, WEDNESDAY)}
        assert again.outcomes[FIRST].outcome is Outcome.COMPLETE
        counts = [made.load("AAPL", TUESDAY, WEDNESDAY, as_of=each).num_rows for each in (then, dropped, clock.now())]
        assert counts == [12, 0, 12]
        assert made.verify().ok
        assert made.coverage().ok


def test_a_state_that_is_rebuilt_does_not_know_a_dropped_symbol(tmp_path: Path) -> None:
    made, _, clock = begin(tmp_path)
    with made:
        made.drop("AAPL")
        settings = made.config
    with pipeline(config(tmp_path, ["MSFT"], TUESDAY, WEDNESDAY), ScriptedProvider({}), clock) as another:
        assert another.recover(force=True).symbol_days == 2
        assert [summary.symbol for summary in another.status().symbols] == [Symbol("MSFT")]
        assert settings.output_path == another.config.output_path


def test_a_store_is_dropped_from_without_a_provider(tmp_path: Path) -> None:
    begin(tmp_path)[0].close()
    with Pipeline(StoreConfig(output_path=tmp_path / "data")) as store:
        assert store.drop(["AAPL", "MSFT"]).symbol_days == 4
        with pytest.raises(ConfigurationError, match="all symbols were dropped"):
            store.coverage()
        assert not list((tmp_path / "data").iterdir())
        assert store.verify().ok


def test_a_dry_run_reports_and_changes_nothing(tmp_path: Path) -> None:
    made, _, _ = begin(tmp_path)
    with made:
        assert made.drop("AAPL", dry_run=True).bars == 12
        assert made.load("AAPL", TUESDAY, WEDNESDAY).num_rows == 12


@pytest.mark.parametrize(
    ("symbols", "message"), [([], "name at least one"), ("AAP", "did you mean 'AAPL'"), (["MSFT", "X"], "nothing of X")]
)
def test_what_is_not_there_is_refused_before_anything_is_dropped(
    symbols: str | list[str], message: str, tmp_path: Path
) -> None:
    made, _, _ = begin(tmp_path)
    with made, pytest.raises(ConfigurationError, match=message):
        made.drop(symbols)
    assert left(tmp_path, "AAPL") & left(tmp_path, "MSFT") == {"data", "aggregates", "revisions"}


def test_a_symbol_that_another_process_works_on_is_left_alone(tmp_path: Path) -> None:
    made, _, clock = begin(tmp_path)
    other = SQLiteState(tmp_path / "state" / "marketpipe.sqlite", "../data")
    now = clock.now()
    lease = other.leases.take({FIRST: SessionHours.REGULAR}, None, now, now.plus(timedelta(minutes=10)))
    with made:
        with pytest.raises(
            StoreBusyError, match="another process works on AAPL 2024-01-02: nothing of AAPL was dropped"
        ):
            made.drop("AAPL")
        assert made.load("AAPL", TUESDAY, WEDNESDAY).num_rows == 12
        other.leases.release(lease.lease)
        made.drop("AAPL")
    other.close()


def test_official_days_stay_as_versions_too(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL", "MSFT"], TUESDAY, "2024-01-05", provider="synthetic", timeframes=["1d"])
    with Pipeline(settings, clock=(clock := FakeClock("2024-01-08T12:00:00Z"))) as made:
        made.ingest()
        official, then = made.load("AAPL", TUESDAY, "2024-01-05", "1d", source="official"), clock.now()
        clock.advance(60)
        made.drop("AAPL")
        assert official.num_rows == 4
        assert made.load("AAPL", TUESDAY, "2024-01-05", "1d").num_rows == 0
        assert made.load("AAPL", TUESDAY, "2024-01-05", "1d", as_of=then, source="official").equals(official)
        assert made.verify().ok
        clock.advance(60)
        made.ingest()
        assert made.load("AAPL", TUESDAY, "2024-01-05", "1d", source="official").equals(official)
        assert made.verify().ok


def test_official_days_without_a_history_get_one(tmp_path: Path) -> None:
    settings = config(tmp_path, ["AAPL"], TUESDAY, "2024-01-05", provider="synthetic")
    with Pipeline(settings, clock=(clock := FakeClock("2024-01-08T12:00:00Z"))) as made:
        made.ingest()
        then = clock.now()
        clock.advance(60)
        official = made.load("AAPL", TUESDAY, "2024-01-05", "1d", source="official")
        (tmp_path / "revisions/symbol=AAPL/year=2024/known_since.csv").unlink()
        made.drop("AAPL")
        assert made.load("AAPL", TUESDAY, "2024-01-05", "1d", as_of=then, source="official").equals(official)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("template")
    (place / "config.yaml").write_text(CLI)
    assert run_in_process("ingest", "-c", "config.yaml", cwd=place).code == 0
    return place


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "store"))


def run(folder: Path, *words: str) -> Ended:
    return run_in_process(*words, "-c", "config.yaml", cwd=folder)


def test_the_command_drops_and_says_what_the_configuration_still_names(folder: Path) -> None:
    ended = run(folder, "drop", "AAPL", "--yes")
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert "AAPL (4 symbol-days, " in ended.err
    assert "the configuration still names AAPL: the next ingest or update requests it again" in ended.err
    assert json.loads(run(folder, "drop", "MSFT", "-y", "--json").out)["symbol_days"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("AAPL",), "would be dropped; confirm with --yes"),
        (("APL", "--yes"), "did you mean 'AAPL'"),
        (("AAPL,../x", "--yes"), "is not a symbol"),
    ],
)
def test_the_command_drops_nothing_that_was_not_confirmed(words: tuple[str, ...], message: str, folder: Path) -> None:
    ended = run(folder, "drop", *words)
    assert (ended.code, message in ended.err) == (2, True), ended.err
    assert (folder / "data" / "symbol=AAPL").exists()
