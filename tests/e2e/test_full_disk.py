"""The real command line on disks that are full: real ones of a few KiB where they can be mounted, pretended ones else.

Pretended is each write in a run of its own, of which every 60th is tried; real are disks that grow by 96 KiB. The
environment variable MARKETPIPE_FULL_STRIDE=1 tries every write and every size.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.child_processes import PIPE, CompletedProcess, run
from tests.support.cli_process import environment
from tests.support.disks import CommandResult, Full, FullDiskCli
from tests.support.examples import some, thoroughly, tries_more
from tests.support.small_store import (
    ALL,
    COMPLETE_WITHOUT,
    DAYS,
    check_clear_failure,
    check_what_is_there,
    configure,
    files,
    known,
    market,
    settled,
)

WRITES = int(os.environ.get("MARKETPIPE_FULL_STRIDE", "60"))
PAGES = int(os.environ.get("MARKETPIPE_FULL_STRIDE", "24"))
NO_ROOM = ("No space left on device", "disk is full", "disk I/O error", "unable to open database", "readonly database")


@pytest.fixture(scope="module")
def provider() -> Iterator[AlpacaLoopback]:
    with AlpacaLoopback(market()) as made:
        yield made


@pytest.fixture(scope="module")
def cli(full_disk_cli: FullDiskCli) -> FullDiskCli:
    return full_disk_cli


@pytest.fixture(scope="module")
def whole(cli: FullDiskCli, provider: AlpacaLoopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose ingestion nothing disturbed; not to be changed."""
    folder = configure(tmp_path_factory.mktemp("whole"), provider.url)
    assert cli.run(folder, "ingest").code == 0
    return folder


def minutes(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(folder).items() if name.startswith("data")}


def check_same_end(done: CommandResult, folder: Path, whole: Path) -> None:
    assert done.code == 0, done.printed
    assert files(folder) == files(whole)
    assert known(folder) == known(whole)


def check_failure(done: CommandResult) -> None:
    check_clear_failure(done.code, done.printed, NO_ROOM)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "of"),
    some([*((part, "bytes") for part in COMPLETE_WITHOUT), ("data/symbol=AAPL", "files"), ("state", "files")]),
)
def test_a_disk_that_is_full_for_some_files_does_not_hold_up_others(
    cli: FullDiskCli, provider: AlpacaLoopback, whole: Path, tmp_path: Path, part: str, of: Full
) -> None:
    folder = configure(tmp_path / "store", provider.url)
    disk, seen = cli.mount(folder / part), cli.seen(folder)
    disk.fill(of)

    check_failure(cli.run(folder, "ingest"))
    check_what_is_there(seen, whole)
    assert settled(seen) == COMPLETE_WITHOUT[part]
    disk.free()
    check_same_end(cli.run(folder, "ingest"), seen, whole)


