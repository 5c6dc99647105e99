from __future__ import annotations

import os
from pathlib import Path

import pytest

from marketpipe.shared_kernel.infrastructure.machine.disk import AnyPath
from marketpipe.shared_kernel.infrastructure.machine.real_disk import RealDisk
from marketpipe.storage.infrastructure.publishing.access_rights import AccessRights, give_rights, rights_of


class WithoutOthers(RealDisk):
    """A disk on which a process gives a file to nobody else."""

    def chown(self, path: AnyPath | int, /, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))


@pytest.mark.parametrize(("mode", "given"), [(0o640, 0o600), (0o664, 0o644), (0o2775, 0o755)])
def test_a_group_that_cannot_be_given_has_no_more_rights_than_others(tmp_path: Path, mode: int, given: int) -> None:
    new = tmp_path / "new"
    new.write_bytes(b"")
    found = os.stat(new)

    give_rights(new, AccessRights(found.st_uid + 1, found.st_gid + 1, mode, {}), WithoutOthers())

    assert rights_of(new) == AccessRights(found.st_uid, found.st_gid, given, {})
