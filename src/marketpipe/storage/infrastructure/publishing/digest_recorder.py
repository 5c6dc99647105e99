"""Records the digest of every file of the store that no checkpoint records, as it is published, replaced or removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from marketpipe.shared_kernel.domain.store_inventory import FileDigests
from marketpipe.storage.domain.integrity import StoreArea
from marketpipe.storage.infrastructure.store_layout import HISTORY_PATH, VERSION_INDEX, StoreLayout


class Recorder(Protocol):
    """Records the SHA-256 of published files."""

    def records(self, path: Path) -> bool:
        """Return whether it records files of this path."""

    def recorded(self, digests: Mapping[Path, str]) -> AbstractContextManager[None]:
        """Record what files will have, ``ABSENT`` for one that is removed; and at the end that they have it."""


class NothingRecorded:
    """A recorder of no path: for files outside a store, such as a cache."""

    def records(self, _: Path) -> bool:
        return False

    def recorded(self, _: Mapping[Path, str]) -> AbstractContextManager[None]:
        return nullcontext()


class DigestRecorder:
    """Records in the register what files will contain before they are published, and what they contain afterwards.

    So at any moment, also after a crash, a file has one of its recorded digests. See docs/adr/0026.
    """

    def __init__(self, layout: StoreLayout, digests: Callable[[], FileDigests]) -> None:
        """``digests`` opens the register when a file is published: the state may not exist before."""
        roots = {
            layout.aggregates: StoreArea.AGGREGATES,
            layout.quarantine: StoreArea.QUARANTINE,
            layout.revisions: StoreArea.REVISIONS,
        }
        self._areas = {f"{root}{os.sep}": area for root, area in roots.items()}
        self._prefixes, self._digests = tuple(self._areas), digests

    def records(self, path: Path) -> bool:
        """Return False for a day file, whose digest is in its checkpoint, and for a version index, which only grows."""
        return str(path).startswith(self._prefixes) and (path.suffix == ".parquet" or _is_history(path))

    @contextmanager
    def recorded(self, digests: Mapping[Path, str]) -> Iterator[None]:
        """Enter before the files are published. Raises ``StateError``."""
        named = {self._name_of(str(path)): digest for path, digest in digests.items()}
        if not named:
            yield
            return
        register = self._digests()
        # A power loss that keeps a new history and loses this record would make it look like that of another program;
        # unlike other files that are replaced, it cannot be made again.
        register.expect(named, durable=any(map(_is_history, digests)))
        yield
        register.settle(named)

    def _name_of(self, path: str) -> str:
        prefix = next(prefix for prefix in self._prefixes if path.startswith(prefix))
        return f"{self._areas[prefix]}/{path[len(prefix) :].replace(os.sep, '/')}"


def _is_history(path: Path) -> bool:
    """Return whether a file of revisions has the versions of official days."""
    return path.name == VERSION_INDEX and HISTORY_PATH.fullmatch(f"{path.parent.name}/{path.name}") is not None
