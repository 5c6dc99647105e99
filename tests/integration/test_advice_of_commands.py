"""What commands do and advise where they cannot do what was asked: each was wrong or silent once."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.in_process_cli import run_in_process

CONFIG = "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-01-02\nend: 2024-01-02\ntimeframes: [5m]\n"
SHOWING = ("verify", "freeze", "status")
WITH_CONFIG = ("--config", "config.yaml")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    (folder / "config.yaml").write_text(CONFIG)
    assert run_in_process("ingest", *WITH_CONFIG, cwd=folder).code == 0
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "store"))


def test_aggregate_without_a_configuration_builds_no_timeframe_that_the_store_does_not_have(store: Path) -> None:
    done = run_in_process("aggregate", cwd=store)

    assert done.code == 0
    assert [folder.name for folder in (store / "aggregates").iterdir()] == ["timeframe=5m"]


def test_aggregate_without_a_configuration_and_without_aggregates_says_what_to_name(store: Path) -> None:
    shutil.rmtree(store / "aggregates")
    (store / "state" / "marketpipe.sqlite").unlink()
    done = run_in_process("aggregate", cwd=store)

    assert done.code == 2
    assert "--timeframes" in done.err
    assert not (store / "aggregates").exists()


def test_aggregate_and_verify_advise_the_same_for_a_damaged_file_and_it_repairs_the_store(store: Path) -> None:
    file = next((store / "data").rglob("day=02.parquet"))
    file.write_bytes(file.read_bytes()[:500])
    aggregated, verified = run_in_process("aggregate", *WITH_CONFIG, cwd=store), run_in_process("verify", cwd=store)
    coverage = run_in_process("coverage", *WITH_CONFIG, cwd=store)

    assert (aggregated.code, verified.code, coverage.code) == (1, 1, 1)
    assert all("'marketpipe ingest --config config.yaml'" in text for text in (aggregated.err, coverage.out))
    assert "'marketpipe ingest'" in verified.out
    assert "emove" not in aggregated.err + verified.out
    assert run_in_process("ingest", *WITH_CONFIG, cwd=store).code == 0
    assert run_in_process("aggregate", *WITH_CONFIG, cwd=store).code == 0
    assert run_in_process("verify", cwd=store).code == 0


def test_recover_does_not_call_files_of_others_no_bars_and_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "data" / "symbol=AAPL" / "year=2024" / "month=01" / "day=02.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"timestamp": [1], "open": [1.0]}), file)
    done = run_in_process("recover", cwd=tmp_path)

    assert done.code == 2
    assert "marketpipe verify" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_recover_keeps_the_state_of_a_store_whose_files_are_all_damaged(store: Path) -> None:
    next((store / "data").rglob("day=02.parquet")).write_bytes(b"damaged")
    done = run_in_process("recover", "--force", cwd=store)

    assert done.code == 2
    assert json.loads(run_in_process("status", "--json", cwd=store).out)["symbols"][0]["complete"] == 1


@pytest.mark.parametrize("command", ["validate", "verify", "recover", "freeze", "aggregate", "coverage"])
def test_a_check_of_an_empty_folder_is_wrong_usage_and_makes_nothing(tmp_path: Path, command: str) -> None:
    done = run_in_process(command, cwd=tmp_path)

    assert done.code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["plan"], ["ingest"], ["config", "show"]])
def test_a_feed_is_refused_for_a_provider_that_has_none(store: Path, command: list[str]) -> None:
    done = run_in_process(*command, *WITH_CONFIG, "--feed", "iex", cwd=store)

    assert done.code == 2
    assert "--feed" in done.err
    assert "synthetic" in done.err


def pasted(text: str, name: str) -> list[str]:
    """Return the words of the first command of this name that a message quotes."""
    return shlex.split(re.findall(f"'marketpipe ({name}[^']*)'", text)[0])


def test_the_advice_of_verify_repairs_a_read_copy_that_no_ingestion_refreshes(tmp_path: Path) -> None:
    settings = tmp_path / "bars" / "marketpipe.yaml"
    settings.parent.mkdir()
    settings.write_text(f"{CONFIG}read_copies: parquet\n")
    assert run_in_process("ingest", "--root", "bars", cwd=tmp_path).code == 0
    settings.write_text(f"{CONFIG}read_copies: none\n")
    (copy,) = (tmp_path / "bars" / "copies").rglob("*.parquet")
    copy.write_bytes(copy.read_bytes()[:500] + b"XXXX" + copy.read_bytes()[504:])

    verified = run_in_process("verify", "--root", "bars", cwd=tmp_path)
    assert (verified.code, "marketpipe ingest" in verified.out) == (1, False)
    assert run_in_process(*pasted(verified.out, "aggregate"), cwd=tmp_path).code == 0
    assert run_in_process("verify", "--root", "bars", cwd=tmp_path).code == 0


@pytest.mark.parametrize("how", ["ingest", "compact"])
def test_the_advice_for_a_damaged_month_can_be_pasted(tmp_path: Path, how: str) -> None:
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "marketpipe.yaml").write_text(CONFIG.replace("end: 2024-01-02", "end: 2024-01-03"))
    assert run_in_process("ingest", "--root", "bars", cwd=tmp_path).code == 0
    assert run_in_process("compact", "--root", "bars", cwd=tmp_path).code == 0
    (month,) = (tmp_path / "bars" / "data").rglob("days.parquet")
    month.write_bytes(month.read_bytes()[:-1])

    verified, frozen, status = (run_in_process(name, "--root", "bars", cwd=tmp_path) for name in SHOWING)
    assert "days.parquet: unreadable: the days that its end names" in verified.out
    assert "days.parquet is damaged" in frozen.err
    assert "2 symbol-days missing: the recorded files are gone, or in a month file that is damaged" in status.out
    assert run_in_process(*pasted(verified.out, how), cwd=tmp_path).code == 0
    assert run_in_process("verify", "--root", "bars", cwd=tmp_path).code == 0


@pytest.mark.parametrize("command", ["status", "plan", "coverage"])
def test_after_a_loss_of_the_state_commands_name_the_one_that_rebuilds_it(store: Path, command: str) -> None:
    shutil.rmtree(store / "state")

    shown = run_in_process(command, *WITH_CONFIG, cwd=store)
    assert run_in_process(*pasted(shown.out, "recover"), cwd=store).code == 0
    again = run_in_process(command, *WITH_CONFIG, cwd=store)
    assert (again.code, "recover" in again.out) == (0, False)
