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


def kept(root: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted((root / "quarantine").rglob("*.bak"))]


def price(made: Pipeline) -> object:
    return made.load("AAPL", DAYS[1], DAYS[1])["open"][0].as_py()


def test_verify_names_the_day_once_and_every_reader_takes_the_file(mixed: Path) -> None:
    with store(mixed, 110.0) as made:
        ((path, damage, reason),) = [(each.path, each.damage, each.reason) for each in made.verify().problems]
        assert (path, damage) == (OLDER, Damage.ALTERED)
        assert reason.startswith("has other bytes than its day in days.parquet, and is read.")
        assert price(made) == 101.0
        opens = made.query(f"SELECT open FROM bars WHERE trading_date = '{DAYS[1]}'")["open"].to_pylist()
        assert opens[0] == 101.0
        assert made.plan().planned == 1


@pytest.mark.parametrize("how", ["ingest", "compact", "undo"])
def test_the_version_on_record_stays_and_the_other_one_goes_into_the_quarantine(mixed: Path, how: str) -> None:
    older = (mixed / OLDER).read_bytes()
    with store(mixed, 110.0) as made:
        assert (made.ingest() if how == "ingest" else made.compact(undo=how == "undo")).ok
        assert kept(mixed) == [("day=03.parquet.1.bak", older)]
        assert made.verify().ok
        assert price(made) == 110.0
        assert made.plan().planned == 0
        assert made.compact().ok
        assert os.listdir(mixed / MONTH) == ["days.parquet"]


def test_a_month_file_that_is_older_than_the_recorded_file_of_a_day_gives_way(mixed: Path) -> None:
    """As after copying an older compacted tree over one whose days are files."""
    with store(mixed, 110.0) as made:
        assert made.compact(undo=True).ok
        newer, status = (mixed / OLDER).read_bytes(), (mixed / OLDER).stat()
    for path in (mixed / MONTH).iterdir():
        path.unlink()
    shutil.rmtree(mixed / "quarantine")
    other = mixed / "other"
    with store(other, 101.0) as made:
        assert made.ingest().ok
        assert made.compact().ok
    older = (other / MONTH / "days.parquet").read_bytes()
    (mixed / MONTH / "days.parquet").write_bytes(older)
    (mixed / OLDER).write_bytes(newer)
    os.utime(mixed / OLDER, ns=(status.st_mtime_ns, status.st_mtime_ns))

    with store(mixed, 110.0) as made:
        assert [each.path for each in made.verify().problems] == [OLDER]
        assert made.compact().ok
        assert kept(mixed) == [("days.parquet.1.bak", older)]
        assert made.verify().ok
        assert price(made) == 110.0


def test_if_neither_is_recorded_both_stay_until_one_is_moved_away(mixed: Path) -> None:
    month_file = (mixed / MONTH / "days.parquet").read_bytes()
    shutil.rmtree(mixed / "state")
    with store(mixed, 110.0) as made:
        assert [str(day) for day in made.recover().damaged] == [f"AAPL {DAYS[1]}"]
        (reason,) = [each.reason for each in made.verify().problems if each.path == OLDER]
        assert "neither was recorded: move away the one that is older" in reason
        assert "neither was recorded: move away the one that is older" in str(made.compact().left[0].reason)
        assert (mixed / MONTH / "days.parquet").read_bytes() == month_file
        assert "neither was recorded" in str(made.compact(undo=True).left[0].reason)
        assert (mixed / OLDER).exists()
    (mixed / OLDER).unlink()
    with store(mixed, 110.0) as made:
        assert made.recover(force=True).damaged == {}
        assert made.verify().ok
        assert price(made) == 110.0


def test_an_equal_file_of_a_day_is_named_and_compacting_makes_one_of_both(mixed: Path) -> None:
    with store(mixed, 110.0) as made:
        assert made.compact(undo=True).ok
        shutil.copytree(mixed / MONTH, mixed / "days")
        assert made.compact().ok
        shutil.copy(mixed / "days/day=02.parquet", mixed / MONTH)

        ((path, damage, reason),) = [(each.path, each.damage, each.reason) for each in made.verify().problems]
        assert (path, damage) == (f"{MONTH}/day=02.parquet", Damage.DOUBLED)
        assert "other programs read its bars twice. Remove it, or run 'marketpipe compact'" in reason
        (month,) = made.compact().changed
        assert (month.files_before, month.files_after) == (2, 1)
        assert made.verify().ok
