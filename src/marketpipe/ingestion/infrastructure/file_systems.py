"""On which kind of file system a path is: SQLite's locks and shared memory do not work on those of a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.infrastructure.machine.processes import REAL_PROCESSES, Processes

OF_A_NETWORK: Final = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|afs|auristorfs|ceph|coda|ncpfs|lustre|gpfs|beegfs|glusterfs|davfs\d?|gcsfuse|"
    r"prl_fs|vboxsf|vmhgfs|drvfs|"
    r"fuse\.(sshfs|s3fs|gcsfuse|rclone|glusterfs|ceph|davfs\d?|curlftpfs|mount\.davfs|smbnetfs|goofys|blobfuse\d?|"
    r"juicefs|nfs.*|vmhgfs-fuse|mountpoint-s3|geesefs|seaweedfs|moosefs|mfs.*)"
)
"""Also folders that a virtual machine or a container shares with its host: they are served like those of a network."""


def refuse_network(path: Path, processes: Processes = REAL_PROCESSES) -> None:
    """Raise ``ConfigurationError`` if the file is, or would be, on a file system of a network.

    Two machines could write at once and damage the state, as neither sees the other's locks.
    """
    kind = processes.file_system_of(path)
    if kind is not None and OF_A_NETWORK.fullmatch(kind):
        raise ConfigurationError(
            f"state_path: {path} is on a file system of a network ({kind}), where SQLite cannot lock a file: two "
            "processes could damage the state. Give a state_path on a disk of this machine; the bars may stay where "
            "they are. Never use one store from two machines at the same time"
        )
