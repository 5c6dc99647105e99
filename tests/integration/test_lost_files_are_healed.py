"""A checkpoint is valid only as long as its file exists as it was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.pipeline_ring import FRIDAY, TUESDAY, WEDNESDAY, config, contents, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DATES = (TUESDAY, WEDNESDAY, FRIDAY)
BARS = {symbol: {date: minutes(date, 5, price=50.0 + i) for date in DATES} for i, symbol in enumerate(("AAPL", "MSFT"))}


def _file(root: Path, symbol: str, date: str) -> Path:
    year, month, day = date.split("-")
    return root / "data" / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"


def _cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize("damage", [Path.unlink, _cut_short])
def test_a_file_that_is_gone_or_cut_short_is_ingested_again_and_no_other(tmp_path: Path, damage: object) -> None:
    settings = config(tmp_path, ("AAPL", "MSFT"), TUESDAY, FRIDAY)
    with pipeline(settings, ScriptedProvider(BARS)) as first:
        assert first.ingest().ok
    whole = contents(tmp_path)
    damage(_file(tmp_path, "MSFT", WEDNESDAY))  # type: ignore[operator]

    with pipeline(settings, ScriptedProvider(BARS)) as second:
        healed = second.ingest()
        again = second.ingest()

    assert [str(day) for day in healed.outcomes] == [f"MSFT {WEDNESDAY}"]
    assert healed.ok
    assert contents(tmp_path) == whole
    assert again.planned == 0


def test_a_store_whose_data_were_removed_is_ingested_again(tmp_path: Path) -> None:
    settings = config(tmp_path, ("AAPL", "MSFT"), TUESDAY, FRIDAY)
    with pipeline(settings, ScriptedProvider(BARS)) as first:
        report = first.ingest()
    whole = contents(tmp_path)
    shutil.rmtree(tmp_path / "data")

    with pipeline(settings, ScriptedProvider(BARS)) as second:
        healed = second.ingest()

    assert healed.planned == len(BARS) * len(DATES)  # Thursday was empty, and is known to be
    assert healed.bars == report.bars
    assert contents(tmp_path) == whole


def test_silence_about_a_day_whose_file_is_gone_does_not_make_it_empty(tmp_path: Path) -> None:
    settings = config(tmp_path, ("AAPL",), TUESDAY, TUESDAY)
    with pipeline(settings, ScriptedProvider(BARS)) as first:
        first.ingest()
    _file(tmp_path, "AAPL", TUESDAY).unlink()

    with pipeline(settings, ScriptedProvider({})) as second:
        report, status = second.ingest(), second.status()

    assert list(report.failures.values()) == ["the provider returned no bars, but 5 bars are stored; they are kept"]
    assert (status.symbols[0].empty, status.symbols[0].complete) == (0, 1)


def test_no_bars_for_a_day_that_has_a_file_is_a_failure_even_if_the_state_was_lost(tmp_path: Path) -> None:
    settings = config(tmp_path, ("AAPL",), TUESDAY, TUESDAY)
    with pipeline(settings, ScriptedProvider(BARS)) as first:
        first.ingest()
    whole = contents(tmp_path)
    for file in settings.state_path.parent.iterdir():
        file.unlink()

    with pipeline(settings, ScriptedProvider({})) as second:
        report = second.ingest()

    assert list(report.failures.values()) == ["the provider returned no bars, but bars are stored; they are kept"]
    assert contents(tmp_path) == whole
