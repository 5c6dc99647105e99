"""A checkpoint is valid only as long as its file exists as it was written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.builders import day
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
    assert (status.symbols[0].empty, status.symbols[0].failed) == (0, 1)


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


def _a_link_to_nowhere(file: Path) -> None:
    file.symlink_to("/nowhere/x")


def _a_column_without_a_name(file: Path) -> None:
    content = bytearray((file.parent / file.name.replace(".parquet", ".kept")).read_bytes())
    content[content.index(b"volume", content.index(b"timestamp"))] ^= 0x80
    file.write_bytes(content)


@pytest.mark.parametrize("put", [_a_link_to_nowhere, os.mkfifo, Path.mkdir, _a_column_without_a_name])
def test_what_is_in_the_place_of_one_day_file_harms_no_other_day(tmp_path: Path, put: Callable[[Path], object]) -> None:
    settings = config(tmp_path, ("AAPL", "MSFT"), TUESDAY, FRIDAY, timeframes=["5m", "1d"])
    with pipeline(settings, ScriptedProvider(BARS)) as first:
        assert first.ingest().ok
    whole, file = contents(tmp_path), _file(tmp_path, "MSFT", WEDNESDAY)
    file.rename(kept := file.parent / file.name.replace(".parquet", ".kept"))
    put(file)
    kept.unlink()

    with pipeline(settings, ScriptedProvider(BARS)) as store:
        covered, verified, aggregated = store.coverage(), store.verify(), store.aggregate()
        assert [str(day.symbol_day) for day in covered.days() if day.verdict.disproves] == [f"MSFT {WEDNESDAY}"]
        assert {problem.path for problem in verified.problems} == {str(file.relative_to(tmp_path))}
        assert all("MSFT" in failure and file.name in failure for failure in aggregated.failures)
        assert len(store.load("AAPL", TUESDAY, FRIDAY)) == len(store.load("MSFT", TUESDAY, TUESDAY)) * len(DATES)
        assert store.plan().planned == 1
        healed = store.ingest()

        if put is Path.mkdir:
            assert list(healed.failures) == [day("MSFT", WEDNESDAY)]
            assert "move away what is in its place" in healed.failures[day("MSFT", WEDNESDAY)]
            file.rmdir()
            healed = store.ingest()
        assert healed.ok
        assert contents(tmp_path) == whole
        assert store.verify().ok
