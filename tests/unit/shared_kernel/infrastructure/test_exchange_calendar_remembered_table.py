from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest

from marketpipe.shared_kernel.infrastructure.exchange_calendar import RememberedTable, SessionTable
from marketpipe.storage.infrastructure.durable_files import DurableFiles

TITLE = "sessions"


class Exchange:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, last_year: int) -> SessionTable:
        self.asked += 1
        return SessionTable.of({date(2024, 1, 2): (time(9, 30), time(16))}, 2024, last_year)


def remembered(file: Path, exchange: Exchange, title: str = TITLE) -> RememberedTable:
    return RememberedTable(file, file.with_name("state.sqlite"), title, exchange, DurableFiles().publish)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """In a folder that is not there yet."""
    return tmp_path / "state" / "sessions.txt"


def make_state(file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    file.with_name("state.sqlite").touch()


def made(file: Path) -> bytes:
    """The file as it is when all is well."""
    make_state(file)
    remembered(file, Exchange())(2025)
    return file.read_bytes()


def test_exchange_is_asked_once_for_all_processes(file: Path) -> None:
    made(file)
    exchange = Exchange()
    assert remembered(file, exchange)(2025) == Exchange()(2025)
    assert remembered(file, exchange)(2024).sessions(2024) == Exchange()(2024).sessions(2024)
    assert exchange.asked == 0


def test_table_that_does_not_reach_far_enough_is_made_anew(file: Path) -> None:
    made(file)
    exchange = Exchange()
    assert 2026 in remembered(file, exchange)(2026).years
    assert 2026 in remembered(file, exchange)(2026).years
    assert exchange.asked == 1


def test_table_of_another_title_is_made_anew(file: Path) -> None:
    made(file)
    exchange = Exchange()
    assert remembered(file, exchange, "sessions by a newer version")(2025)
    assert exchange.asked == 1


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\xff\xfe\x00" * 100])
@pytest.mark.parametrize("kept", [0, 40, -1])
def test_damaged_file_is_made_anew(file: Path, damage: bytes, kept: int) -> None:
    whole = made(file)
    file.write_bytes(whole[:kept] + damage)
    exchange = Exchange()
    assert remembered(file, exchange)(2025) == Exchange()(2025)
    assert exchange.asked == 1
    assert file.read_bytes() == whole


def test_nothing_is_made_where_there_is_no_state_until_there_is(file: Path, tmp_path: Path) -> None:
    exchange = Exchange()
    table = remembered(file, exchange)
    table.keep()
    assert table(2025)
    table.keep()
    assert list(tmp_path.iterdir()) == []
    file.parent.mkdir()
    table.keep()
    assert list(file.parent.iterdir()) == []

    make_state(file)
    table.keep()
    assert remembered(file, exchange)(2025)
    assert exchange.asked == 1
    file.unlink()
    table.keep()
    assert not file.exists()


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_what_lies_in_its_place_and_cannot_be_read_hinders_nobody(file: Path, kind: str) -> None:
    make_state(file)
    if kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(file.with_name("nowhere"))
    assert remembered(file, Exchange())(2025) == Exchange()(2025)
    assert sorted(path.name for path in file.parent.iterdir()) == ["sessions.txt", "state.sqlite"]


def test_state_folder_that_is_a_file_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    assert remembered(tmp_path / "state" / "sessions.txt", Exchange())(2025) == Exchange()(2025)
