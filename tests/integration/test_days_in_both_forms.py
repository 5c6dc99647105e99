"""A compacted store that was copied over its older tree: a day has a file, and a later version in the month file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from marketpipe import Pipeline
from marketpipe.storage.domain.integrity import Damage
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DAYS = ("2024-01-02", "2024-01-03", "2024-01-04")
MONTH = "data/symbol=AAPL/year=2024/month=01"
OLDER = f"{MONTH}/day=03.parquet"


def store(root: Path, price: float) -> Pipeline:
    bars = {"AAPL": {date: minutes(date, 6, price=price if date == DAYS[1] else 100.0) for date in DAYS}}
    settings = config(root, ["AAPL"], DAYS[0], DAYS[-1], timeframes=("1d",))
    return pipeline(settings, ScriptedProvider(bars), FakeClock(f"2024-02-{int(price) - 90}T12:00:00Z"))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A store whose day of 3 January is a file with the bars before their correction, beside its month file."""
    with store(tmp_path, 101.0) as made:
        assert made.ingest().ok
    former, found = (tmp_path / OLDER).read_bytes(), (tmp_path / OLDER).stat()
    with store(tmp_path, 110.0) as made:
        assert made.audit("AAPL", adopt=True).adopted
        assert made.compact().ok
    assert os.listdir(tmp_path / MONTH) == ["days.parquet"]
    (tmp_path / OLDER).write_bytes(former)
    os.utime(tmp_path / OLDER, ns=(found.st_mtime_ns, found.st_mtime_ns))
    return tmp_path


def test_neither_version_is_lost_whatever_is_run_and_verify_names_the_day(mixed: Path) -> None:
    month_file = (mixed / MONTH / "days.parquet").read_bytes()
    with store(mixed, 110.0) as made:
        problems = [each for each in made.verify().problems if "move away" in each.reason]
        assert [(each.path, each.damage) for each in problems] == [(OLDER, Damage.ALTERED)]
        assert "day=03.parquet has other bytes" in str(made.compact(undo=True).months[0].reason)
    shutil.rmtree(mixed / "state")
    with store(mixed, 110.0) as made:
        made.recover()
        made.compact()
        assert (mixed / MONTH / "days.parquet").read_bytes() == month_file
        assert (mixed / OLDER).exists()


def test_who_moves_the_older_one_away_has_the_later_bars(mixed: Path) -> None:
    (mixed / OLDER).unlink()
    with store(mixed, 110.0) as made:
        assert made.verify().ok
        assert made.load("AAPL", DAYS[1], DAYS[1])["open"][0].as_py() == 110.0
