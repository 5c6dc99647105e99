"""verify, recover and freeze as a user sees them: real processes, real files, real damage."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_process import marketpipe, result_of

CONFIG = """
provider: synthetic
symbols: [AAPL, MSFT]
start: 2024-11-25
end: 2024-12-03
timeframes: [5m, 1d]
"""
SYMBOL_DAYS = 12
DAY = "data/symbol=AAPL/year=2024/month=11/day=26.parquet"
MONTH = "aggregates/timeframe=5m/symbol=AAPL/year=2024/month=11.parquet"
STATE = "state/marketpipe.sqlite"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    (folder / "config.yaml").write_text(CONFIG)
    done = marketpipe("ingest", "--config", "config.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def store(intact: Path, tmp_path: Path) -> Path:
    """A copy that one test may damage; file times are kept."""
    folder = tmp_path / "store"
    shutil.copytree(intact, folder)
    return folder


def run(folder: Path, *words: str) -> Any:
    return marketpipe(*words, cwd=folder)


def ingested(folder: Path) -> Any:
    """Return the JSON result of an ingestion of the same range."""
    done = marketpipe("ingest", "--config", "config.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return result_of(done)


def problems(folder: Path, *words: str) -> dict[str, str]:
    done = run(folder, "verify", "--json", *words)
    report = result_of(done)
    assert report["intact"] is (done.returncode == 0)
    return {problem["path"]: problem["damage"] for problem in report["problems"]}


def flip(path: Path, position: int = 100) -> None:
    """Change one bit, but neither size nor modification time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def frozen(folder: Path, *words: str) -> Path:
    done = run(folder, "freeze", *words)
    assert done.returncode == 0, done.stderr
    (folder / "marketpipe.lock").write_text(done.stdout)
    return folder / "marketpipe.lock"


def test_an_intact_store_is_verified_without_a_configuration(store: Path) -> None:
    done = run(store, "verify")

    assert done.returncode == 0
    assert "files, " in done.stdout
    assert "every file is unchanged" in done.stdout


def test_a_flipped_bit_under_an_unchanged_time_is_found_and_repaired_by_the_next_ingestion(store: Path) -> None:
    before = (store / DAY).read_bytes()
    flip(store / DAY)
    assert ingested(store)["planned"] == 0

    seen = run(store, "verify")
    assert seen.returncode == 1
    assert f"{DAY}: altered: its bytes are not those that were recorded" in seen.stdout
    assert "'marketpipe ingest' requests damaged and lost minute bars again" in seen.stdout
    covered = run(store, "coverage")
    assert covered.returncode == 1
    assert "AAPL 2024-11-26 missing: its bytes are not those that were recorded" in covered.stdout

    assert ingested(store)["planned"] == 1
    assert (store / DAY).read_bytes() == before
    assert problems(store) == {}
    assert run(store, "coverage").returncode == 0


def test_truncated_lost_and_foreign_files_are_listed_and_repaired(store: Path) -> None:
    cut, gone = store / DAY, store / DAY.replace("26", "27")
    cut.write_bytes(cut.read_bytes()[:-100])
    gone.unlink()
    (store / "data" / "symbol=AAPL" / "notes.txt").write_text("mine")
    (store / "aggregates" / "notes.txt").write_text("mine")
    other = store / DAY.replace("AAPL", "MSFT")
    stranger = store / "data/symbol=MSFT/year=2024/month=11/day=23.parquet"
    shutil.copy(other, stranger)

    assert problems(store) == {
        DAY: "altered",
        DAY.replace("26", "27"): "gone",
        "data/symbol=AAPL/notes.txt": "foreign",
        "aggregates/notes.txt": "foreign",
        "data/symbol=MSFT/year=2024/month=11/day=23.parquet": "mislabelled",
    }
    assert set(problems(store, "--symbols", "MSFT", "--start", "2024-11-25")) == set()
    assert ingested(store)["planned"] == 2
    assert set(problems(store).values()) == {"foreign", "mislabelled"}


def test_an_unreadable_aggregate_is_rebuilt_by_the_next_ingestion(store: Path) -> None:
    path = store / MONTH
    before, times = path.read_bytes(), path.stat()
    path.write_bytes(before[:-4] + b"XXXX")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert problems(store) == {MONTH: "unreadable"}
    assert ingested(store)["planned"] == 0
    assert path.read_bytes() == before
    assert problems(store) == {}


