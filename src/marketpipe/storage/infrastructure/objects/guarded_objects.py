"""Between a store and its bucket: a server that ignores conditions is refused before the first object is put there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, FileCatalog, PlacedFile
from marketpipe.shared_kernel.infrastructure.machine.threads import ALock
from marketpipe.storage.infrastructure.objects.condition_probe import probe_conditions
from marketpipe.storage.infrastructure.objects.object_store import PACKS, ObjectStore, StoredObject

PROBED: Final = "servers"
"""The folder of the catalog, in no area, that has an entry for each server that was probed."""


@frozen
class CurrentCatalog:
    """``FileCatalog`` of a state that may be made, or replaced, while the store is open.

    ``known`` returns that of a state that is only read, and ``writable`` the one that is made if there is none.
    """

    known: Callable[[], FileCatalog]
    writable: Callable[[], FileCatalog]

    def find(self, path: str) -> PlacedFile | None:
        return self.known().find(path)

    def object_of(self, path: str) -> str | None:
        return self.known().object_of(path)

    def listed(self, folder: str) -> Sequence[PlacedFile]:
        return self.known().listed(folder)

    def folders(self, folder: str) -> Sequence[str]:
        return self.known().folders(folder)

    def below(self, folder: str) -> Sequence[PlacedFile]:
        return self.known().below(folder)

    def has_any(self, folder: str) -> bool:
        return self.known().has_any(folder)

    def change(self, change: CatalogChange) -> None:
        self.writable().change(change)

    def objects(self) -> Mapping[str, int]:
        return self.known().objects()


@define(eq=False)
class ProbedObjects:
    """``ObjectStore`` that probes its server before the first put, once for each server and bucket: the catalog has it
    that it was. ``place`` is how messages call the bucket, and ``server`` its address.
    """

    store: ObjectStore
    catalog: FileCatalog
    place: str
    server: str
    new_name: Callable[[], str]
    lock: ALock
    _is_probed: bool = field(default=False, init=False)

    def probe(self) -> None:
        """Raise ``ConfigurationError`` for a server that ignores conditions, and ``StorageError``."""
        if not self._is_probed:
            with self.lock:
                if not self._is_probed:
                    self._probe()
                    self._is_probed = True

    def put_new(self, key: str, content: bytes) -> bool:
        self.probe()
        return self.store.put_new(key, content)

    def get(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        return self.store.get(key, offset, size)

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        return self.store.listed(prefix)

    def delete(self, keys: Collection[str]) -> None:
        self.store.delete(keys)

    def _probe(self) -> None:
        name = f"{self.server} {self.place}"
        entry = f"{PROBED}/{sha256(name.encode()).hexdigest()}"
        if self.catalog.find(entry) is None:
            self._refuse_unknown_objects()
            probe_conditions(self.store, self.place, self.new_name())
            self.catalog.change(CatalogChange(placed=[PlacedFile.inline(entry, name.encode(), 0)]))

    def _refuse_unknown_objects(self) -> None:
        """A state that knows no file would let ``gc`` remove all objects of the one that was lost."""
        if not self.catalog.has_any("") and next(iter(self.store.listed(PACKS)), None) is not None:
            raise ConfigurationError(
                f"{self.place} has objects of this store already, and the state knows no file in them: if it was lost, "
                "'marketpipe recover' makes it again; or else name another prefix"
            )
