"""What happens to the machine between commands: power losses, rot, full disks, clocks, files that somebody removes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from tests.simulation.story import Step

if TYPE_CHECKING:
    from tests.simulation.world import World

HISTORY: Final = re.compile(r"/year=\d{4}/known_since\.csv$", re.ASCII)
STORE: Final = "/proc/world/store"
"""No process can make or read a file there on the real disk: what goes around the port fails at once."""
Event = Callable[["World", Step], str]


def _power_loss(world: World, step: Step) -> str:
    lost = world.lose_power(world.draw("power"))
    return "power was lost" + (f", and with it {len(lost)} things: {'; '.join(lost[:4])}" if lost else "")


def _rot(world: World, step: Step) -> str:
    path = _chosen_file(world, step)
    if path is None:
        return "nothing could be rotten"
    world.disk.rot(path, _bit_of(world, step, path))
    world.damaged[path] = "rotted"
    return f"a bit of {path} rotted"


def _bit_of(world: World, step: Step, path: str) -> int:
    """Return a bit that is drawn, or the highest one of the first ``text`` in the file, if the step names one."""
    content = world.disk.files(path)[path]
    at = content.find(str(step.what["text"]).encode()) if "text" in step.what else -1
    return world.draw("bit").randrange(2**31) if at < 0 else at * 8 + 7


def _file_lost(world: World, step: Step) -> str:
    path = _chosen_file(world, step)
    if path is None or world.disk.read_only:
        return "nothing could be removed"
    world.disk.outside.unlink(path)
    world.damaged[path] = "removed"
    return f"somebody removed {path}"


def _something_else(world: World, step: Step) -> str:
    """Put a folder, a pipe, or a link to itself or out of the store, in the place of a file; or another file."""
    path, by = _chosen_file(world, step), step.what.get("by", "folder")
    if path is None or world.disk.read_only:
        return "nothing could be replaced"
    files = world.disk.files(f"{STORE}/{step.what.get('area', 'data')}")
    others = sorted(
        other for other in filter(_has_a_record, files) if files[other] != files[path] and _are_of_one_date(other, path)
    )
    if by == "file" and not others:
        return "nothing could be replaced"
    world.disk.outside.unlink(path)
    if by == "link":
        world.disk.link_to(path, f"/proc/world/elsewhere/{PurePosixPath(path).name}")
    elif by == "link to itself":
        world.disk.link_to(path, PurePosixPath(path).name)
    elif by == "pipe":
        world.disk.pipe_at(path)
    elif by == "file":
        _write(world, path, files[world.draw("other").choice(others)])
    else:
        world.disk.outside.mkdir(path)
    world.damaged[path] = "replaced"
    return f"somebody put a {by} in the place of {path}"


def _are_of_one_date(one: str, other: str) -> bool:
    """Return whether two files of minutes are of one date, as a mistake with symbols makes it; True for other files.

    One of another date would be read as that date's bars too, before ``verify`` names it: what is read of a damaged
    store is uncertain, and that date would have to be as well.
    """
    dates = [PurePosixPath(path).parts[-3:] for path in (one, other)]
    return dates[0] == dates[1] or not dates[1][-1].startswith("day=")


def _rewritten(world: World, step: Step) -> str:
    """Write a file anew as another program does: a day file with the same metadata and times, and other volumes; in
    the area of revisions a history of official days with other volumes.
    """
    is_former = step.what.get("area") == "revisions"
    below = world.disk.files(f"{STORE}/{step.what.get('area', 'data')}")
    files = sorted(path for path in below if (HISTORY.search(path) if is_former else "/day=" in path))
    if not files or world.disk.read_only:
        return "nothing could be rewritten"
    path = world.draw("file").choice(files)
    try:
        content = _with_other_lines(below[path]) if is_former else _with_other_volumes(below[path])
    except (pa.ArrowException, OSError, ValueError):
        return "nothing could be rewritten"
    world.disk.outside.unlink(path)
    _write(world, path, content)
    world.damaged[path] = "rewritten"
    return f"somebody rewrote {path}"


def _with_other_volumes(content: bytes) -> bytes:
    bars = pq.read_table(BytesIO(content), use_threads=False)
    place, sink = bars.column_names.index("volume"), BytesIO()
    volumes = pa.array([1.0 + (volume or 0.0) for volume in bars["volume"].to_pylist()])
    pq.write_table(bars.set_column(place, bars.schema.field(place), volumes), sink)
    return sink.getvalue()


def _with_other_lines(content: bytes) -> bytes:
    """Return a history whose last version is known since ten years before, with a checksum that fits."""
    lines = content.split(b"\n", 1)[1]
    moment = lines.rindex(b",") + 1
    lines = b"%s%d%s" % (lines[:moment], int(lines[moment : moment + 4]) - 10, lines[moment + 4 :])
    return b"# sha256 of the lines below: %s\n%s" % (sha256(lines).hexdigest().encode(), lines)


def _write(world: World, path: str, content: bytes) -> None:
    disk = world.disk.outside
    descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT)
    disk.write(descriptor, content)
    disk.fsync(descriptor)
    disk.close(descriptor)


def _chosen_file(world: World, step: Step) -> str | None:
    """Return a file of the area that the step names; none of them is a temporary one.

    If the step names a ``file``, one whose path has that text.
    """
    below, of_kind = f"{STORE}/{step.what.get('area', 'data')}", str(step.what.get("file", ""))
    files = sorted(path for path in world.disk.files(below) if _has_a_record(path) and of_kind in path)
    return world.draw("file").choice(files) if files else None


def _has_a_record(path: str) -> bool:
    """Return whether it is a file of bars or a history of official days; a version index has no record."""
    return path.endswith(".parquet") or HISTORY.search(path) is not None


def _folder_moved(world: World, step: Step) -> str:
    """Put a link that leads out of the store in the place of a symbol's folder, which is somewhere else then."""
    place = f"{STORE}/data/symbol={step.what['symbol']}"
    found = world.disk.inode(place)
    if found is None or found.entries is None or world.disk.read_only:
        return "no folder could be moved"
    target = f"/proc/world/elsewhere/{PurePosixPath(place).name}"
    for folder in ("/proc/world/elsewhere", target):
        if world.disk.inode(folder) is None:
            world.disk.outside.mkdir(folder)
    world.disk.outside.replace(place, f"/proc/world/moved-{step.number}")
    world.disk.link_to(place, target)
    world.damaged[place] = "replaced"
    return f"somebody moved {place} away and put a link in its place"


