"""Folders that were exchanged or to be exchanged when their process ended: copies, unless another program wrote too."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NoReturn

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.infrastructure.machine.disk import Disk, lexists, remove_tree, walk
from marketpipe.shared_kernel.infrastructure.machine.real_disk import REAL_DISK
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.publishing.temporary_files import is_temporary
from marketpipe.storage.infrastructure.store_layout import scan_day_files

logger = logging.getLogger("marketpipe.storage")


def remove_left_folder(left: Path, data: Path, disk: Disk = REAL_DISK) -> None:
    """Remove a temporary folder that was left, if all that it has is below ``data`` too, as files or in month files.

    A program may have put a day into a folder just before it was exchanged, and the process ended before it noticed.
    Such a folder stays, with a warning. So does one that cannot be removed.
    """
    try:
        lacking = _lacking(left, data, disk)
    except (OSError, StorageError) as error:
        logger.warning("%s was left by a process that ended, and stays: %s", left, error)
        return
    if lacking:
        advice = "copy what you need of it, then remove that folder"
        names = ", ".join(lacking)
        logger.warning("%s was left by a process that ended: %s has no %s; %s", left, data, names, advice)
    else:
        remove_tree(disk, left)


def _lacking(left: Path, data: Path, disk: Disk) -> list[str]:
    """Return the files and days in ``left`` that are not in the same place below ``data``."""
    found = list[str]()
    for folder, _, files in walk(disk, left, _refuse):
        place = os.path.relpath(folder, left)
        names = {name for name, _, _ in scan_day_files(folder, disk)} | {
            name for name in files if not is_temporary(name)
        }
        names -= {MONTH_FILE, *(name for name, _, _ in scan_day_files(data / place, disk))}
        found += sorted(f"{place}/{name}" for name in names if not lexists(disk, data / place / name))
    return found


def _refuse(error: OSError) -> NoReturn:
    """A folder that cannot be listed may have days that the store lacks."""
    raise error
