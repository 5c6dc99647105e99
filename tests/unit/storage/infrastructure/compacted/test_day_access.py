from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

import pytest

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.storage.infrastructure.compacted.day_access import day_status, in_folder, listed, read_day
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE, StoredDayFile, month_file
from tests.support.builders import day
from tests.support.day_contents import day_file_of

FIRST, SECOND = (day_file_of(day("AAPL", f"2024-01-0{number}")) for number in (2, 3))


def as_files(folder: Path, *days: StoredDayFile) -> Path:
    folder.mkdir()
    for each in days:
        (folder / each.name).write_bytes(each.content)
        os.utime(folder / each.name, ns=(each.modified_ns, each.modified_ns))
    return folder


def as_one(folder: Path, *days: StoredDayFile) -> Path:
    folder.mkdir()
    (folder / MONTH_FILE).write_bytes(month_file(days, {}))
    return folder


@pytest.mark.parametrize("make", [as_files, as_one])
def test_a_day_is_the_same_in_either_form(tmp_path: Path, make: object) -> None:
    assert callable(make)
    path = make(tmp_path / "month=01", FIRST, SECOND) / SECOND.name

    assert read_day(str(path)) == SECOND
    status = day_status(str(path))
    assert status is not None
    assert (status.size, status.modified_ns) == (len(SECOND.content), SECOND.modified_ns)


@pytest.mark.parametrize("make", [as_files, as_one])
def test_a_day_that_is_in_neither_form_is_none(tmp_path: Path, make: object) -> None:
    assert callable(make)
    folder = make(tmp_path / "month=01", FIRST)

    for path in (folder / SECOND.name, folder / "other.parquet", tmp_path / "month=02" / FIRST.name):
        assert read_day(str(path)) is None
        assert day_status(str(path)) is None


def test_a_day_file_counts_and_not_the_same_day_in_the_month_file(tmp_path: Path) -> None:
    folder, newer = as_one(tmp_path / "month=01", FIRST, SECOND), day_file_of(day("AAPL", "2024-01-03"), bars=9)
    (folder / SECOND.name).write_bytes(newer.content)

    found = read_day(str(folder / SECOND.name))
    assert found is not None
    assert found.content == newer.content


def test_a_damaged_month_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = as_one(tmp_path / "month=01", FIRST)
    (folder / MONTH_FILE).write_bytes(b"PAR1")

    with pytest.raises(PartitionUnreadableError, match=r"month=01/days\.parquet is damaged.*ingest', or .* repairs it"):
        read_day(str(folder / FIRST.name))


def test_a_pipe_in_the_place_of_a_day_or_a_month_file_is_not_waited_for(tmp_path: Path) -> None:
    folder = as_files(tmp_path / "month=01")
    os.mkfifo(folder / FIRST.name)
    os.mkfifo(folder / MONTH_FILE)

    with pytest.raises(OSError, match="not a file"):
        read_day(str(folder / FIRST.name))
    with pytest.raises(PartitionUnreadableError, match="not a file"):
        read_day(str(folder / SECOND.name))


def test_what_was_looked_for_in_a_folder_that_left_its_place_is_looked_for_again(tmp_path: Path) -> None:
    """As if the folder of the month was exchanged, and the former one emptied, after it was opened."""
    folder, looks = as_files(tmp_path / "month=01", FIRST, SECOND), list[list[str]]()

    def look(descriptor: int) -> list[str]:
        if not looks:
            folder.rename(tmp_path / "former")
            for path in (tmp_path / "former").iterdir():
                path.unlink()
            as_one(folder, FIRST, SECOND)
        looks.append(os.listdir(descriptor))
        return looks[-1]

    assert in_folder(str(folder), look) == [MONTH_FILE]
    assert looks == [[], [MONTH_FILE]]


def test_what_was_found_may_count_though_the_folder_left_its_place(tmp_path: Path) -> None:
    folder = as_files(tmp_path / "month=01", FIRST)

    def look(_: int) -> str:
        folder.rename(tmp_path / "former")
        return "found"

    assert in_folder(str(folder), look, counts=bool) == "found"


def test_a_folder_that_never_stays_is_an_error(tmp_path: Path) -> None:
    folder = as_files(tmp_path / "month=01")

    def look(_: int) -> None:
        folder.rmdir()
        folder.mkdir()

    with pytest.raises(StorageError, match="again and again"):
        in_folder(str(folder), look)


def test_the_names_in_a_folder_and_in_none(tmp_path: Path) -> None:
    folder = as_files(tmp_path / "month=01", FIRST)
    (tmp_path / "month=02").symlink_to(folder)

    assert listed(str(folder)) == [FIRST.name]
    assert listed(str(tmp_path / "month=02")) == listed(str(tmp_path / "month=03")) == []


def test_the_status_of_a_day_is_found_though_its_folder_is_emptied_after_its_file_was_read(
    tmp_path: Path,
) -> None:
    """As if the month was expanded at that moment, and the former folder removed."""
    folder = as_one(tmp_path / "month=01", FIRST, SECOND)

    def expand(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code.co_name == "parts_of" and (folder / MONTH_FILE).exists():
            (folder / MONTH_FILE).unlink()
            folder.rmdir()
            as_files(folder, FIRST, SECOND)

    sys.setprofile(expand)
    try:
        status = day_status(str(folder / SECOND.name))
    finally:
        sys.setprofile(None)

    assert not (folder / MONTH_FILE).exists()
    assert status is not None
    assert (status.size, status.modified_ns) == (len(SECOND.content), SECOND.modified_ns)