def _disk_full(world: World, step: Step) -> str:
    world.disk.space = int(step.what.get("bytes", 0))
    return f"the disk has {world.disk.space} bytes left"


def _disk_freed(world: World, step: Step) -> str:
    world.disk.space = world.disk.inodes = None
    return "the disk has space again"


def _disk_read_only(world: World, step: Step) -> str:
    world.disk.read_only = True
    return "the disk is read-only"


def _disk_writable(world: World, step: Step) -> str:
    world.disk.read_only = False
    return "the disk can be written to again"


def _clock(world: World, step: Step) -> str:
    world.skew, world.standing = float(step.what.get("ahead", 0.0)), bool(step.what.get("stands", False))
    if world.standing:
        return "the clock stands still"
    return f"the clock is {world.skew:+.0f} s off" if world.skew else "the clock is right"


def _copied(world: World, step: Step) -> str:
    world.disk.restore_from_copy()
    return "the disk was replaced by a copy"


def _idle(world: World, step: Step) -> str:
    return "nobody did anything"


EVENTS: Final[Mapping[str, Event]] = {
    "power loss": _power_loss,
    "rot": _rot,
    "file lost": _file_lost,
    "rewritten": _rewritten,
    "something else": _something_else,
    "folder moved": _folder_moved,
    "disk full": _disk_full,
    "disk freed": _disk_freed,
    "disk read-only": _disk_read_only,
    "disk writable": _disk_writable,
    "clock": _clock,
    "copied": _copied,
    "idle": _idle,
}
"""By the kind of a step. ``what`` may name the ``area`` of a file, as data or revisions, and a part of its path."""
