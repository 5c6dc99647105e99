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

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.storage.domain.data_partition import MonthPartition
from marketpipe.storage.infrastructure.store_layout import DAY_FILE

FileLook = tuple[str, int, int]
"""A file from outside: its name, its size in bytes, its modification time in nanoseconds since 1970."""


@contextmanager
def looking_into(folder: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = os.path.join(folder, error.filename or "")  # looked at by a descriptor it has no folder
        raise StorageError(f"cannot look into {where}: {error.strerror}") from error


def entries_of(folder: Path | str, pattern: str) -> list[os.DirEntry[str]]:
    """Those whose names fit, ascending; none where there is no such folder. Raises ``StorageError``."""
    fits = _compiled(pattern)
    with looking_into(folder):
        try:
            with os.scandir(folder) as entries:
                return sorted((entry for entry in entries if fits.match(entry.name)), key=attrgetter("name"))
        except FileNotFoundError:
            return []


def day_file_looks(folder: Path | str) -> list[FileLook]:
    """Of the day files of one month, ascending; none where there is no such folder. Raises ``StorageError``.

    A store has a great many of them, and all are looked at again and again: by a descriptor, so that the system does
    not walk the whole path for each.
    """
    fits = _compiled(DAY_FILE).match
    with looking_into(folder):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return []
        try:
            with os.scandir(descriptor) as entries:
                seen = [(entry.name, entry.stat()) for entry in entries if fits(entry.name)]
        finally:
            os.close(descriptor)
    return sorted([(name, found.st_size, found.st_mtime_ns) for name, found in seen])


def modified_ns(path: str) -> int | None:
    """None where there is no such file. Raises ``StorageError``."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot look at {path}: {error.strerror}") from error


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
