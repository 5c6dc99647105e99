"""On which kind of file system a path is: SQLite's locks and shared memory do not work on those of a network."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import ConfigurationError

MOUNTS: Final = Path("/proc/self/mountinfo")
"""Linux. Elsewhere there is no such file, and nothing is known of file systems."""
OF_A_NETWORK: Final = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|auristorfs|ceph|coda|ncpfs|lustre|gpfs|beegfs|glusterfs|davfs\d?|gcsfuse|"
    r"prl_fs|vboxsf|vmhgfs|drvfs|"
    r"fuse\.(sshfs|s3fs|gcsfuse|rclone|glusterfs|ceph|davfs\d?|curlftpfs|mount\.davfs|smbnetfs|goofys|blobfuse\d?|"
    r"juicefs|nfs.*|vmhgfs-fuse|mountpoint-s3|geesefs|seaweedfs|moosefs|mfs.*)"
)
"""Also folders that a virtual machine or a container shares with its host: they are served like those of a network."""
ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def refuse_network(path: Path, mounts: Path = MOUNTS) -> None:
    """Raise ``ConfigurationError`` if the file is, or would be, on a file system of a network.

    Two machines could write at once and damage the state, as neither sees the other's locks.
    """
    kind = file_system_of(path, mounts)
    if kind is not None and OF_A_NETWORK.fullmatch(kind):
        raise ConfigurationError(
            f"state_path: {path} is on a file system of a network ({kind}), where SQLite cannot lock a file: two "
            "processes could damage the state. Give a state_path on a disk of this machine; the bars may stay where "
            "they are. Never use one store from two machines at the same time"
        )


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the file system, such as "ext4" or "nfs4"; None if it cannot be found out.

    A path that does not exist yet is where its nearest existing folder is.
    """
    try:
        lines = mounts.read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place, longest, found = f"{os.path.realpath(path)}/", "", None
    for line in lines:
        fields, _, types = line.partition(" - ")
        point = ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields.split(" ")[4]) if types else ""
        # Of two mounts on one point the later one hides the former.
        if point and place.startswith(f"{point.rstrip('/')}/") and len(point) >= len(longest):
            longest, found = point, types.split(" ")[0]
    return found
