"""The real command line where nothing may be written: folders that are mounted read-only, which binds root too."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.disks import FullDiskCli
from tests.support.examples import some
from tests.support.small_store import (
    COMPLETE_WITHOUT,
    check_clear_failure,
    check_what_is_there,
    configure,
    files,
    known,
    market,
    settled,
)

BEFORE_VERSIONS = Path(__file__).parents[1] / "fixtures" / "store_before_versions" / "store.tar.gz"
STATE_FILE = "marketpipe.sqlite"
REFUSED = ("Read-only file system", "readonly database", "unable to open database file")
READERS = (["status"], ["coverage"], ["verify"], ["validate"], ["freeze"], ["query", "SELECT count(*) FROM bars"])


@pytest.fixture(scope="module")
def provider() -> Iterator[AlpacaLoopback]:
    with AlpacaLoopback(market()) as made:
        yield made


@pytest.fixture(scope="module")
def cli(full_disk_cli: FullDiskCli) -> FullDiskCli:
    return full_disk_cli


@pytest.fixture(scope="module")
def whole(cli: FullDiskCli, provider: AlpacaLoopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = configure(tmp_path_factory.mktemp("whole"), provider.url)
    assert cli.run(folder, "ingest").code == 0
    return folder


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.slow
@pytest.mark.parametrize("part", some(["data/symbol=AAPL", "aggregates", "state"]))
def test_what_may_not_be_written_holds_up_nothing_else(
    cli: FullDiskCli, provider: AlpacaLoopback, whole: Path, tmp_path: Path, part: str
) -> None:
    folder = configure(tmp_path / "store", provider.url)
    (folder / part).mkdir(parents=True)
    cli.forbid_writing(folder / part)

    done = cli.run(folder, "ingest")
    check_clear_failure(done.code, done.printed, REFUSED)
    check_what_is_there(folder, whole)
    assert settled(folder) == COMPLETE_WITHOUT[part]
    cli.forbid_writing(folder / part, False)
    assert cli.run(folder, "ingest").code == 0
    assert files(folder) == files(whole)
    assert known(folder) == known(whole)


@pytest.mark.slow
@pytest.mark.parametrize("part", some(["revisions", "revisions/symbol=AAPL"]))
def test_bars_are_stored_if_only_the_version_index_may_not_be_written(
    cli: FullDiskCli, provider: AlpacaLoopback, whole: Path, tmp_path: Path, part: str
) -> None:
    folder = configure(tmp_path / "store", provider.url)
    (folder / part).mkdir(parents=True)
    cli.forbid_writing(folder / part)

    done = cli.run(folder, "ingest")

    assert done.code == 0, done.printed
    assert files(folder) == files(whole)
    assert known(folder) == known(whole)
    assert not (folder / "revisions" / "symbol=AAPL" / "known_since.csv").exists()
    assert cli.run(folder, "verify").code == 0


@pytest.mark.slow
def test_a_read_only_store_can_be_read_and_is_left_as_it_is(cli: FullDiskCli, whole: Path, store: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    cli.forbid_writing(store)

    for words in READERS:
        done = cli.run(store, *words)
        assert done.code == 0, done.printed
        assert done.printed == cli.run(whole, *words).printed
    for words in (["ingest", "--end", "2024-03-06"], ["update"], ["recover", "--force"]):
        done = cli.run(store, *words)
        check_clear_failure(done.code, done.printed, REFUSED)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_read_only_store_of_an_earlier_version_can_be_read_and_is_left_as_it_is(
    cli: FullDiskCli, tmp_path: Path
) -> None:
    """Its state can't be migrated in place, and lacks columns."""
    store, config = tmp_path / "store", ("--config", "config.yaml")
    with tarfile.open(BEFORE_VERSIONS) as archive:
        archive.extractall(store, filter="data")
    shutil.copytree(store, tmp_path / "migrated")
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    cli.forbid_writing(store)

    for words in (["status"], ["coverage"], ["verify"], ["validate"], ["plan"], ["freeze"]):
        done = cli.run(store, *words, *config)
        assert done.code == 0, done.printed
        assert done.printed == cli.run(tmp_path / "migrated", *words, *config).printed
    done = cli.run(store, "ingest", "--end", "2024-12-03", *config)
    check_clear_failure(done.code, done.printed, REFUSED)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_lease_of_a_dead_process_holds_up_no_verification_of_a_read_only_store(cli: FullDiskCli, store: Path) -> None:
    """It died between the publication of a file and its checkpoint: only what is being written is passed over."""
    with closing(sqlite3.connect(store / "state" / STATE_FILE, isolation_level=None)) as connection:
        connection.execute("DELETE FROM checkpoints WHERE symbol = 'AAPL' AND trading_date = '2024-03-05'")
        connection.execute("INSERT INTO leases SELECT 77, store_id, 'dead', ? FROM stores", [(1 << 63) - 1])
        connection.execute("INSERT INTO claims SELECT 77, store_id, 'AAPL', '2024-03-05' FROM stores")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (store / "state" / f"{STATE_FILE}.holder-dead").touch()
    cli.forbid_writing(store)

    done = cli.run(store, "verify")
    assert "the state does not know it" in done.printed
    cli.forbid_writing(store, False)
    assert (done.code, done.printed) == ((again := cli.run(store, "verify")).code, again.printed)
    assert not (store / "state" / f"{STATE_FILE}.holder-dead").exists()


@pytest.mark.slow
def test_a_read_only_state_with_an_unmerged_journal_is_refused_instead_of_read_in_part(
    cli: FullDiskCli, store: Path
) -> None:
    """As a killed process leaves it: the last records are only in the write-ahead log."""
    state = store / "state"
    shutil.copytree(state, store / "killed")
    with closing(sqlite3.connect(store / "killed" / STATE_FILE, isolation_level=None)) as connection:
        connection.execute("UPDATE checkpoints SET outcome = 'failed', error = 'x'")
        for name in (STATE_FILE, f"{STATE_FILE}-wal"):
            shutil.copy(store / "killed" / name, state)
    cli.forbid_writing(store)

    done = cli.run(store, "status")
    check_clear_failure(done.code, done.printed, [f"{STATE_FILE}-wal"])
    cli.forbid_writing(store, False)
    assert "failed" in cli.run(store, "status").printed
