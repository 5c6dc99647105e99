"""A file that was given a second name stays under it when another is published over the first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles
from tests.support.store_on_disk import tree
from tests.support.system_calls import SystemCalls

OLD, NEW = b"old" * 50, b"new" * 50
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be seen on this system")


def test_a_kept_file_stays_when_another_is_published_over_it(tmp_path: Path) -> None:
    files, kept = DurableFiles(), tmp_path / "kept" / "x"
    files.publish({tmp_path / "x": OLD}, modified_ns=1_000)

    files.keep({tmp_path / "x": kept})
    files.publish({tmp_path / "x": NEW})

    assert tree(tmp_path) == {"x": NEW, "kept/x": OLD}
    assert kept.stat().st_mtime_ns == 1_000


@ON_LINUX
def test_a_kept_file_is_durable(tmp_path: Path) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "x": OLD, tmp_path / "y": OLD})

    with SystemCalls(tmp_path) as seen:
        files.keep({tmp_path / "x": tmp_path / "kept" / "x", tmp_path / "y": tmp_path / "kept" / "y"})

    synced = {call.target: set(call.files) for call in seen.calls if call.name == "fsync"}
    assert synced == {".": {"x", "y"}, "kept": {"x", "y", "kept/x", "kept/y"}}


@pytest.mark.parametrize("left", [OLD, b"half", NEW])
def test_keeping_again_what_a_crash_left_kept_changes_nothing(tmp_path: Path, left: bytes) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "x": OLD, tmp_path / "kept" / "x": left})

    for _ in range(2):
        files.keep({tmp_path / "x": tmp_path / "kept" / "x"})

    assert tree(tmp_path) == {"x": OLD, "kept/x": OLD}


def test_where_no_link_is_possible_a_copy_is_kept(tmp_path: Path, elsewhere: Path) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "x": OLD}, modified_ns=1_000)

    files.keep({tmp_path / "x": elsewhere / "kept" / "x"})

    assert tree(elsewhere) == {"kept/x": OLD}
    assert (elsewhere / "kept" / "x").stat().st_mtime_ns == 1_000


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    device = tmp_path.stat().st_dev
    others = [place for place in ("/dev/shm", tempfile.gettempdir()) if Path(place).is_dir()]
    other = next((place for place in others if Path(place).stat().st_dev != device), None)
    if other is None:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        yield Path(folder)


def test_what_cannot_be_kept_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"in the way")
    DurableFiles().publish({tmp_path / "x": OLD})

    with pytest.raises(StorageError, match=f"{tmp_path}/kept"):
        DurableFiles().keep({tmp_path / "x": tmp_path / "kept" / "x"})
    with pytest.raises(StorageError, match=f"{tmp_path}/y"):
        DurableFiles().keep({tmp_path / "y": tmp_path / "z"})


@ON_LINUX
def test_confirming_syncs_each_folder_once_and_nothing_else(tmp_path: Path) -> None:
    files = DurableFiles()
    files.publish({tmp_path / "a" / "x": OLD, tmp_path / "a" / "y": OLD})

    with SystemCalls(tmp_path) as seen:
        files.confirm([tmp_path / "a" / "x", tmp_path / "a" / "y"])

    assert [(call.name, call.target) for call in seen.calls] == [("fsync", "a")]
