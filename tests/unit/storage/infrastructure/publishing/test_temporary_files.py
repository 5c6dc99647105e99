from __future__ import annotations

import fcntl
import os
import re
import sys
from pathlib import Path

import pytest

from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from marketpipe.storage.infrastructure.publishing.temporary_files import (
    WriterLock,
    is_left_behind,
    is_temporary,
    sweep,
    temporary_name,
)
from tests.support.child_processes import start

OURS = temporary_name("day=03.parquet")
FIELDS = re.fullmatch(r"(\.day=03\.parquet\.)(\w{8})-(\w{8})-(\w+)-(\d+)-(\d+)-(\d+)(\.tmp)", OURS)


def named(**changes: str) -> str:
    """Return a temporary name as another process, machine or container would give it."""
    assert FIELDS is not None
    keys = ("head", "host", "boot", "space", "process", "start", "number", "tail")
    parts = {**dict(zip(keys, FIELDS.groups(), strict=True)), **changes}
    middle = "-".join(parts[key] for key in keys[1:-1])
    return f"{parts['head']}{middle}{parts['tail']}"


@pytest.fixture(scope="module")
def dead() -> str:
    process = start([sys.executable, "-S", "-c", ""], outlives_test=True)
    process.communicate()
    return str(process.pid)


def test_a_living_process_leaves_nothing_behind(tmp_path: Path) -> None:
    assert is_temporary(OURS)
    assert not is_left_behind(OURS, tmp_path)
    assert not is_left_behind(OURS, None)


def test_a_file_of_a_dead_process_is_left_behind(tmp_path: Path, dead: str) -> None:
    assert is_left_behind(named(process=dead), tmp_path)
    assert is_left_behind(f".month=02.parquet.{dead}-12.tmp", tmp_path)


def test_a_process_that_has_the_number_of_a_dead_one_does_not_keep_its_files(tmp_path: Path) -> None:
    assert is_left_behind(named(start="1"), tmp_path)


def test_what_was_staged_before_the_machine_was_started_again_is_left_behind(tmp_path: Path) -> None:
    assert is_left_behind(named(boot="0badcafe"), tmp_path)


def test_of_another_machine_nothing_is_known(tmp_path: Path, dead: str) -> None:
    assert not is_left_behind(named(host="0badcafe", boot="0badcafe", process=dead), tmp_path)


def test_in_another_container_a_process_lives_as_long_as_a_writer_holds_the_root(tmp_path: Path, dead: str) -> None:
    """The number of a process there is that of no process here."""
    elsewhere, writer = named(space="f00", process=dead), WriterLock()
    writer.hold(tmp_path)
    writer.hold(tmp_path)
    assert not is_left_behind(elsewhere, tmp_path)

    writer.close()
    assert is_left_behind(elsewhere, tmp_path)
    assert not is_left_behind(elsewhere, None)


def test_a_store_is_held_from_its_first_file_until_it_is_closed(tmp_path: Path) -> None:
    elsewhere, files = named(space="f00"), DurableFiles(roots=[tmp_path])
    assert is_left_behind(elsewhere, tmp_path)

    files.publish({tmp_path / "symbol=A" / "x": b"x"})
    assert not is_left_behind(elsewhere, tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)

    files.close()
    assert is_left_behind(elsewhere, tmp_path)


@pytest.mark.parametrize("foreign", [".tmp", ".x.tmp", ".backup.2024-01-02.tmp", ".x.0-1.tmp", "x.12-1.tmp"])
def test_names_of_other_programs_are_none_of_ours(tmp_path: Path, foreign: str) -> None:
    assert not is_temporary(foreign)
    assert not is_left_behind(foreign, tmp_path)


def test_only_what_is_left_behind_is_swept(tmp_path: Path, dead: str) -> None:
    stays = [OURS, named(host="0badcafe", boot="0badcafe"), ".x.tmp", "day=03.parquet"]
    for name in (*stays, named(process=dead), named(boot="0badcafe")):
        (tmp_path / name).write_bytes(b"half")

    sweep(tmp_path, tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stays)


def test_beside_a_link_that_leads_to_itself_the_rest_is_swept(tmp_path: Path, dead: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / named(process=dead)).write_bytes(b"half")

    has_files = sweep(tmp_path, tmp_path)

    assert (has_files, [path.name for path in tmp_path.iterdir()]) == (False, ["loop"])