@pytest.mark.parametrize("garbage", [None, b"garbage" * 1000])
def test_a_state_that_is_lost_or_garbage_is_rebuilt_from_the_files(store: Path, garbage: bytes | None) -> None:
    shutil.rmtree(store / "state")
    if garbage:
        (store / "state").mkdir()
        (store / STATE).write_bytes(garbage)
        message = run(store, "coverage").stderr
        assert "file is not a database; 'marketpipe recover' builds a new one" in message

    done = run(store, "recover")

    assert done.returncode == 0, done.stderr
    assert f"{SYMBOL_DAYS} symbol-days recorded, 0 of them partial" in done.stdout
    assert "session extended" in done.stdout
    assert run(store, "coverage").returncode == 0
    assert problems(store) == {}
    assert ingested(store)["planned"] == 0
    kept = list((store / "state").glob("*.bak"))
    assert [path.read_bytes() for path in kept] == ([garbage] if garbage else [])


def test_a_readable_state_is_replaced_only_with_force(store: Path) -> None:
    refused = run(store, "recover")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "marketpipe recover --force" in refused.stderr

    assert run(store, "recover", "--force").returncode == 0
    (aside,) = (store / "state").glob("*.bak")
    with sqlite3.connect(aside) as state:
        assert state.execute("SELECT count(*) FROM checkpoints").fetchone() == (SYMBOL_DAYS,)
    assert ingested(store)["planned"] == 0


def test_a_state_of_a_newer_version_is_left_alone(store: Path) -> None:
    with sqlite3.connect(store / STATE) as state:
        state.execute("PRAGMA user_version = 99")
    for words in (["coverage"], ["recover"]):
        done = run(store, *words)
        assert done.returncode in (1, 2)
        assert "newer MarketPipe" in done.stderr
    assert list((store / "state").glob("*.bak")) == []
    assert run(store, "recover", "--force").returncode == 0


def test_damaged_files_are_not_recorded_and_are_requested_again(store: Path) -> None:
    shutil.rmtree(store / "state")
    (store / DAY).write_bytes(b"PAR1 and no more")

    done = run(store, "recover")

    assert done.returncode == 1
    assert "damaged, and not recorded: AAPL 2024-11-26" in done.stderr
    assert ingested(store)["planned"] == 1
    assert problems(store) == {}


def test_a_lock_proves_identical_bytes_later_and_elsewhere(store: Path, tmp_path: Path) -> None:
    lock = frozen(store)
    assert lock.read_text() == run(store, "freeze").stdout
    same = run(store, "verify", "--lock", "marketpipe.lock")
    assert same.returncode == 0
    assert "identical to dataset" in same.stdout

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(store, elsewhere, ignore=shutil.ignore_patterns("state", "config.yaml"), copy_function=shutil.copy)
    assert problems(elsewhere, "--lock", "marketpipe.lock") == {}
    assert not (elsewhere / "state").exists()

    flip(elsewhere / MONTH, 50)
    (elsewhere / DAY).unlink()
    assert problems(elsewhere, "--lock", "marketpipe.lock") == {MONTH: "altered", DAY: "gone"}


def test_files_newer_than_a_lock_are_listed_without_failure(store: Path) -> None:
    lock = frozen(store, "--symbols", "AAPL", "--end", "2024-11-29")
    paths = [line.split()[2] for line in lock.read_text().splitlines() if "parquet" in line]
    assert len([path for path in paths if path.startswith("data/")]) == 4
    assert [path for path in paths if path.startswith("aggregates/")] == [MONTH]

    done = run(store, "verify", "--lock", "marketpipe.lock")

    assert done.returncode == 0
    assert "data/symbol=AAPL/year=2024/month=12/day=02.parquet: not in the lock" in done.stdout


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text.replace("AAPL", "AMZN", 1), "edited or cut short"),
        (lambda text: text[: len(text) // 2], "edited or cut short"),
        (lambda text: text.replace("seed-7", "seed-8"), "edited or cut short"),
        (lambda text: text.replace("lock 2", "lock 3"), "install a newer MarketPipe"),
        (lambda text: text[:0], "is not a lock"),
    ],
)
def test_a_lock_that_was_edited_is_refused(store: Path, change: Any, complaint: str) -> None:
    lock = frozen(store)
    lock.write_text(change(lock.read_text()))

    done = run(store, "verify", "--lock", "marketpipe.lock")

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_bad_usage_and_a_damaged_store_are_refused(store: Path, tmp_path: Path) -> None:
    lock = frozen(store)
    assert run(store, "verify", "--lock", lock.name, "--symbols", "AAPL").returncode == 2
    assert run(store, "verify", "--lock", "nowhere.lock").returncode == 2
    assert run(tmp_path, "freeze").returncode == 2
    flip(store / DAY)
    refused = run(store, "freeze")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"a damaged store is not frozen: {DAY}" in refused.stderr
