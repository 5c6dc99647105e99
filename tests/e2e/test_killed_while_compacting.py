"""``marketpipe compact`` killed with SIGKILL after calls that change something: no bar is lost or doubled.

One moment of 21 is tried by default. CI tries all of them, with MARKETPIPE_KILL_STRIDE=1 in the environment, those of
repairs, and of the many of corrections one of three.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb
import pytest

from marketpipe import load_ohlcv
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.examples import thoroughly, tries_more
from tests.support.killed_runs import KILLED, DyingCli
from tests.support.small_store import DAYS, SYMBOLS, bars, configure, known
from tests.support.store_on_disk import tree

STRIDE = max(1, int(os.environ.get("MARKETPIPE_KILL_STRIDE", "64")) // 3)
COMPACT, UNDO = ("compact",), ("compact", "--undo")


def all_bars(folder: Path) -> dict[str, list[object]]:
    """Return what MarketPipe loads, after comparing it with what DuckDB finds by the glob."""
    found = load_ohlcv(SYMBOLS, DAYS[0], DAYS[-1], root=folder)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        other = connection.sql(
            f"SELECT symbol, timestamp, close FROM '{folder}/data/**/*.parquet' ORDER BY symbol, timestamp"
        ).to_arrow_table()
    assert other.to_pydict() == found.select(["symbol", "timestamp", "close"]).to_pydict()
    return found.to_pydict()


def with_times(root: Path) -> dict[str, tuple[bytes, int]]:
    return {name: (content, (root / name).stat().st_mtime_ns) for name, content in tree(root).items()}


def check(cli: DyingCli, folder: Path, old: Path, moment: int) -> None:
    assert all_bars(folder) == all_bars(old), moment
    assert known(folder) == known(old), moment
    assert cli.run(folder, "ingest") == 0, moment  # it removes what was left, as far as a check has found it
    assert cli.run(folder, "verify") == 0, (moment, (folder / "output.txt").read_text())


@tries_more
@pytest.mark.slow
@pytest.mark.parametrize("words", [COMPACT, UNDO], ids=["compact", "undo"])
def test_a_compaction_killed_at_any_moment_ends_with_the_next_one(
    cli: DyingCli, scratch: Path, words: tuple[str, ...]
) -> None:
    kills, code = 0, KILLED
    with AlpacaLoopback(bars()) as provider:
        days, months = configure(scratch / "days", provider.url), scratch / "months"
        assert cli.run(days, "ingest") == 0
        shutil.copytree(days, months)
        assert cli.run(months, *COMPACT) == 0
        assert len(list((months / "data").rglob("*.parquet"))) == len(SYMBOLS)
        before, after = (days, months) if words == COMPACT else (months, days)
        for moment in range(1, 100_000, STRIDE):
            folder = scratch / "killed"
            shutil.copytree(before, folder)
            code = cli.run(folder, *words, die_at=moment)
            if code != KILLED:
                break
            kills += 1
            assert all_bars(folder) == all_bars(days), moment
            cli.run(folder, "verify")  # it may find what was left
            check(cli, folder, days, moment)
            assert cli.run(folder, *words) == 0, (moment, (folder / "output.txt").read_text())
            assert with_times(folder / "data") == with_times(after / "data"), moment
            assert not [path for path in (folder / "revisions").iterdir() if path.name.startswith(".")], moment
            shutil.rmtree(folder)

    assert code == 0
    assert moment > 30, moment


@thoroughly
@pytest.mark.slow
def test_a_correction_of_a_month_that_is_one_file_ends_as_if_it_had_not_been_killed(
    cli: DyingCli, scratch: Path
) -> None:
    adopt = ("audit", "--start", DAYS[0], "--adopt")
    kills, code = 0, KILLED
    with AlpacaLoopback(bars()) as provider, AlpacaLoopback(bars(200.0)) as restated:
        old, whole = configure(scratch / "old", provider.url), scratch / "whole"
        assert cli.run(old, "ingest") == 0
        assert cli.run(old, *COMPACT) == 0
        shutil.copytree(old, whole)
        assert cli.run(configure(whole, restated.url), *adopt) == 0
        for moment in range(1, 100_000, STRIDE * 3):
            folder = scratch / "killed"
            shutil.copytree(old, folder)
            configure(folder, restated.url)
            code = cli.run(folder, *adopt, die_at=moment)
            if code != KILLED:
                break
            kills += 1
            for words in (adopt, ("verify",), ("ingest",)):  # what was left is found, then removed
                cli.run(folder, *words)
            assert cli.run(folder, "verify") == 0, (moment, (folder / "output.txt").read_text())
            assert all_bars(folder) == all_bars(whole), moment
            assert known(folder) == known(whole), moment
            shutil.rmtree(folder)

    assert code == 0
    assert kills, moment


@thoroughly
@pytest.mark.slow
@pytest.mark.parametrize("words", [("ingest",), UNDO], ids=["ingest", "undo"])
def test_a_repair_of_a_damaged_month_that_is_killed_at_any_moment_loses_no_day(
    cli: DyingCli, scratch: Path, words: tuple[str, ...]
) -> None:
    kills, code = 0, KILLED
    with AlpacaLoopback(bars()) as provider:
        days, damaged = configure(scratch / "days", provider.url), scratch / "damaged"
        assert cli.run(days, "ingest") == 0
        shutil.copytree(days, damaged)
        assert cli.run(damaged, *COMPACT) == 0
        month = next((damaged / "data").rglob("days.parquet"))
        month.write_bytes(month.read_bytes()[: month.read_bytes().index(b"PAR1PAR1") + 100])
        for moment in range(1, 100_000, STRIDE):
            folder = scratch / "killed"
            shutil.copytree(damaged, folder)
            code = cli.run(folder, *words, die_at=moment)
            if code != KILLED:
                break
            kills += 1
            for again in (words, ("ingest",), ("verify",), ("ingest",)):  # what was left is found, then removed
                cli.run(folder, *again)
            check(cli, folder, days, moment)
            (kept,) = (folder / "quarantine").rglob("*.bak")
            assert kept.read_bytes() == month.read_bytes()
            assert cli.run(folder, *UNDO) == 0
            assert with_times(folder / "data") == with_times(days / "data"), moment
            shutil.rmtree(folder)

    assert code == (0 if words == ("ingest",) else 1)
    assert kills, moment
