"""A user's own files become a store like any other: validated, with checkpoints and revisions, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from prometheus_client import CollectorRegistry

from marketpipe.config import PipelineConfig, StoreConfig
from marketpipe.pipeline import Pipeline
from marketpipe.reports import ImportReport
from marketpipe.shared_kernel.domain.errors import ConfigurationError, DatasetMismatchError, ValidationError
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.events import BarsStored, Event, JobFinished, RunFinished
from marketpipe.shared_kernel.infrastructure.arrow_bars import TIMESTAMP
from marketpipe.testing import FakeClock
from tests.support import own_files
from tests.support.own_files import FIRST, LAST, Market
from tests.support.pipeline_ring import contents, quarantined_rows, stored_rows

VALUES = ["open", "high", "low", "close", "volume"]


def store(root: Path, **changes: Any) -> Pipeline:
    config = StoreConfig(output_path=root / "data", **{"timeframes": [], **changes})
    return Pipeline(config, registry=CollectorRegistry(), clock=FakeClock())


def imported(root: Path, given: object, **options: Any) -> ImportReport:
    with store(root) as pipeline:
        return pipeline.import_table(given, **{"name": "mine", **options})


def loaded(root: Path, symbol: str = "AAPL", timeframe: str = "1m", first: str = FIRST, last: str = LAST) -> pa.Table:
    with store(root) as pipeline:
        return pipeline.load(symbol, first, last, timeframe)


def assert_stored(root: Path, market: Market) -> None:
    found, wanted = loaded(root, market.symbol, first=market.first, last=market.last), market.table()
    assert found["timestamp"].to_pylist() == wanted["timestamp"].to_pylist()
    assert found.select(VALUES).to_pydict() == wanted.select(VALUES).to_pydict()


def test_quantconnect_minute_files(tmp_path: Path) -> None:
    report = imported(tmp_path, own_files.quantconnect(tmp_path / "lean", Market()))
    assert report.ok
    assert report.preview.layout == "QuantConnect LEAN"
    assert (report.preview.price_unit, report.preview.timezone) == ("deci-cents", "America/New_York")
    assert_stored(tmp_path, Market())


@pytest.mark.parametrize("pretty", [True, False])
def test_databento_minutes(tmp_path: Path, pretty: bool) -> None:
    markets = [Market("AAPL"), Market("BRK.B")]
    report = imported(tmp_path, own_files.databento(tmp_path / "ohlcv-1m.csv", markets, pretty=pretty))
    assert report.preview.price_unit == ("dollars" if pretty else "nano-dollars")
    for market in markets:
        assert_stored(tmp_path, market)


def test_massive_flat_files(tmp_path: Path) -> None:
    markets = [Market("AAPL"), Market("MSFT")]
    report = imported(tmp_path, str(own_files.massive(tmp_path / "2024-01-02.csv.gz", markets)))
    assert report.preview.layout == "Massive (Polygon) flat file"
    assert stored_rows(tmp_path, "AAPL", FIRST)[0]["trade_count"] == Market().rows()[0]["trade_count"]
    for market in markets:
        assert_stored(tmp_path, market)


def test_kibot_files(tmp_path: Path) -> None:
    market = Market(first="2024-01-12", last="2024-01-16")
    path = own_files.kibot(tmp_path / "AAPL.txt", market)
    with pytest.raises(ConfigurationError, match="local times without a zone"):
        imported(tmp_path, path, symbol_from="name")
    report = imported(tmp_path, path, symbol_from="name", timezone="America/New_York", adjustment="all")
    assert any("no header" in note for note in report.preview.notes)
    assert_stored(tmp_path, market)


def test_yahoo_history_becomes_official_days(tmp_path: Path) -> None:
    path = own_files.yahoo(tmp_path / "AAPL.csv", Market())
    asked = imported(tmp_path, path, symbol_from="name", dry_run=True).preview
    assert any("adjusted" in question for question in asked.questions)
    assert any('timeframe="1d"' in question for question in asked.questions)
    assert asked.adjustment == ""
    report = imported(tmp_path, path, symbol="AAPL", timeframe="1d", adjustment="split")
    assert report.ok
    assert report.ingestion is not None
    assert report.ingestion.official.answered == 2
    found = loaded(tmp_path, timeframe="1d")
    assert found["source"].to_pylist() == ["official", "official"]
    assert found["close"].to_pylist() == Market().days()["close"].to_pylist()


def test_a_row_of_nulls_in_a_history_of_yahoo_is_left_out_and_counted(tmp_path: Path) -> None:
    path = own_files.yahoo(tmp_path / "AAPL.csv", Market())
    path.write_text(path.read_text() + "2024-01-04,null,null,null,null,null,null\n")
    report = imported(tmp_path, path, symbol="AAPL", timeframe="1d", adjustment="split")
    assert (report.ok, report.preview.left_out) == (True, {"rows without any price": 1})
    assert loaded(tmp_path, timeframe="1d", last="2024-01-04").num_rows == 2


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars"])
def test_tables_in_memory(tmp_path: Path, kind: str) -> None:
    table: Any = Market().table()
    if kind == "pandas":
        table = table.to_pandas().set_index("timestamp")
    if kind == "polars":
        table = pytest.importorskip("polars").from_arrow(table)
    assert imported(tmp_path, table, symbol="AAPL").ok
    assert_stored(tmp_path, Market())


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    report = imported(tmp_path / "store", Market().table(), symbol="AAPL", dry_run=True)
    assert report.ingestion is None
    assert report.preview.bars == len(Market().table())
    assert report.preview.sample[0]["symbol"] == "AAPL"
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("flag", ["replace", "dry_run"])
def test_a_flag_that_is_neither_true_nor_false_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(ValidationError, match=f"^{flag}: expected True or False, not 'no'"):
        imported(tmp_path / "store", Market().table(), symbol="AAPL", **{flag: "no"})
    assert not (tmp_path / "store").exists()


def test_an_open_question_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="whose bars are these"):
        imported(tmp_path / "store", Market().table())
    assert not (tmp_path / "store").exists()


def test_only_the_dates_of_the_table_are_requested(tmp_path: Path) -> None:
    table = pa.concat_tables([Market(first=day, last=day).table() for day in ("2024-01-02", "2024-01-05")])
    report = imported(tmp_path, table, symbol="AAPL")
    assert report.ingestion is not None
    assert [str(day.trading_date) for day in report.ingestion.outcomes] == ["2024-01-02", "2024-01-05"]
    with store(tmp_path) as pipeline:
        assert [str(gap.first) for gap in pipeline.coverage("AAPL", "2024-01-02", "2024-01-05").gaps()] == [
            "2024-01-03"
        ]


def test_a_bad_bar_goes_to_quarantine(tmp_path: Path) -> None:
    table = Market().table()
    lows = table["low"].to_pylist()
    lows[3] = -1.0
    table = table.set_column(table.schema.get_field_index("low"), "low", pa.array(lows))
    report = imported(tmp_path, table, symbol="AAPL")
    assert report.ingestion is not None
    assert report.ingestion.rejected == 1
    assert len(quarantined_rows(tmp_path, "AAPL", FIRST)) == 1


def test_the_same_table_again_changes_no_file(tmp_path: Path) -> None:
    imported(tmp_path, Market().table(), symbol="AAPL")
    before = contents(tmp_path)
    report = imported(tmp_path, Market().table(), symbol="AAPL")
    assert report.ok
    assert contents(tmp_path) == before


def test_days_that_would_lose_bars_are_a_question(tmp_path: Path) -> None:
    imported(tmp_path, Market().table(), symbol="AAPL")
    half = Market().table().slice(0, 100)
    with pytest.raises(ConfigurationError, match="would lose bars: AAPL 2024-01-02"):
        imported(tmp_path, half, symbol="AAPL")
    report = imported(tmp_path, half, symbol="AAPL", replace=True)
    assert report.ingestion is not None
    assert report.ingestion.bars == 100
    assert len(list((tmp_path / "revisions").rglob("*.parquet"))) == 1


def test_bars_of_minutes_that_have_not_ended_are_a_question(tmp_path: Path) -> None:
    table = Market(first="2025-06-02", last="2025-06-02").table()  # now is 12:00 UTC
    asked = imported(tmp_path, table, symbol="AAPL", dry_run=True).preview.questions
    assert "a minute that has not ended: leave out what is later than now" in asked[-1]
    ended = table.filter(pc.less(table["timestamp"], datetime(2025, 6, 2, 12, tzinfo=UTC)))
    report = imported(tmp_path, ended, symbol="AAPL")
    assert report.ok
    assert report.ingestion is not None
    assert report.ingestion.bars == len(ended)


def test_bars_outside_the_hours_of_trading_are_left_out_and_counted(tmp_path: Path) -> None:
    table = Market().table()
    nights = table.slice(0, 2).set_column(
        0, "timestamp", pa.array([datetime(2024, 1, 2, 8, tzinfo=UTC), datetime(2024, 1, 4, 2, tzinfo=UTC)], TIMESTAMP)
    )
    report = imported(tmp_path, pa.concat_tables([table, nights]), symbol="AAPL")
    assert report.ingestion is not None
    assert (report.ok, report.ingestion.rejected) == (True, 0)
    assert report.preview.left_out == {"hours without trading": 2}
    assert_stored(tmp_path, Market())


def test_a_part_of_an_adjusted_history_is_refused(tmp_path: Path) -> None:
    imported(tmp_path, Market().table(), symbol="AAPL", adjustment="all")
    later = Market(first=LAST, last="2024-01-04").table()
    with pytest.raises(ConfigurationError, match="Import the whole history at once"):
        imported(tmp_path, later, symbol="AAPL", adjustment="all")


def test_another_dataset_is_refused(tmp_path: Path) -> None:
    imported(tmp_path, Market().table(), symbol="AAPL")
    with pytest.raises(DatasetMismatchError, match="import:mine"):
        imported(tmp_path, Market("MSFT").table(), symbol="MSFT", name="other")


def test_a_store_of_a_provider_takes_no_import(tmp_path: Path) -> None:
    config = PipelineConfig(
        provider="synthetic", symbols=["AAPL"], start=FIRST, end=LAST, output_path=tmp_path / "data", timeframes=[]
    )
    with (
        Pipeline(config, registry=CollectorRegistry(), clock=FakeClock()) as pipeline,
        pytest.raises(ConfigurationError, match="a store of their own"),
    ):
        pipeline.import_table(Market().table(), name="mine", symbol="AAPL")


@pytest.mark.parametrize("method", ["ingest", "update", "plan", "audit"])
def test_nothing_can_be_requested_for_imported_bars(tmp_path: Path, method: str) -> None:
    imported(tmp_path, Market().table(), symbol="AAPL")
    config = PipelineConfig(
        provider="import:mine", symbols=["AAPL"], start=FIRST, end=LAST, output_path=tmp_path / "data", timeframes=[]
    )
    arguments = {"symbols": ["AAPL"]}
    with (
        Pipeline(config, registry=CollectorRegistry(), clock=FakeClock()) as pipeline,
        pytest.raises(ConfigurationError, match="come from your own files"),
    ):
        getattr(pipeline, method)(**arguments)


def test_a_store_of_imports_can_be_configured(tmp_path: Path) -> None:
    config = PipelineConfig(
        provider="import:mine",
        symbols=["AAPL"],
        start=FIRST,
        end=LAST,
        output_path=tmp_path / "data",
        timeframes=["5m"],
    )
    with Pipeline(config, registry=CollectorRegistry(), clock=FakeClock()) as pipeline:
        assert pipeline.import_table(Market().table(), symbol="AAPL").ok
        assert pipeline.coverage().ok
        assert len(pipeline.load("AAPL", FIRST, LAST, "5m")) > 0


def test_observers_of_the_pipeline_see_the_import(tmp_path: Path) -> None:
    seen = list[Event]()
    with store(tmp_path) as pipeline:
        pipeline.subscribe(Event, seen.append)
        pipeline.import_table(Market().table(), name="mine", symbol="AAPL")
    assert sum(isinstance(event, BarsStored) for event in seen) == 1
    assert [type(event) for event in seen[-2:]] == [JobFinished, RunFinished]


def test_a_regular_session_without_its_auction(tmp_path: Path) -> None:
    market = Market(extended=False)
    with store(tmp_path, session="regular") as pipeline:
        report = pipeline.import_table(market.table(), name="mine", symbol="AAPL")
    assert report.ingestion is not None
    assert report.ingestion.count(Outcome.COMPLETE) == 2
    assert_stored(tmp_path, market)


def test_a_store_of_regular_hours_stays_one(tmp_path: Path) -> None:
    market = Market()
    with store(tmp_path, session="regular") as pipeline:
        pipeline.import_table(Market(last=FIRST).table(), name="mine", symbol="AAPL")
    assert imported(tmp_path, market.table(), symbol="AAPL").ok
    assert_stored(tmp_path, Market(extended=False))
    assert quarantined_rows(tmp_path, "AAPL", LAST) == []


def test_regular_hours_alone_are_refused_by_a_store_of_all_hours(tmp_path: Path) -> None:
    imported(tmp_path, Market(last=FIRST).table(), symbol="AAPL")
    with store(tmp_path, session="regular") as pipeline, pytest.raises(DatasetMismatchError, match="extended"):
        pipeline.import_table(Market().table(), name="mine", symbol="AAPL")


def test_coverage_names_whose_bars_it_judged(tmp_path: Path) -> None:
    imported(tmp_path, Market().table(), symbol="AAPL")
    with store(tmp_path) as pipeline:
        identity = pipeline.coverage("AAPL", FIRST, LAST).identity
    assert identity is not None
    assert identity.provider == "import:mine"


def test_bars_of_sessions_that_have_not_begun_are_a_question(tmp_path: Path) -> None:
    later = Market(first="2026-06-01", last="2026-06-01")
    asked = imported(tmp_path, later.table(), symbol="AAPL", dry_run=True).preview.questions
    assert asked[-1].startswith("the table has bars of 2026-06-01, which has not begun")
    asked = imported(tmp_path, later.days(), symbol="AAPL", timeframe="1d", dry_run=True).preview.questions
    assert asked[-1].startswith("the table has a daily bar of 2026-06-01, which is not final")


def test_a_part_of_an_adjusted_history_of_days_is_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1d", "adjustment": "split"}
    imported(tmp_path, Market().days(), **options)
    with pytest.raises(ConfigurationError, match="Import the whole history at once"):
        imported(tmp_path, Market(first=LAST, last="2024-01-04").days(), **options)
    assert imported(tmp_path, Market(last="2024-01-04").days(), **options).ok


def test_the_state_of_imported_bars_is_recovered_from_their_files(tmp_path: Path) -> None:
    imported(tmp_path, Market().table(), symbol="AAPL")
    (tmp_path / "state" / "marketpipe.sqlite").unlink()
    with store(tmp_path) as pipeline:
        assert pipeline.recover().ok
    with store(tmp_path) as pipeline:
        assert pipeline.coverage("AAPL", FIRST, LAST).ok
        assert pipeline.verify().ok


def test_days_between_those_of_the_table_keep_their_official_bars(tmp_path: Path) -> None:
    options: dict[str, Any] = {"symbol": "AAPL", "timeframe": "1d"}
    days = Market(last="2024-01-05").days()
    imported(tmp_path, days, **options)
    report = imported(tmp_path, days.take([0, 3]), **options)
    assert report.ingestion is not None
    assert (report.ingestion.official.answered, report.ingestion.official.changed) == (2, ())
    assert len(loaded(tmp_path, timeframe="1d", last="2024-01-05")) == 4


def test_a_stopped_import_is_finished_by_the_same_one(tmp_path: Path) -> None:
    market = Market(last="2024-02-23")  # several pages
    with store(tmp_path) as pipeline:
        pipeline.subscribe(BarsStored, lambda _: pipeline.stop())
        stopped = pipeline.import_table(market.table(), name="mine", symbol="AAPL").ingestion
    assert stopped is not None
    assert stopped.state == "interrupted"
    report = imported(tmp_path, market.table(), symbol="AAPL", replace=True)
    assert report.ok
    assert_stored(tmp_path, market)
