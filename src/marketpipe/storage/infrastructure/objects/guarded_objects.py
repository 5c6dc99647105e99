"""Between a store and its bucket: a server that ignores conditions is refused before the first object is put there, and
so is a state that another one has taken the place of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

from attrs import define, field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.object_catalog import OF_ONE_STATE, CatalogChange, FileCatalog, PlacedFile
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.infrastructure.machine.threads import ALock
from marketpipe.storage.infrastructure.objects.change_notes import with_note
from marketpipe.storage.infrastructure.objects.condition_probe import probe_conditions
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore, StoredObject, packs_in

PROBED: Final = OF_ONE_STATE
"""The folder of the catalog that has an entry for each server that was probed."""
STATES: Final = "states/"
"""Where each state has an object that says where it is; the newest is that of the state which the bucket has now."""
OWN_STATES: Final = f"{OF_ONE_STATE}/states"
"""The folder of the catalog with the names of those objects that are of this state."""


@frozen
class CurrentCatalog:
    """``FileCatalog`` of a state that may be made, or replaced, while the store is open.

    ``known`` returns that of a state that is only read, and ``writable`` the one that is made if there is none. Each
    change of minute bars leaves a note.
    """

    known: Callable[[], FileCatalog]
    writable: Callable[[], FileCatalog]
    new_name: Callable[[], str]

    def find(self, path: str) -> PlacedFile | None:
        return self.known().find(path)

    def object_of(self, path: str) -> str | None:
        return self.known().object_of(path)

    def listed(self, folder: str) -> Sequence[PlacedFile]:
        return self.known().listed(folder)

    def in_each(self, folders: Collection[str], name: str | None = None) -> Sequence[PlacedFile]:
        return self.known().in_each(folders, name)

    def folders(self, folder: str) -> Sequence[str]:
        return self.known().folders(folder)

    def below(self, folder: str) -> Sequence[PlacedFile]:
        return self.known().below(folder)

    def has_any(self, folder: str) -> bool:
        return self.known().has_any(folder)

    def change(self, change: CatalogChange) -> None:
        self.writable().change(with_note(change, self.new_name))

    def objects(self) -> Mapping[str, int]:
        return self.known().objects()


@frozen
class StateOfABucket:
    """Which state a bucket has: ``state`` is where the one is that is used, and ``place`` how messages call the store.

    Two states of one bucket do not know each other's objects: ``gc`` with the first would remove those of the second.
    One that was made by ``recover``, or copied, takes the place of the other with its first object.
    """

    store: ObjectStore
    catalog: FileCatalog
    place: str
    state: str
    new_name: Callable[[], str]

    def take_over(self) -> None:
        """Let the bucket have this state from now on, if it is a new one. Raises ``StorageError``.

        The catalog knows the name first: a process that is killed here leaves no object of which no state knows.
        """
        own, objects = self._found()
        if not any(each.key in own for each in objects):
            name = self.new_name()
            self.catalog.change(CatalogChange(placed=[PlacedFile.inline(f"{OWN_STATES}/{name}", b"", 0)]))
            self.store.put_new(f"{STATES}{name}", self.state.encode())

    def refuse_another(self) -> None:
        """Raise ``ConfigurationError`` if another state has taken the place of this one, and ``StorageError``."""
        own, objects = self._found()
        newest = max(objects, key=lambda each: (each.modified_ns, each.key in own), default=None)
        if newest is None or newest.key in own or not any(each.key in own for each in objects):
            return
        since, other = Timestamp.from_epoch_micros(newest.modified_ns // 1000), self.store.get(newest.key)
        raise ConfigurationError(
            f"the bars at {self.place} have another state since {since}: {other.decode(errors='replace')}. The one in "
            f"{self.state} does not know what was put since, so nothing was changed. Name the other one as state_path; "
            "or, if that is lost, 'marketpipe recover --force' makes a new one here, of the objects"
        )

    def _found(self) -> tuple[set[str], list[StoredObject]]:
        """Return the keys that objects of this state have, and the objects of all states."""
        own = {f"{STATES}{file.path.rpartition('/')[2]}" for file in self.catalog.listed(OWN_STATES)}
        return own, [*self.store.listed(STATES)]


@define(eq=False)
class ProbedObjects:
    """``ObjectStore`` that probes its server before the first put, once for each server and bucket: the catalog has it
    that it was. ``bucket`` is how messages call it, ``server`` its address, and ``state`` says whether it is another's.
    """

    store: ObjectStore
    catalog: FileCatalog
    state: StateOfABucket
    bucket: str
    server: str
    new_name: Callable[[], str]
    lock: ALock
    _is_probed: bool = field(default=False, init=False)

    def probe_new(self) -> None:
        """As ``probe``, but request nothing of a server that was probed before: a command may have nothing to put."""
        if self.catalog.find(self._entry()) is None:
            self.probe()

    def probe(self) -> None:
        """Raise ``ConfigurationError`` for a server that ignores conditions and for a state that another one has taken
        the place of, and ``StorageError``.
        """
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
        entry = self._entry()
        self.state.refuse_another()
        if self.catalog.find(entry) is None:
            self._refuse_unknown_objects()
            probe_conditions(self.store, self.bucket, self.new_name())
            self.state.take_over()
            self.catalog.change(CatalogChange(placed=[PlacedFile.inline(entry, self._name.encode(), 0)]))

    @property
    def _name(self) -> str:
        return f"{self.server} {self.bucket}"

    def _entry(self) -> str:
        """Return where the catalog says that this server was probed."""
        return f"{PROBED}/{sha256(self._name.encode()).hexdigest()}"

    def _refuse_unknown_objects(self) -> None:
        """A state that knows no file would let ``gc`` remove all objects of the one that was lost."""
        if not self.catalog.has_any("") and next(packs_in(self.store), None) is not None:
            raise ConfigurationError(
                f"{self.state.place} has objects already, and the state knows no file in them: if it was lost, "
                "'marketpipe recover' makes it again; if a 'marketpipe copy' to there was killed, run that again; or "
                "else name another prefix"
            )
