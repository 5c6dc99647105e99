"""The umask decides who may write the state; a commit of checkpoints is as durable as the files they are of."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteFile
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600), (0o000, 0o666)])
def test_the_files_of_the_state_have_the_permissions_that_the_umask_allows(
    tmp_path: Path, mask: int, mode: int
) -> None:
    path = tmp_path / "state" / "marketpipe.sqlite"
    with umask(mask), ExclusiveFileLock(tmp_path / "state" / "lock", waits=False).acquired():
        state = SQLiteState(path, "../data")
        state._database.holder_name()
        modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
        state.close()

    assert len(modes) == 5
    assert set(modes.values()) == {mode}


def test_only_a_durable_transaction_is_synced(tmp_path: Path) -> None:
    file = SQLiteFile(tmp_path / "marketpipe.sqlite", "../data")

    levels = [_level_during(file, durable) for durable in (False, True, False)]
    with pytest.raises(KeyError), file.transaction(durable=True):
        raise KeyError
    levels.append(_level_during(file, False))
    file.close()

    normal, full = 1, 2
    assert levels == [normal, full, normal, normal]


def _level_during(file: SQLiteFile, durable: bool) -> int:
    with file.transaction(durable=durable) as connection:
        return _level(connection)


def _level(connection: sqlite3.Connection) -> int:
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    return int(level)
