"""An ingestion makes aggregates and read copies of the bars in its memory; its refresh finds them fresh."""

from __future__ import annotations

from pathlib import Path

from marketpipe import AggregatesPrepared, AggregatesRefreshed
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

BARS = {symbol: {date: minutes(date) for date in (TUESDAY, WEDNESDAY)} for symbol in ("AAPL", "MSFT")}
KEPT = {"timeframes": ["5m", "1w"], "read_copies": "parquet"}


def test_the_refresh_finds_every_file_fresh_and_the_report_counts_them_as_written(tmp_path: Path) -> None:
    settings = config(tmp_path, list(BARS), TUESDAY, WEDNESDAY, **KEPT)
    with pipeline(settings, ScriptedProvider(BARS)) as opened:
        prepared, refreshed = list[AggregatesPrepared](), list[AggregatesRefreshed]()
        opened.subscribe(AggregatesPrepared, prepared.append)
        opened.subscribe(AggregatesRefreshed, refreshed.append)
        report = opened.ingest()

        assert sum(event.files for event in prepared) == 6, "minutes, five minutes and days of two symbols"
        assert refreshed == [AggregatesRefreshed(0, 6)]
        assert (report.aggregates.written, report.aggregates.unchanged) == (6, 0)
        again = opened.ingest().aggregates
        assert (again.written, again.unchanged) == (0, 6)


def test_a_day_that_comes_later_leaves_its_month_to_the_refresh(tmp_path: Path) -> None:
    for last in (TUESDAY, WEDNESDAY):
        with pipeline(config(tmp_path, list(BARS), TUESDAY, last, **KEPT), ScriptedProvider(BARS)) as opened:
            report = opened.ingest()

            assert (report.aggregates.written, report.aggregates.unchanged) == (6, 0)
