"""What a job stored before it died between a file and its checkpoint is written down, not asked for again."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from marketpipe.config import PipelineConfig
from marketpipe.testing import FakeClock
from tests.support.pipeline_ring import TUESDAY, WEDNESDAY, config, contents, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

BARS = {
    "AAPL": {TUESDAY: minutes(TUESDAY, 5), WEDNESDAY: minutes(WEDNESDAY, 7)},
    "MSFT": {TUESDAY: [*minutes(TUESDAY, 3), *minutes(TUESDAY, 1, start="15:30", price=-5.0)]},  # the last is no bar
}
JUST_AFTER_THE_CLOSE = "2024-01-04T00:30:00Z"  # 19:30 in New York on Wednesday, whose late hours are still going on


def _died_before_its_checkpoints(settings: PipelineConfig, *days: str, clock: FakeClock | None = None) -> None:
    """An ingestion that is undone as far as a crash between the files of these days and their checkpoints undoes it."""
    with pipeline(settings, ScriptedProvider(BARS), clock) as first:
        assert first.ingest().ok
    for table in ("checkpoints", "partitions"):
        keys = ", ".join("('{}', '{}')".format(*day.split()) for day in days)
        _sql(settings.state_path, f"DELETE FROM {table} WHERE (symbol, trading_date) IN (VALUES {keys})")
    _sql(settings.state_path, f"UPDATE jobs SET state = 'running', finished_at = NULL, done = done - {len(days)}")


def _sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as state, state:
        return state.execute(statement).fetchall()


def _known(settings: PipelineConfig) -> list[tuple[Any, ...]]:
    columns = "symbol, trading_date, outcome, hours, answers, rejected, error, rows, first, last, bytes, sha256"
    return _sql(
        settings.state_path,
        f"SELECT {columns}, known_since, minutes FROM checkpoints "
        "LEFT JOIN partitions USING (store_id, symbol, trading_date) ORDER BY 1, 2",
    )


def _asked_again(settings: PipelineConfig) -> list[str]:
    provider = ScriptedProvider(BARS)
    with pipeline(settings, provider) as again:
        assert again.ingest().ok
    return provider.asked


def _file(settings: PipelineConfig, symbol: str, date: str) -> Path:
    year, month, day = date.split("-")
    return settings.output_path / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"


def test_a_file_without_its_checkpoint_is_written_down_and_not_asked_for_again(tmp_path: Path) -> None:
    settings = config(tmp_path, ("AAPL", "MSFT"), TUESDAY, WEDNESDAY)
    with pipeline(settings, ScriptedProvider(BARS)) as whole:
        assert whole.ingest().ok
    files, known = contents(tmp_path), _known(settings)
    shutil.rmtree(tmp_path)
    _died_before_its_checkpoints(settings, f"AAPL {TUESDAY}", f"AAPL {WEDNESDAY}", f"MSFT {TUESDAY}")

    assert _asked_again(settings) == []
    assert contents(tmp_path) == files
    assert _known(settings) == known
    with pipeline(settings, ScriptedProvider(BARS)) as after:
        assert [(job.state, job.done) for job in after.status().jobs] == [("completed", 0), ("interrupted", 4)]


def test_what_the_dead_job_had_not_come_to_is_asked_for(tmp_path: Path) -> None:
    settings = config(tmp_path, ("AAPL", "MSFT"), TUESDAY, WEDNESDAY)
    _died_before_its_checkpoints(settings, f"AAPL {TUESDAY}", f"AAPL {WEDNESDAY}")
    _file(settings, "AAPL", WEDNESDAY).unlink()

    assert _asked_again(settings) == [f"AAPL {WEDNESDAY}"]


def _is_garbage(file: Path) -> None:
    file.write_bytes(b"PAR1 is how it begins, and that is all")


def _is_of_another_day(file: Path) -> None:
    shutil.copy(file.with_name("day=03.parquet"), file)


def _is_older_than_the_job(file: Path) -> None:
    _sql(file.parents[4] / "state" / "marketpipe.sqlite", "UPDATE jobs SET started_at = '2025-06-02T12:00:01Z'")


def _lies_outside_of_its_scope(file: Path) -> None:
    _sql(file.parents[4] / "state" / "marketpipe.sqlite", "UPDATE jobs SET first = '2024-01-03'")


def _is_of_a_job_that_ended(file: Path) -> None:
    _sql(file.parents[4] / "state" / "marketpipe.sqlite", "UPDATE jobs SET state = 'completed'")


@pytest.mark.parametrize(
    "happened",
    [
        _is_garbage,
        _is_of_another_day,
        _is_older_than_the_job,
        _lies_outside_of_its_scope,
        _is_of_a_job_that_ended,
    ],
)
def test_a_file_that_is_not_surely_the_dead_jobs_is_asked_for_again(
    tmp_path: Path, happened: Callable[[Path], None]
) -> None:
    settings = config(tmp_path, ("AAPL",), TUESDAY, WEDNESDAY)
    _died_before_its_checkpoints(settings, f"AAPL {TUESDAY}")
    whole = _file(settings, "AAPL", TUESDAY).read_bytes()
    happened(_file(settings, "AAPL", TUESDAY))

    assert _asked_again(settings) == [f"AAPL {TUESDAY}"]
    assert _file(settings, "AAPL", TUESDAY).read_bytes() == whole


def test_a_day_that_was_asked_for_before_it_was_final_is_asked_for_again(tmp_path: Path) -> None:
    settings = config(tmp_path, ("AAPL",), TUESDAY, WEDNESDAY)
    clock = FakeClock(JUST_AFTER_THE_CLOSE)
    _died_before_its_checkpoints(settings, f"AAPL {TUESDAY}", f"AAPL {WEDNESDAY}", clock=clock)

    assert _asked_again(settings) == [f"AAPL {WEDNESDAY}"]


def test_of_a_day_of_the_regular_session_only_the_other_hours_are_asked_for(tmp_path: Path) -> None:
    _died_before_its_checkpoints(config(tmp_path, ("AAPL",), TUESDAY, TUESDAY, session="regular"), f"AAPL {TUESDAY}")
    provider = ScriptedProvider(BARS)

    with pipeline(config(tmp_path, ("AAPL",), TUESDAY, TUESDAY), provider) as wider:
        assert wider.ingest().ok

    assert provider.requests
    assert not any("REGULAR" in str(asked.hours) for request in provider.requests for asked in request.sessions)
