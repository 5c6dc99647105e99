"""A store of imported bars: daily bars alone are complete by themselves; what its messages advise, and its metrics."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from marketpipe.completeness import IGNORE, REQUIRE, WARN
from marketpipe.config import PipelineConfig, StoreConfig
from marketpipe.getter import get
from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    DatasetMismatchError,
    IncompleteError,
    IncompleteWarning,
    StorageError,
)
from marketpipe.shared_kernel.domain.trading_date import SessionKind
from marketpipe.terminal.coverage import print_coverage
from marketpipe.terminal.integrity import print_integrity
from marketpipe.terminal.store import print_status
from marketpipe.testing import FakeClock
from tests.support.in_process_cli import run_in_process
from tests.support.own_files import FIRST, Market

LAST = "2024-01-05"
DATES = [FIRST, "2024-01-03", "2024-01-04", LAST]


def store(root: Path, clock: FakeClock | None = None) -> Pipeline:
    config = StoreConfig(output_path=root / "data", timeframes=[])
    return Pipeline(config, registry=CollectorRegistry(), clock=clock or FakeClock())


@pytest.fixture
def without_the_third(tmp_path: Path) -> Path:
    with store(tmp_path) as pipeline:
        days = Market(last=LAST).days().take([0, 1, 3])
        assert pipeline.import_table(days, name="mine", symbol="AAPL", timeframe="1d").ok
    return tmp_path


def import_minutes(root: Path) -> None:
    with store(root) as pipeline:
        assert pipeline.import_table(Market().table(), name="mine", symbol="AAPL").ok


def test_coverage_judges_a_symbol_without_minutes_by_its_days(without_the_third: Path) -> None:
    with store(without_the_third) as pipeline:
        report = pipeline.coverage()
    assert [str(date) for date in report.dates] == DATES
    (found,) = report.symbols
    assert found.verdicts == [Verdict.COMPLETE, Verdict.COMPLETE, Verdict.MISSING, Verdict.COMPLETE]
    assert found.bars == 3
    (gap,) = found.gaps()
    assert str(gap) == "AAPL 2024-01-04 missing: neither its daily bar nor its minutes are stored"


@pytest.mark.parametrize("of_minutes", [False, True])
def test_only_what_lies_between_the_first_and_the_last_imported_bar_of_a_symbol_is_expected(
    tmp_path: Path, of_minutes: bool
) -> None:
    markets = Market("AAPL", last=LAST), Market("FB", DATES[1], DATES[2])
    with store(tmp_path) as pipeline:
        for market in markets:
            bars, timeframe = (market.table(), "1m") if of_minutes else (market.days(), "1d")
            assert pipeline.import_table(bars, name="mine", symbol=market.symbol, timeframe=timeframe).ok
    with store(tmp_path) as pipeline:
        report = pipeline.coverage()
        outside, inside = Verdict.UNLISTED, Verdict.COMPLETE
        assert report.ok
        assert report.symbols[1].verdicts == [outside, inside, inside, outside]
        assert pipeline.coverage("FB", start=FIRST).symbols[0].count(Verdict.MISSING) == 1
        assert pipeline.coverage(end=LAST).count(Verdict.MISSING) == 1
        named = pipeline.coverage("FB", FIRST, LAST)
        assert (named.ok, named.count(Verdict.MISSING)) == (False, 2)
        with pytest.raises(IncompleteError, match="2 symbol-days"):
            pipeline.load("FB", FIRST, LAST, "1m" if of_minutes else "1d", complete=REQUIRE)


def test_a_session_that_is_not_final_is_pending(without_the_third: Path) -> None:
    with store(without_the_third, FakeClock("2024-01-08T15:00:00Z")) as pipeline:
        (found,) = pipeline.coverage("AAPL", LAST, "2024-01-08").symbols
    assert found.verdicts == [Verdict.COMPLETE, Verdict.PENDING]


@pytest.mark.parametrize("timeframe", ["1d", "1w"])
def test_only_days_that_are_not_stored_are_missing_when_days_are_loaded(
    without_the_third: Path, timeframe: str
) -> None:
    with store(without_the_third) as pipeline, warnings.catch_warnings():
        warnings.simplefilter("error", IncompleteWarning)
        if timeframe == "1d":
            for complete in (WARN, REQUIRE):
                assert len(pipeline.load("AAPL", FIRST, DATES[1], timeframe, complete=complete)) == 2
        with pytest.raises(IncompleteWarning, match="AAPL 2024-01-04 missing"):
            pipeline.load("AAPL", FIRST, LAST, timeframe)
        with pytest.raises(IncompleteError, match="'marketpipe import' brings files with more") as refused:
            pipeline.load("AAPL", FIRST, LAST, timeframe, complete=REQUIRE)
    assert "marketpipe ingest" not in str(refused.value)


def test_minutes_beside_the_days_are_judged_as_minutes(without_the_third: Path) -> None:
    import_minutes(without_the_third)
    with store(without_the_third) as pipeline:
        (found,) = pipeline.coverage("AAPL", FIRST, LAST).symbols
        assert [str(gap) for gap in found.gaps()] == [
            "AAPL 2024-01-04 missing: never requested",
            "AAPL 2024-01-05 missing: its daily bar is stored, and no minutes were imported",
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error", IncompleteWarning)
            for complete in (WARN, REQUIRE):
                assert len(pipeline.load("AAPL", FIRST, DATES[1], "1d", complete=complete)) == 2
        with pytest.raises(IncompleteError, match=r"1 symbol-day\n  AAPL 2024-01-04 missing"):
            pipeline.load("AAPL", FIRST, LAST, "1d", complete=REQUIRE)
        with pytest.warns(IncompleteWarning, match=r"AAPL 2024-01-04 to 2024-01-05 \(2 sessions\) missing"):
            pipeline.load("AAPL", FIRST, LAST)


def test_as_of_an_earlier_moment_days_that_were_imported_later_are_missing(tmp_path: Path) -> None:
    days, clock = Market(last=LAST).days(), FakeClock("2024-02-01T15:00:00Z")
    with store(tmp_path, clock) as pipeline:
        assert pipeline.import_table(days.slice(0, 2), name="mine", symbol="AAPL", timeframe="1d").ok
        clock.sleep(86_400)
        assert pipeline.import_table(days, name="mine", symbol="AAPL", timeframe="1d").ok
        for moment, rows, missing in (
            ("2024-01-31T15:00:00Z", 0, r"2024-01-02 to 2024-01-05 \(4 sessions\) missing: not stored yet"),
            ("2024-02-02T03:00:00Z", 2, r"2024-01-04 to 2024-01-05 \(2 sessions\) missing: not stored yet"),
        ):
            with pytest.warns(IncompleteWarning, match=missing):
                assert len(pipeline.load("AAPL", FIRST, LAST, "1d", as_of=moment)) == rows
            for timeframe in ("1d", "1w"):
                with pytest.raises(IncompleteError, match=missing):
                    pipeline.load("AAPL", FIRST, LAST, timeframe, as_of=moment, complete=REQUIRE)
        assert len(pipeline.load("AAPL", FIRST, LAST, "1d", as_of="2024-02-03T15:00:00Z", complete=REQUIRE)) == 4


def test_days_made_from_minutes_are_refused_for_a_symbol_with_daily_bars_alone(without_the_third: Path) -> None:
    with store(without_the_third) as pipeline:
        for moment in (None, "2030-01-01T00:00:00Z"):
            with pytest.raises(ConfigurationError, match=r"source: .* has no minutes of AAPL"):
                pipeline.load("AAPL", FIRST, DATES[1], "1d", source="minutes", as_of=moment, complete=REQUIRE)
        assert len(pipeline.load("AAPL", FIRST, DATES[1], "1d", source="official", complete=REQUIRE)) == 2
    import_minutes(without_the_third)
    with store(without_the_third) as pipeline:
        assert len(pipeline.load("AAPL", FIRST, DATES[1], "1d", source="minutes")) == 0  # the official days hide them


def test_an_export_states_the_dataset_of_days_alone(without_the_third: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    with store(without_the_third) as pipeline:
        pipeline.export(tmp_path / "days.parquet", "AAPL", timeframe="1d")
        assert len(pipeline.load("AAPL", FIRST, LAST, "1d", complete=IGNORE)) == 3
    assert b"import:mine" in pq.read_schema(tmp_path / "days.parquet").metadata[b"marketpipe.dataset"]


def test_messages_about_imported_bars_advise_to_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_minutes(tmp_path)
    (damaged,) = (tmp_path / "data").rglob("day=02.parquet")
    damaged.write_bytes(b"not Parquet")
    with store(tmp_path) as pipeline:
        with pytest.raises(StorageError, match="'marketpipe import' with your files repairs it; then freeze again"):
            pipeline.freeze()
        print_integrity(pipeline.verify(), None, as_json=False)
        print_coverage(pipeline.coverage(), as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("'marketpipe import' brings") == 2
    assert "marketpipe ingest" not in printed
    import_minutes(tmp_path)
    with store(tmp_path) as pipeline:
        assert pipeline.verify().ok


@pytest.mark.parametrize("name", ["day=03.parquet", "days.parquet"])
def test_what_cannot_read_imported_bars_advises_to_import(tmp_path: Path, name: str) -> None:
    import_minutes(tmp_path)
    folder = next((tmp_path / "data").rglob("day=02.parquet")).parent
    (folder / name).write_bytes(b"not Parquet")
    with store(tmp_path) as pipeline:
        messages = [*pipeline.validate().damaged.values(), *pipeline.aggregate(timeframes=["5m", "1m"]).failures]
        for read in (
            lambda: pipeline.load("AAPL", FIRST, LAST, complete=IGNORE),
            lambda: pipeline.query("SELECT * FROM bars"),
            lambda: pipeline.export(tmp_path / "bars.csv", "AAPL"),
        ):
            with pytest.raises(StorageError) as refused:
                read()
            messages.append(str(refused.value))
    assert len(messages) == 5
    assert all("'marketpipe import' with your files repairs it" in message for message in messages)
    assert not any("marketpipe ingest" in message for message in messages)


def test_imported_bars_are_counted_in_the_metrics_of_a_store(tmp_path: Path) -> None:
    registry, market = CollectorRegistry(), Market()
    config = StoreConfig(output_path=tmp_path / "data", timeframes=[])
    with Pipeline(config, registry=registry, clock=FakeClock()) as pipeline:
        assert pipeline.import_table(market.table(), name="mine", symbol="AAPL").ok
    labels = {"store": str(tmp_path / "data"), "provider": "import:mine", "session": "extended"}
    assert registry.get_sample_value("marketpipe_bars_ingested_total", labels) == market.table().num_rows
    assert registry.get_sample_value("marketpipe_partitions_written_total", labels) == 2


@pytest.mark.parametrize("timeframe", ["1d", "1w", "1mo"])
def test_an_export_of_everything_has_symbols_with_days_alone(without_the_third: Path, timeframe: str) -> None:
    with store(without_the_third) as pipeline:
        rows = pipeline.export(without_the_third / "days.parquet", timeframe=timeframe).rows
    assert rows == (3 if timeframe == "1d" else 1)
    with store(without_the_third) as pipeline:
        assert pipeline.import_table(Market("MSFT").table(), name="mine", symbol="MSFT").ok
        assert pipeline.export(without_the_third / "both.parquet", timeframe=timeframe).rows > rows
        minutes = pipeline.export(without_the_third / "minutes.parquet")  # of MSFT, which has minutes
    assert minutes.rows == Market("MSFT").table().num_rows


def test_bars_shorter_than_a_day_are_refused_with_what_there_is(without_the_third: Path) -> None:
    with store(without_the_third) as pipeline:
        with pytest.raises(ConfigurationError, match="no minutes to make them from; did you mean '1d'"):
            pipeline.export(without_the_third / "minutes.parquet")
        with pytest.raises(ConfigurationError, match="daily bars and no minutes; query bars_1d"):
            pipeline.query("SELECT * FROM bars")
        assert pipeline.query("SELECT * FROM bars_1w").num_rows == 1


def test_without_a_configuration_no_command_asks_for_one_that_would_not_help(without_the_third: Path) -> None:
    for command in ("plan",), ("ingest", "--symbols", "AAPL"), ("update",), ("audit",), ("audit", "--sample", "2%"):
        done = run_in_process(*command, "--root", str(without_the_third), cwd=without_the_third)
        assert done.code == 2
        assert "the bars of import:mine come from your own files, and nothing can be requested" in done.err, command
    with store(without_the_third) as pipeline:
        for method in pipeline.plan, pipeline.ingest, pipeline.update, pipeline.audit:
            with pytest.raises(ConfigurationError, match="'marketpipe import'"):
                method()


def test_aggregate_says_what_takes_its_place_in_a_store_of_days_alone(without_the_third: Path) -> None:
    for options, code in ((), 2), (("--timeframes", "1w"), 0), (("--timeframes", "5m", "--json"), 0):
        done = run_in_process("aggregate", "--root", str(without_the_third), *options, cwd=without_the_third)
        assert done.code == code, done.err
        assert "daily bars and no minutes to aggregate; 1w and 1mo are made when they are loaded" in done.err
    import_minutes(without_the_third)
    done = run_in_process("aggregate", "--root", str(without_the_third), "--timeframes", "5m", cwd=without_the_third)
    assert (done.code, "no minutes" in done.err) == (0, False)


def test_the_status_counts_days_alone(without_the_third: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with store(without_the_third) as pipeline:
        (summary,), (job,) = pipeline.status().symbols, pipeline.status().jobs
        assert (job.planned, job.done, job.failed) == (3, 3, 0)
        assert (str(summary.first), str(summary.last), summary.official_days, summary.bars) == (FIRST, LAST, 3, 0)
        print_status(pipeline.status(), as_json=False)
    assert re.search(r"official days.*\nAAPL +2024-01-02 +2024-01-05", capsys.readouterr().out)
    with store(without_the_third) as pipeline:
        assert pipeline.import_table(Market("MSFT").table(), name="mine", symbol="MSFT").ok
        counts = [(str(each.symbol), each.complete, each.official_days) for each in pipeline.status().symbols]
    assert counts == [("AAPL", 0, 3), ("MSFT", 2, 0)]


def test_a_drop_promises_no_request_for_bars_of_files(without_the_third: Path) -> None:
    (without_the_third / "marketpipe.yaml").write_text(
        f"{{provider: import:mine, symbols: [AAPL], start: {FIRST}, end: {LAST}, timeframes: []}}"
    )
    dropped = run_in_process("drop", "AAPL", "--yes", "--root", str(without_the_third), cwd=without_the_third)
    assert (dropped.code, "again" in dropped.err) == (0, False), dropped.err


def test_a_drop_counts_days_alone(without_the_third: Path) -> None:
    with store(without_the_third) as pipeline:
        assert pipeline.drop("AAPL", dry_run=True).official_days == 3
    asked = run_in_process("drop", "AAPL", "--root", str(without_the_third), cwd=without_the_third)
    assert (asked.code, "AAPL (3 official days) would be dropped" in asked.err) == (2, True), asked.err
    with store(without_the_third) as pipeline:
        assert pipeline.drop("AAPL").official_days == 3
        assert pipeline.status().symbols == ()


def test_get_loads_what_was_imported_and_warns_of_the_rest(without_the_third: Path) -> None:
    import_minutes(without_the_third)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IncompleteWarning)
        assert get("AAPL", FIRST, DATES[1], "1d", root=without_the_third).num_rows == 2
        assert get("AAPL", FIRST, DATES[1], root=without_the_third).num_rows == Market().table().num_rows
        assert get("AAPL", FIRST, LAST, "1d", root=without_the_third, complete=IGNORE).num_rows == 3
    with pytest.warns(IncompleteWarning, match="2024-01-04 missing(?s:.)*'marketpipe import' brings files with more"):
        get("AAPL", FIRST, LAST, "1d", root=without_the_third)
    with pytest.raises(IncompleteError, match="2024-01-04"):
        get("AAPL", FIRST, LAST, "1d", root=without_the_third, complete=REQUIRE)
    with pytest.raises(ConfigurationError, match="has nothing of MSFT"):
        get("MSFT", FIRST, LAST, "1d", root=without_the_third)


@pytest.mark.parametrize("other", ["import:other", "synthetic"])
@pytest.mark.parametrize("timeframe", ["1d", "1m"])
def test_bars_of_another_import_are_not_taken_for_those_that_are_named(
    without_the_third: Path, timeframe: str, other: str
) -> None:
    if timeframe == "1m":
        import_minutes(without_the_third)
    with pytest.raises(DatasetMismatchError, match="import:mine"):
        get("AAPL", FIRST, DATES[1], timeframe, root=without_the_third, provider=other)
    mistyped = PipelineConfig(
        provider=other, symbols=["AAPL"], start=FIRST, end=DATES[1], root=without_the_third, timeframes=[]
    )
    with Pipeline(mistyped, registry=CollectorRegistry(), clock=FakeClock()) as pipeline:
        for judged in (pipeline.coverage, pipeline.report):
            with pytest.raises(DatasetMismatchError, match=r"import:mine(?s:.)*or provider: import:mine"):
                judged()
    assert get("AAPL", FIRST, DATES[1], timeframe, root=without_the_third, provider="import:mine").num_rows


def test_the_state_of_days_alone_is_recovered_from_their_files(without_the_third: Path) -> None:
    (without_the_third / "state" / "marketpipe.sqlite").unlink()
    with store(without_the_third) as pipeline:
        report = pipeline.recover()
    assert (str(report.identity and report.identity.provider), report.official_days) == ("import:mine", 3)
    assert report.session is SessionKind.EXTENDED  # minutes of all hours may be imported later
    with store(without_the_third) as pipeline:
        (found,) = pipeline.coverage("AAPL", FIRST, LAST).symbols
        assert pipeline.verify().ok
    assert found.count(Verdict.COMPLETE) == 3
