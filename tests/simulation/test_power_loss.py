"""What a power loss leaves of a modelled disk: what was synced, and of the rest anything that a real one may leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.disk.model import PLACE, ModelledDisk
from tests.simulation.traits import DiskTraits
from tests.support.examples import examples

NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
CONTENT: Final = b"a bar" * 20
LOSSES: Final = range(200)


def new_disk(traits: DiskTraits = DiskTraits(ordered=False)) -> ModelledDisk:  # noqa: B008
    return ModelledDisk(traits, lambda: 1_000_000_000, "seed")


def write(disk: ModelledDisk, name: str, content: bytes = CONTENT, flags: int = NEW, sync: bool = True) -> None:
    fd = disk.outside.open(f"{PLACE}/{name}", flags, 0o666)
    disk.outside.write(fd, content)
    if sync:
        disk.outside.fsync(fd)
    disk.outside.close(fd)


def sync_folder(disk: ModelledDisk, name: str = "") -> None:
    fd = disk.outside.open(f"{PLACE}/{name}", os.O_RDONLY)
    disk.outside.fsync(fd)
    disk.outside.close(fd)


def after(prepare: Callable[[ModelledDisk], None], loss: int, **traits: bool) -> ModelledDisk:
    """Return a disk that was prepared and has then lost its power."""
    disk = new_disk(DiskTraits(ordered=traits.get("ordered", False)))
    prepare(disk)
    disk.lose_power(Random(loss))
    return disk


def contents(prepare: Callable[[ModelledDisk], None], name: str, ordered: bool = False) -> set[bytes | None]:
    """Return all contents that a file may have after a power loss; None: it is gone."""
    path = f"{PLACE}/{name}"
    return {after(prepare, loss, ordered=ordered).files().get(path) for loss in LOSSES}


def stored(disk: ModelledDisk) -> None:
    write(disk, "day.tmp")
    disk.outside.replace(f"{PLACE}/day.tmp", f"{PLACE}/day")
    sync_folder(disk)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_synced_file_in_a_synced_folder_is_never_lost(ordered: bool) -> None:
    assert contents(stored, "day", ordered) == {CONTENT}


def test_a_new_name_is_lost_if_its_folder_is_not_synced() -> None:
    assert contents(lambda disk: write(disk, "day"), "day") == {CONTENT, None}


def test_a_replacement_is_lost_whole_or_kept_whole_until_the_folder_is_synced() -> None:
    def replace(disk: ModelledDisk) -> None:
        stored(disk)
        write(disk, "other", b"new")
        disk.outside.replace(f"{PLACE}/other", f"{PLACE}/day")

    assert contents(replace, "day") == {CONTENT, b"new"}


def test_a_removal_is_undone_if_the_folder_is_not_synced() -> None:
    def remove(disk: ModelledDisk) -> None:
        stored(disk)
        disk.outside.unlink(f"{PLACE}/day")

    assert contents(remove, "day") == {CONTENT, None}


def test_what_is_written_and_not_synced_is_dropped_torn_zeroed_or_flipped() -> None:
    def write_only(disk: ModelledDisk) -> None:
        write(disk, "day", CONTENT[:50], sync=False)
        write(disk, "day", CONTENT[50:], os.O_WRONLY | os.O_APPEND, sync=False)
        sync_folder(disk)

    found = contents(write_only, "day")
    assert {b"", CONTENT, bytes(len(CONTENT))} <= found
    assert any(each and len(each) < len(CONTENT) and CONTENT.startswith(each) for each in found)
    assert any(each and len(each) == len(CONTENT) and differing_bits(each, CONTENT) == 1 for each in found)


def differing_bits(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


def test_an_append_is_torn_only_behind_what_was_synced() -> None:
    def append(disk: ModelledDisk) -> None:
        stored(disk)
        write(disk, "day", b"more lines", os.O_WRONLY | os.O_APPEND, sync=False)

    found = contents(append, "day")
    assert all(each is not None and each.startswith(CONTENT) for each in found)
    assert {CONTENT, CONTENT + b"more lines"} < found


def test_of_a_file_that_is_written_to_in_two_places_no_other_byte_changes() -> None:
    def overwrite(disk: ModelledDisk) -> None:
        stored(disk)
        fd = disk.outside.open(f"{PLACE}/day", os.O_WRONLY)
        disk.outside.pwrite(fd, b"XXXX", 10)
        disk.outside.pwrite(fd, b"YYYY", 30)

    found = [each or b"" for each in contents(overwrite, "day")]
    assert {each[:10] + each[14:30] + each[34:] for each in found} == {CONTENT[:10] + CONTENT[14:30] + CONTENT[34:]}
    assert {(b"XXXX", CONTENT[30:34]), (bytes(4), bytes(4)), (b"XXXX", b"YYYY")} <= {
        (e[10:14], e[30:34]) for e in found
    }
    assert any(each[10:14] not in (b"XXXX", bytes(4), CONTENT[10:14]) for each in found)


def test_a_bit_that_rotted_stays_wrong_when_what_was_written_since_is_lost() -> None:
    def rot_and_append(disk: ModelledDisk) -> None:
        stored(disk)
        disk.rot(f"{PLACE}/day", 0)
        write(disk, "day", b"more", os.O_WRONLY | os.O_APPEND, sync=False)

    assert {each and each[0] for each in contents(rot_and_append, "day")} == {CONTENT[0] ^ 1}


def test_a_file_that_was_cut_is_the_old_one_or_empty_or_has_a_part_of_its_new_content() -> None:
    def cut(disk: ModelledDisk, content: bytes) -> None:
        stored(disk)
        write(disk, "day", content, os.O_WRONLY | os.O_TRUNC, sync=False)

    assert contents(lambda disk: cut(disk, b""), "day") == {CONTENT, b""}
    found = contents(lambda disk: cut(disk, b"new"), "day")
    assert {CONTENT, b"new", bytes(3)} <= found


def test_a_time_that_was_set_after_the_last_sync_may_be_the_old_one() -> None:
    def touch(disk: ModelledDisk) -> None:
        stored(disk)
        disk.outside.utime(f"{PLACE}/day", ns=(5, 5))

    disks = [after(touch, loss) for loss in LOSSES]
    assert {disk.outside.stat(f"{PLACE}/day").st_mtime_ns for disk in disks} == {5, 1_000_000_000}
    assert {disk.files()[f"{PLACE}/day"] for disk in disks} == {CONTENT}


def test_a_branch_is_lost_with_the_one_folder_above_it_that_is_not_synced() -> None:
    def make(disk: ModelledDisk) -> None:
        for folder in ("a", "a/b"):
            disk.outside.mkdir(f"{PLACE}/{folder}")
        write(disk, "a/b/day")
        sync_folder(disk, "a/b")
        sync_folder(disk)

    assert contents(make, "a/b/day") == {CONTENT, None}
    assert {after(make, loss).inode(f"{PLACE}/a") is not None for loss in LOSSES} == {True}


def two_files(disk: ModelledDisk) -> None:
    write(disk, "first")
    write(disk, "second")


def there(disk: ModelledDisk) -> tuple[str, ...]:
    return tuple(sorted(path.rpartition("/")[2] for path in disk.files()))


def test_an_ordered_disk_keeps_no_later_change_without_the_earlier_ones() -> None:
    assert {there(after(two_files, loss, ordered=True)) for loss in LOSSES} == {(), ("first",), ("first", "second")}


def test_to_sync_a_folder_of_an_ordered_disk_keeps_all_that_was_done_before() -> None:
    def sync_the_last(disk: ModelledDisk) -> None:
        disk.outside.mkdir(f"{PLACE}/folder")
        sync_folder(disk)
        write(disk, "first")
        write(disk, "folder/second")
        sync_folder(disk, "folder")

    assert {there(after(sync_the_last, loss, ordered=True)) for loss in LOSSES} == {("first", "second")}
    assert {there(after(sync_the_last, loss)) for loss in LOSSES} == {("second",), ("first", "second")}


def test_what_a_power_loss_takes_is_free_again() -> None:
    for loss in LOSSES[:20]:
        disk = new_disk()
        disk.space, disk.inodes = 1000, 10
        write(disk, "day", sync=False)
        disk.lose_power(Random(loss))
        assert disk.space == 1000 - sum(map(len, disk.files().values()))
        assert disk.inodes == 10 - len(disk.files())


def test_a_disk_that_reorders_may_keep_the_later_change_alone() -> None:
    assert ("second",) in {there(after(two_files, loss)) for loss in LOSSES}


def test_an_exchange_of_folders_is_kept_for_both_or_for_none() -> None:
    def exchange(disk: ModelledDisk) -> None:
        for folder in ("old", "new"):
            disk.outside.mkdir(f"{PLACE}/{folder}")
            write(disk, f"{folder}/day", folder.encode())
            sync_folder(disk, folder)
        sync_folder(disk)
        disk.outside.exchange(f"{PLACE}/old", f"{PLACE}/new")

    found = {tuple(sorted(after(exchange, loss).files().items())) for loss in LOSSES}
    names = (f"{PLACE}/new/day", f"{PLACE}/old/day")
    assert found == {tuple(zip(names, said, strict=True)) for said in ((b"new", b"old"), (b"old", b"new"))}


def test_a_folder_that_was_exchanged_stays_in_its_place_when_the_sync_of_the_other_one_brings_how_it_was_made() -> None:
    disk = new_disk()
    for name in ("data", "data/month", "staged", "staged/month"):
        disk.outside.mkdir(f"{PLACE}/{name}")
        write(disk, f"{name}/file", name.encode())
        sync_folder(disk, name)
    for name in ("", "data"):
        sync_folder(disk, name)
    disk.outside.mkdir(f"{PLACE}/staged/new")
    write(disk, "staged/new/file", b"new")
    sync_folder(disk, "staged/new")
    disk.outside.exchange(f"{PLACE}/staged/new", f"{PLACE}/data/month")
    for name in ("data", "staged"):
        sync_folder(disk, name)
    disk.lose_power(Random(1))
    files = disk.files()
    assert files[f"{PLACE}/data/month/file"] == b"new"
    assert files[f"{PLACE}/staged/new/file"] == b"data/month"


def test_a_folder_that_moved_twice_has_one_place_afterwards() -> None:
    def move(disk: ModelledDisk) -> None:
        disk.outside.mkdir(f"{PLACE}/a")
        write(disk, "a/day")
        sync_folder(disk, "a")
        sync_folder(disk)
        disk.outside.replace(f"{PLACE}/a", f"{PLACE}/b")
        disk.outside.replace(f"{PLACE}/b", f"{PLACE}/c")

    assert {there(after(move, loss)) for loss in LOSSES} == {("day",)}


def test_a_power_loss_of_a_disk_without_unsynced_changes_changes_nothing() -> None:
    disk = new_disk()
    two_files(disk)
    disk.sync_all()
    before, draw = disk.files(), Random(1)
    assert (disk.unsynced(), disk.lose_power(draw), disk.files()) == ([], [], before)


def test_what_is_lost_is_told_in_words() -> None:
    disk = new_disk()
    write(disk, "day", sync=False)
    assert disk.unsynced() == [f"create {PLACE}/day", f"content of {PLACE}/day"]
    assert any(f"create {PLACE}/day" in lost(loss) for loss in LOSSES)
    assert any(f"content of {PLACE}/day: torn" in lost(loss) for loss in LOSSES)


def lost(loss: int) -> str:
    disk = new_disk()
    write(disk, "day", sync=False)
    return "; ".join(disk.lose_power(Random(loss)))


def test_the_same_draw_loses_the_same() -> None:
    assert [lost(7), lost(7)] == [lost(7)] * 2
    assert len({lost(loss) for loss in LOSSES}) > 5


def test_a_lost_process_has_no_descriptor_and_no_lock_any_more() -> None:
    disk = new_disk()
    fd = disk.outside.open(PLACE, os.O_RDONLY)
    disk.lose_power(Random(1))
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.outside.fstat(fd)


STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(["write", "append", "replace", "unlink", "link", "sync", "sync folder"]),
        *(st.sampled_from("abc"), st.sampled_from("abc")),
    ),
    max_size=12,
)


@given(before=STEPS, since=STEPS, ordered=st.booleans(), loss=st.integers(0, 10_000))
@examples(1000)
def test_what_was_synced_is_as_it_was_under_each_name_that_nothing_has_touched_since(
    before: list[tuple[str, str, str]], since: list[tuple[str, str, str]], ordered: bool, loss: int
) -> None:
    disk = new_disk(DiskTraits(ordered=ordered))
    for step in before:
        carry_out(disk, *step)
    disk.sync_all()
    names = {path.rpartition("/")[2] for path in disk.files()}
    for step in since:
        carry_out(disk, *step)
    untouched = names - {name for _, *pair in since for name in pair}
    inodes = {path: disk.inode(path) for path in (f"{PLACE}/{name}" for name in untouched)}
    safe = {path: inode.bytes() for path, inode in inodes.items() if inode is not None and inode.is_kept()}
    disk.lose_power(Random(loss))
    assert {path: disk.files().get(path) for path in safe} == safe


def carry_out(disk: ModelledDisk, kind: str, one: str, other: str) -> None:
    at, to = f"{PLACE}/{one}", f"{PLACE}/{other}"
    try:
        if kind == "write":
            write(disk, one, f"{one}{other}".encode(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, sync=False)
        elif kind == "append":
            write(disk, one, other.encode(), os.O_WRONLY | os.O_APPEND, sync=False)
        elif kind in ("replace", "link"):
            getattr(disk.outside, kind)(at, to)
        elif kind == "unlink":
            disk.outside.unlink(at)
        elif kind == "sync folder":
            sync_folder(disk)
        else:
            disk.outside.fsync(fd := disk.outside.open(at, os.O_RDONLY))
            disk.outside.close(fd)
    except (FileNotFoundError, FileExistsError):
        return
