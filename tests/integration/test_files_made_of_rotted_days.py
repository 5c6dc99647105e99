"""Read copies and aggregates that were made of other bytes of a day than it has, under the same size and time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe import Pipeline
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.storage.domain.integrity import Damage
from marketpipe.storage.infrastructure.parquet_files import bars_in
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

FIRST, LAST = "2024-01-30", "2024-01-31"
ROTTED = f"data/symbol=AAPL/year=2024/month=01/day={LAST[-2:]}.parquet"
COPY = "copies/symbol=AAPL/year=2024/month=01"
FORMS = pytest.mark.parametrize("form", ["parquet", "arrow"])
QUERIES = [f"SELECT * FROM {view} ORDER BY ALL" for view in ("bars", "bars_5m", "bars_1d")]


def store(root: Path, form: str) -> Pipeline:
    bars = {"AAPL": {date: minutes(date, 20) for date in (FIRST, LAST)}}
    settings = {"timeframes": ("5m", "1d"), "read_copies": form}
    clock = FakeClock("2024-02-05T12:00:00Z")
    return pipeline(config(root, ["AAPL"], FIRST, LAST, **settings), ScriptedProvider(bars), clock)


def answers(made: Pipeline) -> list[pa.Table]:
    return [made.load("AAPL", FIRST, LAST), *map(made.query, QUERIES)]


def put(path: Path, content: bytes) -> None:
    """Put other bytes in the place of a file, under its time."""
    found = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


def with_other_bars(content: bytes) -> bytes:
    """Flip a bit so that the file can be read, and has other prices."""
    bars = bars_in(pa.py_buffer(content), "")
    for place in range(4, len(content)):
        rotted = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        try:
            found = bars_in(pa.py_buffer(rotted), "")
        except PartitionUnreadableError:
            continue
        if found["timestamp"].equals(bars["timestamp"]) and not found["close"].equals(bars["close"]):
            return rotted
    raise AssertionError("no such bit")


def made_of_rot(made: Pipeline, root: Path) -> None:
    put(root / ROTTED, with_other_bars((root / ROTTED).read_bytes()))
    for area in ("copies", "aggregates"):
        shutil.rmtree(root / area)
    assert made.aggregate().written == 3


@FORMS
def test_what_was_made_of_a_rotted_day_is_made_again_when_the_day_is_healed(tmp_path: Path, form: str) -> None:
    with store(tmp_path, form) as made:
        assert made.ingest().ok
        whole, stored = answers(made), (tmp_path / ROTTED).read_bytes()
        made_of_rot(made, tmp_path)
        assert [problem.damage for problem in made.verify().problems] == [Damage.ALTERED]
        assert answers(made) != whole

        report = made.ingest()

        assert (tmp_path / ROTTED).read_bytes() == stored
        assert report.aggregates.written == 3
        assert answers(made) == whole
        assert made.verify().ok


@FORMS
def test_verify_reports_what_counts_as_fresh_and_was_made_of_other_bytes(tmp_path: Path, form: str) -> None:
    """As after a repair by hand."""
    with store(tmp_path, form) as made:
        assert made.ingest().ok
        whole, stored = answers(made), (tmp_path / ROTTED).read_bytes()
        made_of_rot(made, tmp_path)
        put(tmp_path / ROTTED, stored)
        assert made.aggregate().written == 0

        problems = made.verify().problems

        assert {problem.damage for problem in problems} == {Damage.STALE}
        assert [problem.path.partition("/")[0] for problem in problems] == ["aggregates", "aggregates", "copies"]
        assert f"other bytes of {LAST}" in problems[0].reason
        assert made.aggregate().written == 3
        assert answers(made) == whole
        assert made.verify().ok


@FORMS
def test_verify_reports_a_former_copy_under_the_time_of_the_present_one(tmp_path: Path, form: str) -> None:
    with store(tmp_path, form) as made:
        assert made.ingest().ok
        path = tmp_path / f"{COPY}.{form}"
        former = path.read_bytes()
    corrected = minutes(LAST, 21)
    bars = {"AAPL": {FIRST: minutes(FIRST, 20), LAST: corrected}}
    settings = {"timeframes": ("5m", "1d"), "read_copies": form}
    with pipeline(
        config(tmp_path, ["AAPL"], FIRST, LAST, **settings), ScriptedProvider(bars), FakeClock("2024-02-06T12:00:00Z")
    ) as made:
        made.audit("AAPL", adopt=True)
        assert made.aggregate().ok
        assert made.verify().ok
        present = path.read_bytes()
        put(path, former)

        assert [(problem.path, problem.damage) for problem in made.verify().problems] == [
            (f"{COPY}.{form}", Damage.STALE)
        ]
        assert made.aggregate().written == 1
        assert path.read_bytes() == present
