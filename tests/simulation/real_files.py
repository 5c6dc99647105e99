"""Where the real files of worlds are: in memory if the system has a folder there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

IN_FAST_MEMORY: Final = Path("/dev/shm")
PLACE: Final = "MARKETPIPE_WORLDS"
"""The variable that names the folder to a child process."""


def new_folder(prefix: str = "marketpipe-world-") -> TemporaryDirectory[str]:
    """Make a folder for the real files of a world."""
    fast = str(IN_FAST_MEMORY) if IN_FAST_MEMORY.is_dir() else None
    return TemporaryDirectory(prefix=prefix, dir=os.environ.get(PLACE) or fast)


@contextmanager
def removed_with_the_child() -> Iterator[Mapping[str, str]]:
    """Yield an environment for a child process: what it leaves of its worlds is removed, also if it was killed."""
    with new_folder("marketpipe-worlds-") as place:
        yield {**os.environ, PLACE: place}
