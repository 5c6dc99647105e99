"""A state on a file system of a network is refused with words, and before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve, frozen

from marketpipe.ingestion.infrastructure.file_systems import refuse_network
from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteFile
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.shared_kernel.infrastructure.machine.processes import RealProcesses, file_system_in

LINE = "{number} 1 0:{number} / {point} rw,relatime shared:1 - {kind} source rw"


def mounts(folder: Path, *mounted: tuple[str, str]) -> Path:
    file = folder / "mountinfo"
    lines = [LINE.format(number=20 + i, point=point, kind=kind) for i, (point, kind) in enumerate(mounted)]
    file.write_text("\n".join(["no line of a mount", *lines]))
    return file


@frozen
class Mounted(RealProcesses):
    """The processes of this system, with the file systems of a list of mounts."""

    mounts: Path

    def file_system_of(self, path: Path, /) -> str | None:
        return file_system_in(self.mounts, path)


def with_mounts(file: Path) -> Machine:
    return evolve(HERE, processes=Mounted(file))


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "drvfs"],
)
def test_a_state_on_a_network_is_refused_and_nothing_is_made(tmp_path: Path, kind: str) -> None:
    share = tmp_path / "share"
    known = mounts(tmp_path, ("/", "ext4"), (str(share), kind))
    state = share / "state" / "marketpipe.sqlite"

    with pytest.raises(ConfigurationError, match=f"is on a file system of a network .{kind}.*Give a state_path on a"):
        SQLiteFile(state, "../data", machine=with_mounts(known))

    assert not share.exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "apfs", "tmpfs", "overlay", "zfs", "fuseblk"])
def test_a_state_on_a_disk_of_this_machine_is_used(tmp_path: Path, kind: str) -> None:
    known = mounts(tmp_path, ("/", kind))
    SQLiteFile(tmp_path / "marketpipe.sqlite", "../data", machine=with_mounts(known)).close()


def test_the_longest_mount_point_decides_and_of_two_equal_ones_the_later(tmp_path: Path) -> None:
    known = mounts(
        tmp_path,
        ("/", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/local", "xfs"),
        ("/over", "nfs"),
        ("/over", "ext4"),
        ("/with\\040space", "cifs"),
    )
    found = {
        place: file_system_in(known, Path(place))
        for place in ("/srv/a", "/srv", "/srv/local/a", "/srvx/a", "/over/a", "/with space/a", "/etc")
    }

    assert found == {
        "/srv/a": "nfs4",
        "/srv": "nfs4",
        "/srv/local/a": "xfs",
        "/srvx/a": "ext4",
        "/over/a": "ext4",
        "/with space/a": "cifs",
        "/etc": "ext4",
    }


def test_a_link_to_a_network_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "share", tmp_path / "state"
    target.mkdir()
    link.symlink_to(target)

    with pytest.raises(ConfigurationError):
        refuse_network(link / "marketpipe.sqlite", Mounted(mounts(tmp_path, ("/", "ext4"), (str(target), "nfs"))))


def test_nothing_is_refused_where_mounts_are_not_known(tmp_path: Path) -> None:
    refuse_network(tmp_path / "marketpipe.sqlite", Mounted(tmp_path / "missing"))
