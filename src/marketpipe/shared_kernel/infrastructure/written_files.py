"""Files that a user asks for, such as an export or a page: their paths are checked before anything is read or written.

A file is renamed into its place, so it would replace whatever is there: a file of the store, a device, a pipe.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError


@frozen
class OwnPlaces:
    """What belongs to a store: its ``folders`` with all that is in them, the ``files`` of its state, its ``settings``.

    Files beside one of ``files`` whose names begin with its name belong to it too: journals and locks. ``settings`` are
    the files that its user has written: the configuration, and the keys.
    """

    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    settings: tuple[Path, ...] = ()

    def owner_of(self, path: Path) -> Path | None:
        """Return the folder or the file of the store that this path, which has no links, belongs to."""
        for folder in self.folders:
            if path.is_relative_to(os.path.realpath(folder)):
                return folder
        for file in self.files:
            state = Path(os.path.realpath(file))
            if path.parent == state.parent and path.name.startswith(state.name):
                return file
        return None

    def refuse(self, path: str | Path) -> Path:
        """Return the path without links. Raises ``ConfigurationError`` if it belongs to the store."""
        target = Path(os.path.realpath(path))
        if (owner := self.owner_of(target)) is not None:
            raise ConfigurationError(f"{path} is inside the store ({owner}): give a file elsewhere")
        if target in map(Path, map(os.path.realpath, self.settings)):
            raise ConfigurationError(f"{path} has the settings of the store, and would be replaced: name another file")
        return target


NO_PLACES: Final = OwnPlaces()


def checked_target(path: str | Path, own: OwnPlaces, *, overwrite: bool) -> Path:
    """Return the path without links, if a file can be written there. Changes nothing.

    Raises ``ConfigurationError`` for a path of the store, for what is no file, for a file that exists, unless
    ``overwrite``, and for a folder that does not.
    """
    try:
        target = own.refuse(path)
        found = os.stat(target)
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise ConfigurationError(f"{path}: there is no folder {target.parent}; make it first") from None
    except (OSError, ValueError) as error:  # a null character, or a name that is too long
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{str(path)!r} cannot be written: {reason}; give another name") from error
    else:
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{path} is not a file; give the name of a file")
        if not overwrite:
            raise ConfigurationError(f"{path} exists; give another name, or --overwrite (overwrite=True)")
    return target
