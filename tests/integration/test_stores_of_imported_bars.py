"""A store of imported bars: daily bars alone are complete by themselves; what its messages advise, and its metrics."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from marketpipe.completeness import IGNORE, REQUIRE, WARN
from marketpipe.config import StoreConfig
from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import IncompleteError, IncompleteWarning, StorageError
from marketpipe.terminal.coverage import print_coverage
from marketpipe.terminal.integrity import print_integrity
from marketpipe.testing import FakeClock
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
        assert found.count(Verdict.MISSING) == 2
        with warnings.catch_warnings():
            warnings.simplefilter("error", IncompleteWarning)
            assert len(pipeline.load("AAPL", FIRST, DATES[1], "1d")) == 2
        with pytest.warns(IncompleteWarning):
            pipeline.load("AAPL", FIRST, LAST)


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
        with pytest.raises(StorageError, match="or 'marketpipe import' if the bars were imported"):
            pipeline.freeze()
        print_integrity(pipeline.verify(), None, as_json=False)
        print_coverage(pipeline.coverage(), as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("'marketpipe import' brings") == 2
    assert "marketpipe ingest" not in printed
    import_minutes(tmp_path)
    with store(tmp_path) as pipeline:
        assert pipeline.verify().ok


def test_imported_bars_are_counted_in_the_metrics_of_a_store(tmp_path: Path) -> None:
    registry, market = CollectorRegistry(), Market()
    config = StoreConfig(output_path=tmp_path / "data", timeframes=[])
    with Pipeline(config, registry=registry, clock=FakeClock()) as pipeline:
        assert pipeline.import_table(market.table(), name="mine", symbol="AAPL").ok
    labels = {"provider": "import:mine"}
    assert registry.get_sample_value("marketpipe_bars_ingested_total", labels) == market.table().num_rows
    assert registry.get_sample_value("marketpipe_partitions_written_total", labels) == 2
