"""Compacted months that are damaged: named once, repaired by the next ingestion, and no other month is affected."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marketpipe import Pipeline
from marketpipe.ingestion.domain.coverage.verdict import Suspicion, Verdict
from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError
from marketpipe.storage.domain.integrity import Damage
from marketpipe.storage.infrastructure.compacted.month_file import days_in
from marketpipe.testing import FakeClock
from tests.support.cli_process import marketpipe
from tests.support.examples import some
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

DAYS = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-02-01", "2024-02-02")
JANUARY, FEBRUARY = DAYS[:3], DAYS[3:]
MONTH = "data/symbol=AAPL/year=2024/month=01"
MONTH_FILE = f"{MONTH}/days.parquet"


def opened_at(root: Path) -> Pipeline:
    bars = {
        symbol: {date: minutes(date, 6, price=100.0 + number) for number, date in enumerate(DAYS)}
        for symbol in ("AAPL", "MSFT")
    }
    settings = config(root, ["AAPL", "MSFT"], DAYS[0], DAYS[-1], timeframes=["5m", "1d"])
    return pipeline(settings, ScriptedProvider(bars), FakeClock())


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pipeline]:
    """A store of two symbols and two months, compacted, with the provider that its bars are from."""
    with opened_at(tmp_path) as opened:
        assert opened.ingest().ok
        assert opened.compact().ok
        yield opened


def all_bars(made: Pipeline) -> object:
    return made.load(["AAPL", "MSFT"], DAYS[0], DAYS[-1]).to_pydict()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def without_the_footer(path: Path) -> None:
    days = days_in(path.read_bytes())
    path.write_bytes(b"".join(day.content for day in days))


def cut_in_the_second_day(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"PAR1PAR1") + 100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone")


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[Callable[[Path], None], int] = {
    cut_short: 3,
    without_the_footer: 3,
    cut_in_the_second_day: 1,
    emptied: 0,
    a_folder: 0,
    a_link_to_nowhere: 0,
    a_link_to_itself: 0,
    a_pipe: 0,
}
"""How a month of three days is damaged, and how many of them can be read afterwards."""


def quarantined(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "quarantine").rglob("*.bak"))


@pytest.mark.parametrize("damage", some(DAMAGES))
def test_a_damaged_month_is_one_problem_and_the_next_ingestion_repairs_it(
    made: Pipeline, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    wanted, readable = all_bars(made), DAMAGES[damage]
    damage(tmp_path / MONTH_FILE)

    (problem,) = made.verify().problems
    assert (problem.path, problem.damage) == (MONTH_FILE, Damage.UNREADABLE)
    assert "'marketpipe ingest --symbols AAPL --start 2024-01-01 --end 2024-01-31' repairs it" in problem.reason
    assert made.plan().planned == len(JANUARY)
    report = made.ingest()
    assert (report.ok, report.planned, report.aggregates.ok) == (True, len(JANUARY), True)
    assert made.verify().ok
    assert all_bars(made) == wanted
    assert quarantined(tmp_path) == ([] if readable == len(JANUARY) else ["days.parquet.1.bak"])
    assert len(made.compact().changed) == 1
    assert made.verify().ok


@pytest.mark.parametrize("damage", some(DAMAGES))
def test_other_months_and_symbols_are_read_and_planned_as_before(
    made: Pipeline, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    wanted = made.load(["AAPL", "MSFT"], FEBRUARY[0], FEBRUARY[-1]).to_pydict()
    damage(tmp_path / MONTH_FILE)

    assert made.load(["AAPL", "MSFT"], FEBRUARY[0], FEBRUARY[-1]).to_pydict() == wanted
    assert len(made.load("MSFT", DAYS[0], DAYS[-1])) == 30
    advice = "'marketpipe ingest --symbols AAPL[^']*' repairs it"
    with pytest.raises(PartitionUnreadableError, match=rf"days\.parquet .*{advice}"):
        made.load("AAPL", DAYS[0], DAYS[-1])
    assert made.plan("AAPL", FEBRUARY[0], FEBRUARY[-1]).planned == 0
    (aapl, msft) = made.coverage().symbols
    assert aapl.suspicions()[Suspicion.ALTERED] == len(JANUARY)
    assert msft.count(Verdict.SUSPECT) == 0
    assert [each.complete for each in made.status().symbols] == [len(FEBRUARY), len(DAYS)]


@pytest.mark.parametrize("damage", some(DAMAGES))
def test_undoing_keeps_the_days_that_can_be_read_and_tells_of_the_others(
    made: Pipeline, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    readable = DAMAGES[damage]
    damage(tmp_path / MONTH_FILE)

    dry = made.compact("AAPL", "2024-01-01", "2024-01-31", undo=True, dry_run=True)
    assert os.path.lexists(tmp_path / MONTH_FILE)
    report = made.compact("AAPL", "2024-01-01", "2024-01-31", undo=True)

    assert (dry.months, dry.ok) == (report.months, report.ok)
    assert (report.months[0].files_after, report.ok) == (readable, readable == len(JANUARY))
    assert len(os.listdir(tmp_path / MONTH)) == readable
    if not report.ok:
        lost = len(JANUARY) - readable
        assert f"{lost} days of its damaged file cannot be read" in str(report.months[0].reason)
    assert made.plan().planned == len(JANUARY) - readable
    assert made.ingest().ok
    assert made.verify().ok


@pytest.mark.parametrize("dry_run", [True, False])
def test_compacting_names_a_damaged_month_and_leaves_it(made: Pipeline, tmp_path: Path, dry_run: bool) -> None:
    cut_short(tmp_path / MONTH_FILE)

    report = made.compact(dry_run=dry_run)

    assert not report.ok
    ((month, reason),) = [(str(each.month), str(each.reason)) for each in report.left]
    assert month == "2024-01"
    assert "days.parquet is damaged: " in reason
    assert "'marketpipe ingest --symbols AAPL --start 2024-01-01 --end 2024-01-31' repairs it" in reason


def test_what_became_of_a_damaged_file_is_printed(tmp_path: Path) -> None:
    (tmp_path / "marketpipe.yaml").write_text(
        "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-01-02\nend: 2024-01-05\ntimeframes: []\n"
    )
    assert marketpipe("ingest", "--quiet", cwd=tmp_path).returncode == 0
    assert marketpipe("compact", cwd=tmp_path).returncode == 0
    cut_in_the_second_day(tmp_path / MONTH_FILE)

    done = marketpipe("compact", "--undo", "--quiet", cwd=tmp_path)

    kept = "quarantine/symbol=AAPL/year=2024/month=01/days.parquet.1.bak"
    assert done.returncode == 1
    assert f"{MONTH_FILE} was damaged: 1 day of it became files again, 3 days could not be read. It is {kept} now" in (
        done.stderr
    )
    assert "AAPL 2024-01 changed: 3 days of its damaged file cannot be read" in done.stderr


def test_a_file_of_another_program_that_has_the_name_of_a_month_file_is_kept(made: Pipeline, tmp_path: Path) -> None:
    wanted = all_bars(made)
    made.compact(undo=True)
    (tmp_path / MONTH_FILE).write_bytes(b"mine")

    assert [each.path for each in made.verify().problems] == [MONTH_FILE]
    assert made.plan().planned == 0
    made.compact(undo=True)
    assert [path.read_bytes() for path in (tmp_path / "quarantine").rglob("*.bak")] == [b"mine"]
    assert made.verify().ok
    assert all_bars(made) == wanted


def test_the_month_file_of_another_symbol_gives_way_to_the_days_of_this_one(made: Pipeline, tmp_path: Path) -> None:
    wanted = all_bars(made)
    other = (tmp_path / MONTH_FILE.replace("AAPL", "MSFT")).read_bytes()
    (tmp_path / MONTH_FILE).write_bytes(other)

    assert len(made.verify().problems) >= len(JANUARY)
    assert made.ingest().ok
    assert [path.read_bytes() for path in (tmp_path / "quarantine").rglob("*.bak")] == [other]
    assert made.verify().ok
    assert all_bars(made) == wanted


def test_validating_names_a_damaged_month_and_reads_the_others(made: Pipeline, tmp_path: Path) -> None:
    cut_short(tmp_path / MONTH_FILE)

    report = made.validate()
    assert report.symbol_days == 2 * len(DAYS) - len(JANUARY)
    ((day, reason),) = [(str(day), reason) for day, reason in report.damaged.items()]
    assert day == "AAPL 2024-01-01"
    assert "days.parquet is damaged" in reason
    assert made.validate(start=FEBRUARY[0]).damaged == {}


def test_a_symbol_with_a_damaged_month_can_be_dropped(made: Pipeline, tmp_path: Path) -> None:
    cut_in_the_second_day(tmp_path / MONTH_FILE)

    made.drop("AAPL")
    assert not (tmp_path / "data/symbol=AAPL").exists()
    assert quarantined(tmp_path) == ["days.parquet.1.bak"]
    assert made.verify().ok


def test_a_state_that_is_built_again_knows_nothing_of_a_damaged_month_and_an_ingestion_repairs_it(
    made: Pipeline, tmp_path: Path
) -> None:
    wanted = all_bars(made)
    cut_in_the_second_day(tmp_path / MONTH_FILE)
    made.close()
    shutil.rmtree(tmp_path / "state")

    with opened_at(tmp_path) as again:
        report = again.recover()
        assert report.symbol_days == len(DAYS) * 2 - len(JANUARY)
        assert [str(day) for day in report.damaged] == [f"AAPL {day}" for day in JANUARY]
        assert again.ingest().ok
        assert again.verify().ok
        assert all_bars(again) == wanted


@pytest.mark.parametrize("has_index", [True, False])
def test_undoing_after_a_loss_of_the_state_tells_how_many_days_are_lost(
    made: Pipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture, has_index: bool
) -> None:
    cut_in_the_second_day(tmp_path / MONTH_FILE)
    made.close()
    shutil.rmtree(tmp_path / "state")
    if not has_index:
        shutil.rmtree(tmp_path / "revisions")

    with opened_at(tmp_path) as again:
        again.recover()
        report = again.compact(undo=True)

    assert not report.ok
    (reason,) = [each.reason for each in report.left]
    expected = "2 days of its damaged file cannot be read" if has_index else "which other days it had is not known"
    assert expected in str(reason)
    assert "'marketpipe ingest --symbols AAPL --start 2024-01-01 --end 2024-01-31' brings lost bars again" in str(
        reason
    )
    assert ("2 days could not be read" if has_index else "which other days it had is not known") in caplog.text
