"""What lies in the folders of a store, seen from outside: names, sizes and times."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from fnmatch import translate
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import DAY_FILE


class FileLook(NamedTuple):
    """A file from outside; ``modified_ns`` are nanoseconds since 1970."""

    name: str
    size_bytes: int
    modified_ns: int


@contextmanager
def looking_into(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot look into {error.filename or folder}: {error.strerror}") from error


def entries_of(folder: Path | str, pattern: str) -> list[os.DirEntry[str]]:
    """Those whose names fit, ascending; none where there is no such folder. Raises ``StorageError``."""
    fits = _compiled(pattern)
    with looking_into(folder):
        try:
            with os.scandir(folder) as entries:
                return sorted((entry for entry in entries if fits.match(entry.name)), key=attrgetter("name"))
        except FileNotFoundError:
            return []


def day_file_looks(folder: Path) -> list[FileLook]:
    """Of the day files of one month, ascending. Raises ``StorageError``."""
    with looking_into(folder):
        seen = ((entry.name, entry.stat()) for entry in entries_of(folder, DAY_FILE))
        return [FileLook(name, found.st_size, found.st_mtime_ns) for name, found in seen]


def number_in(name: str) -> int:
    """``day=02.parquet`` is 2, ``year=2024`` is 2024."""
    return int(name.partition("=")[2].partition(".")[0])


def date_in(month: MonthPartition, day: int) -> date | None:
    """None for somebody else's ``day=99.parquet``."""
    try:
        return date(month.year, month.month, day)
    except ValueError:
        return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