@thoroughly
@pytest.mark.slow
@pytest.mark.parametrize("part", ["revisions", "data"])
def test_an_adoption_that_finds_no_room_keeps_the_old_word_and_loses_none(
    cli: FullDiskCli, provider: AlpacaLoopback, whole: Path, tmp_path: Path, part: str
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(whole, folder)
    disk, seen = cli.mount(folder / part), cli.seen(folder)
    if part == "data":
        shutil.copytree(whole / part, seen / part, dirs_exist_ok=True)
    disk.fill("bytes")
    adopt = ("audit", "--start", DAYS[0], "--adopt")

    with AlpacaLoopback(market(200.0)) as restated:
        configure(folder, restated.url)
        done = cli.run(folder, *adopt)
        check_failure(done)
        assert f"cannot write {part}/symbol=" in done.printed
        assert minutes(seen) == minutes(whole)
        disk.free()
        # the days whose official day has changed were marked as failed: the ingestion requests them again
        assert cli.run(folder, "ingest").code == 0
    former = {content for name, content in files(whole).items() if name.startswith("data")}
    revised = {content for name, content in files(seen).items() if name.startswith("revisions")}
    assert revised == former
    assert minutes(seen).keys() == minutes(whole).keys()
    assert not minutes(seen).items() & minutes(whole).items()


@thoroughly
@pytest.mark.slow
def test_a_disk_of_any_size_takes_what_fits_and_the_rest_when_it_has_grown(
    cli: FullDiskCli, provider: AlpacaLoopback, whole: Path, tmp_path: Path
) -> None:
    failures = 0
    for size in range(4, 1000, 4 * PAGES):
        folder = tmp_path / f"{size}-KiB"
        disk, seen = cli.mount(folder, size), cli.seen(folder)
        (seen / "config.yaml").write_text((whole / "config.yaml").read_text())
        done = cli.run(folder, "ingest")
        if done.code == 0:
            break
        failures += 1
        check_failure(done)
        check_what_is_there(seen, whole)
        disk.enlarge()
        check_same_end(cli.run(folder, "ingest"), seen, whole)

    assert failures >= 3


@tries_more
@pytest.mark.slow
def test_any_write_that_finds_no_room_is_made_up_for(
    cli: FullDiskCli, provider: AlpacaLoopback, whole: Path, tmp_path: Path
) -> None:
    failures, successes = 0, 0
    for write in range(2, 10_000, WRITES):
        folder = configure(tmp_path / f"write-{write}", provider.url)
        done = cli.run(folder, "ingest", full_at=write)
        if done.code == 0:  # there was no such write, or storage has repeated it, day by day
            check_same_end(done, folder, whole)
            successes += 1
            if successes == 3:
                break
            continue
        failures, successes = failures + 1, 0
        check_failure(done)
        check_what_is_there(folder, whole)
        check_same_end(cli.run(folder, "ingest"), folder, whole)

    assert failures >= 3


@pytest.mark.slow
def test_a_store_on_a_full_disk_can_be_read(cli: FullDiskCli, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    disk, seen = cli.mount(folder), cli.seen(folder)
    shutil.copytree(whole, seen, dirs_exist_ok=True)
    disk.fill("bytes")

    for words in (["status"], ["coverage"], ["freeze"], ["query", "SELECT count(*) FROM bars"]):
        done = cli.run(folder, *words)
        assert done.code == 0, done.printed
        assert done.printed == cli.run(whole, *words).printed


@pytest.mark.slow
def test_a_recovery_that_finds_no_room_can_be_started_again(cli: FullDiskCli, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    disk, seen = cli.mount(folder), cli.seen(folder)
    shutil.copytree(whole, seen, dirs_exist_ok=True)
    (seen / "state" / "marketpipe.sqlite").write_bytes(b"garbage" * 999)
    disk.fill("bytes")

    check_failure(cli.run(folder, "recover"))
    disk.free()
    assert cli.run(folder, "recover").code == 0
    assert settled(seen) == ALL
    assert files(seen) == files(whole)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("status",), ("--help",)])
def test_an_answer_for_which_there_is_no_room_is_an_error(whole: Path, words: tuple[str, ...]) -> None:
    done = on_a_full_device(whole, *words, stream="stdout")

    assert done.returncode == 1
    assert done.stderr.startswith("error: the operating system reports: [Errno 28] No space left on device; free space")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_message_for_which_there_is_no_room_does_not_change_the_exit_code(whole: Path) -> None:
    assert on_a_full_device(whole, "status", "--config", "nowhere.yaml", stream="stderr").returncode == 2


def on_a_full_device(folder: Path, *words: str, stream: str) -> CompletedProcess[str]:
    if not Path("/dev/full").exists():
        pytest.skip("no device here is always full")
    streams: dict[str, Any] = {"stdout": PIPE, "stderr": PIPE}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "marketpipe", *words]
        streams[stream] = full
        env = {**environment(), "PYTHONUNBUFFERED": ""}  # what is buffered is tried once more at the end
        return run(command, cwd=folder, env=env, **streams)
