from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define

from marketpipe.shared_kernel.domain.errors import PartitionUnreadableError, StorageError
from marketpipe.storage.infrastructure.steady_reading import ATTEMPTS, looks_at, looks_below, read_steadily


def publish(path: Path, content: str) -> None:
    """As files of a store are replaced: by a new one of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.tmp")
    staged.write_text(content)
    staged.replace(path)


@define
class Reading:
    """``during``: what happens in the middle of the first so many reads."""

    path: Path
    during: list[Callable[[], None]]
    fails: bool = False
    times: int = 0

    def __call__(self) -> str:
        self.times += 1
        happened = self.path.read_text()
        if self.during:
            self.during.pop(0)()
            if self.fails:
                raise PartitionUnreadableError("half of one, half of another")
        return happened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    publish(tmp_path / "data" / "month=01" / "day=02.parquet", "first")
    return tmp_path / "data" / "month=01" / "day=02.parquet"


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_read_while_a_file_was_replaced_is_read_again(path: Path, fails: bool) -> None:
    root = path.parents[1]
    for look in (lambda: looks_below([root]), lambda: looks_at([path])):
        read = Reading(path, [lambda: publish(path, "second"), lambda: publish(path, "third")], fails)
        assert (read_steadily(look, read), read.times) == ("third", 3)


def test_a_file_that_is_gone_meanwhile_counts_as_replaced(path: Path) -> None:
    other = path.with_name("day=03.parquet")
    publish(other, "other")
    read = Reading(path, [other.unlink])

    assert (read_steadily(lambda: looks_at([path, other]), read), read.times) == ("first", 2)


def test_files_that_are_added_disturb_nobody(path: Path) -> None:
    read = Reading(path, [lambda: publish(path.with_name("day=03.parquet"), "new")])

    assert (read_steadily(lambda: looks_below([path.parents[1]]), read), read.times) == ("first", 1)


def test_an_error_that_no_replacement_explains_is_raised_at_once(path: Path) -> None:
    read = Reading(path, [lambda: None], fails=True)

    with pytest.raises(PartitionUnreadableError):
        read_steadily(lambda: looks_at([path]), read)
    assert read.times == 1


def test_who_is_disturbed_for_ever_gives_up(path: Path) -> None:
    read = Reading(path, [lambda: publish(path, "again")] * 2 * ATTEMPTS)

    with pytest.raises(StorageError, match="replaced again and again"):
        read_steadily(lambda: looks_at([path]), read)
    assert read.times == ATTEMPTS


def test_only_parquet_files_are_looked_at_and_a_store_may_not_be_there_yet(path: Path) -> None:
    path.with_name("note.txt").write_text("mine")

    assert list(looks_below([path.parents[1], path.parents[1] / "nowhere"])) == [str(path)]
    assert looks_at([path.with_name("nothing.parquet")]) == {}
