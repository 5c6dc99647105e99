"""Disks of a few KiB that only one server of ``json_server`` sees, and the command line on them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

import pytest
from attrs import frozen

from tests.support.child_processes import run
from tests.support.json_server import JsonServer

Full = Literal["bytes", "files"]
"""What a full disk has no space for."""
FILLER = "filler"


@frozen
class CommandResult:
    code: int
    printed: str


class FullDiskCli(JsonServer):
    """The command line in its own mount namespace.

    If namespaces are not allowed, tests that mount are skipped, and only ``full_at`` works.
    """

    def __init__(self) -> None:
        alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
        probe = [*alone, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        self.can_mount = shutil.which("unshare") is not None and not run(probe).returncode
        super().__init__("full_disk_cli", alone if self.can_mount else [])

    def run(self, folder: Path, *words: str, full_at: int | None = None) -> CommandResult:
        return CommandResult(**self.ask(words=[*words, "--config", "config.yaml"], cwd=str(folder), full_at=full_at))

    def mount(self, folder: Path, kibibytes: int = 1000, files: int = 400) -> Disk:
        self._need_to_mount()
        folder.mkdir(parents=True, exist_ok=True)
        done = CommandResult(**self.ask(mount=str(folder), size=kibibytes, inodes=files))
        assert done.code == 0, done.printed
        return Disk(self, folder)

    def forbid_writing(self, folder: Path, forbid: bool = True) -> None:
        """Make ``folder`` read-only, for root too."""
        self._need_to_mount()
        done = CommandResult(**self.ask(bind=str(folder), read_only=forbid))
        assert done.code == 0, done.printed

    def _need_to_mount(self) -> None:
        if not self.can_mount:
            pytest.skip("no file system can be mounted here")

    def seen(self, folder: Path) -> Path:
        """Return the folder in which the server has mounted its file systems."""
        return Path(f"/proc/{self.pid}/root{folder}")


@frozen
class Disk:
    cli: FullDiskCli
    folder: Path

    def fill(self, of: Full) -> None:
        filler = self.cli.seen(self.folder) / FILLER
        filler.mkdir()
        number = 0
        try:
            while True:
                (filler / str(number)).write_bytes(b"x" * 4096 * (of == "bytes"))
                number += 1
        except OSError:
            return

    def free(self) -> None:
        shutil.rmtree(self.cli.seen(self.folder) / FILLER)

    def enlarge(self) -> None:
        self.cli.mount(self.folder)
