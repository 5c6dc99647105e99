from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketpipe.shared_kernel.infrastructure.machine import disk as functions
from marketpipe.shared_kernel.infrastructure.machine.disk import (
    exists,
    is_file,
    is_folder,
    is_link,
    lexists,
    make_folders,
    matching,
    read_bytes,
    read_text,
    remove,
    remove_tree,
    walk,
)
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK, RealDisk

QUESTIONS = (exists, lexists, is_folder, is_file, is_link)


class Refusing(RealDisk):
    """A disk on which one function raises an error."""

    def __init__(self, name: str, code: int) -> None:
        def refuse(path: Any, *_: Any, **__: Any) -> Any:
            raise OSError(code, os.strerror(code))

        setattr(self, name, refuse)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "year=2024" / "month=02").mkdir(parents=True)
    (tmp_path / "year=2024" / "month=03").mkdir()
    (tmp_path / "year=2024" / "month=04").write_bytes(b"a file")
    (tmp_path / "year=2024" / "month=02" / "day=01.parquet").write_bytes(b"bars")
    (tmp_path / "year=x").mkdir()
    (tmp_path / "link").symlink_to("year=2024")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "year=2023").symlink_to("year=2023")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("year=2024", (True, True, True, False, False)),
        ("year=2024/month=04", (True, True, False, True, False)),
        ("link", (True, True, True, False, True)),
        ("dangling", (False, True, False, False, True)),
        ("nowhere", (False, False, False, False, False)),
        ("year=2024/month=04/below a file", (False, False, False, False, False)),
        ("zero \0 byte", (False, False, False, False, False)),
    ],
)
def test_questions_about_a_path(folder: Path, name: str, answers: tuple[bool, ...]) -> None:
    assert tuple(ask(REAL_DISK, folder / name) for ask in QUESTIONS) == answers


@pytest.mark.parametrize("ask", QUESTIONS)
def test_what_cannot_be_told_is_an_error(ask: Callable[..., bool], tmp_path: Path) -> None:
    refusing = Refusing("lstat" if ask in (lexists, is_link) else "stat", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        ask(refusing, tmp_path)


@pytest.mark.parametrize("content", [b"", b"x", b"bars" * 50_000])
def test_a_file_is_read_wholly(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert read_bytes(REAL_DISK, tmp_path / "x") == content


def test_a_file_is_read_wholly_if_its_size_says_nothing_and_reads_are_short() -> None:
    class Short(RealDisk):
        def read(self, fd: int, length: int, /) -> bytes:
            return os.read(fd, min(length, 7))

    assert read_bytes(Short(), "/proc/self/maps")[:4] == read_text(REAL_DISK, "/proc/self/maps")[:4].encode()
    assert read_bytes(Short(), __file__) == Path(__file__).read_bytes()


def test_an_error_of_reading_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        read_bytes(REAL_DISK, tmp_path)
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(FileNotFoundError) as missing:
        read_text(REAL_DISK, tmp_path / "nowhere")
    assert missing.value.filename == str(tmp_path / "nowhere")


def test_text_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("é\r\n".encode("latin-1"))
    assert read_text(REAL_DISK, tmp_path / "x", "latin-1") == "é\r\n"
    assert read_text(REAL_DISK, tmp_path / "x", errors="replace") == "\ufffd\r\n"


def test_missing_folders_are_made_and_others_stay(tmp_path: Path) -> None:
    make_folders(REAL_DISK, tmp_path / "a" / "b" / "c")
    make_folders(REAL_DISK, tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_no_folder_is_made_in_the_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(FileExistsError):
        make_folders(REAL_DISK, tmp_path / "x")
    with pytest.raises(NotADirectoryError):
        make_folders(REAL_DISK, tmp_path / "x" / "y")
    with pytest.raises(FileNotFoundError):
        make_folders(Refusing("mkdir", errno.ENOENT), "relative")


def test_a_file_is_removed_if_it_exists(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    remove(REAL_DISK, tmp_path / "x")
    remove(REAL_DISK, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with pytest.raises(OSError):
        remove(REAL_DISK, tmp_path)


def test_a_folder_is_removed_with_all_that_it_has_and_no_link_is_followed(folder: Path) -> None:
    (folder / "year=x" / "out").symlink_to(folder / "year=2024")
    (folder / "year=x" / "below").mkdir()
    remove_tree(REAL_DISK, folder / "year=x")
    remove_tree(REAL_DISK, folder / "nowhere")
    assert not (folder / "year=x").exists()
    assert (folder / "year=2024" / "month=04").exists()


def test_what_cannot_be_removed_stays_without_an_error(folder: Path) -> None:
    remove_tree(Refusing("unlink", errno.EACCES), folder)
    assert (folder / "year=2024" / "month=02" / "day=01.parquet").exists()
    assert not (folder / "year=2024" / "month=03").exists()


def test_folders_are_walked_as_by_os(folder: Path) -> None:
    found = {(place, frozenset(folders), frozenset(files)) for place, folders, files in walk(REAL_DISK, folder)}
    assert found == {(place, frozenset(folders), frozenset(files)) for place, folders, files in os.walk(folder)}
    assert list(walk(REAL_DISK, folder / "nowhere")) == []


@pytest.mark.parametrize(
    "pattern",
    [
        "year=[0-9]*/month=*",
        "*",
        "*/month=0[23]",
        "year=2024/month=02",
        "nowhere",
        "*/nowhere",
        "year=*",
        "*/*/*.parquet",
    ],
)
def test_patterns_match_as_those_of_a_path(folder: Path, pattern: str) -> None:
    assert sorted(matching(REAL_DISK, folder, pattern)) == sorted(folder.glob(pattern))


def test_in_a_folder_that_is_not_there_nothing_matches(tmp_path: Path) -> None:
    assert list(matching(REAL_DISK, tmp_path / "nowhere", "*")) == []
    assert list(matching(Refusing("scandir", errno.EACCES), tmp_path, "*")) == []
    with pytest.raises(OSError, match="Input/output"):
        list(matching(Refusing("scandir", errno.EIO), tmp_path, "*"))


def test_every_call_of_the_real_disk_is_the_function_of_the_system_itself() -> None:
    """A function in between would take time at each call, and deepen every stack."""
    named = [name for name in vars(functions.Disk) if not name.startswith("_") and hasattr(os, name)]
    assert len(named) >= 20
    assert [name for name in named if getattr(REAL_DISK, name) is not getattr(os, name)] == []


def test_a_pipe_has_no_content_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="it is not a file") as raised:
        read_bytes(REAL_DISK, tmp_path / "pipe")

    assert (raised.value.errno, raised.value.filename) == (errno.EINVAL, str(tmp_path / "pipe"))
