"""``status`` counts the files that exist, not those that were recorded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe import PipelineConfig, StatusReport
from marketpipe.terminal.store import print_status
from tests.support.pipeline_ring import FRIDAY, TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = (TUESDAY, WEDNESDAY, FRIDAY)
BARS = {symbol: {date: minutes(date, 5) for date in DATES} for symbol in ("AAPL", "MSFT")}


@pytest.fixture
def settings(tmp_path: Path) -> PipelineConfig:
    settings = config(tmp_path, ("AAPL", "MSFT"), TUESDAY, FRIDAY)
    with pipeline(settings, ScriptedProvider(BARS)) as first:
        assert first.ingest().ok
    return settings


def _status(settings: PipelineConfig) -> StatusReport:
    with pipeline(settings, ScriptedProvider(BARS)) as opened:
        return opened.status()


def test_a_file_that_is_gone_is_missing_and_its_bars_and_bytes_do_not_count(settings: PipelineConfig) -> None:
    before = _status(settings)
    file = settings.output_path / "symbol=MSFT" / "year=2024" / "month=01" / f"day={WEDNESDAY[-2:]}.parquet"
    size = file.stat().st_size
    file.unlink()
    apple, other = before.symbols
    assert _status(settings).symbols == (
        apple,
        evolve(other, complete=other.complete - 1, bars=other.bars - 5, size_bytes=other.size_bytes - size, missing=1),
    )


def test_nothing_counts_of_a_store_whose_data_were_moved_away(
    settings: PipelineConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _status(settings)
    shutil.move(settings.output_path, settings.output_path.with_name("data.gone"))
    found = _status(settings)
    assert found.identity == before.identity
    assert [(each.complete, each.missing, each.bars, each.size_bytes) for each in found.symbols] == [(0, 3, 0, 0)] * 2
    print_status(found, as_json=False)
    printed = capsys.readouterr().out
    assert "6 symbol-days missing: the recorded files are gone, or in a month file that is damaged\n" in printed
    assert "'marketpipe verify'" in printed
    assert "'marketpipe ingest'" in printed
    with pipeline(settings, ScriptedProvider(BARS)) as opened:
        samples = [sample for family in opened.metrics_registry().collect() for sample in family.samples]
    values = {(sample.name, sample.labels.get("outcome")): sample.value for sample in samples}
    assert values["marketpipe_store_symbol_days", "complete"] == 0
    assert values["marketpipe_store_missing_symbol_days", None] == 6
    assert values["marketpipe_store_bytes", None] == 0


def test_a_copy_without_its_times_is_not_missing(settings: PipelineConfig) -> None:
    before = _status(settings)
    for file in settings.output_path.rglob("*.parquet"):
        os.utime(file, (0, 0))
    assert _status(settings).symbols == before.symbols


def test_a_status_of_everything_does_not_mention_missing_files(
    settings: PipelineConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    print_status(_status(settings), as_json=False)
    assert "gone" not in capsys.readouterr().out
