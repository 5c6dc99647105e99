"""Runs of the command line that are killed at a moment, in a folder that is quick to sync."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.json_server import JsonServer

KILLED: Final = -signal.SIGKILL


class DyingCli(JsonServer):
    def run(self, folder: Path, *words: str, die_at: int | None = None, die_after: float | None = None) -> int:
        asked = [*words, "--config", "config.yaml"]
        return int(self.ask(words=asked, cwd=str(folder), die_at=die_at, die_after=die_after)["code"])


@contextmanager
def quick_folder(otherwise: Path) -> Iterator[Path]:
    """In memory where that can be had: hundreds of runs sync thousands of files, and no power is lost here."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else otherwise) as folder:
        yield Path(folder)
