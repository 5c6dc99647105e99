"""Disks of objects in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from attrs import evolve, field, frozen

from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.storage.infrastructure.objects.object_disk import ObjectDisk
from marketpipe.storage.infrastructure.objects.object_files import ObjectFiles
from marketpipe.storage.infrastructure.publishing.digest_recorder import Recorder
from tests.support.in_memory_file_catalog import InMemoryFileCatalog
from tests.support.in_memory_object_store import InMemoryObjectStore

STORE: Final = "/s3:/bucket/store"
AREAS: Final = ("aggregates", "quarantine", "revisions", "official", "copies")
PLACES: Final = {STORE: "data", **{f"{STORE}_{area}": area for area in AREAS}}
ROOM: Final = "/s3:/bucket/room"
"""A folder that has the areas of a ``StoreOnDisk``, each by its name."""
PLACES_IN_A_ROOM: Final = {f"{ROOM}/{area}": area for area in ("data", *AREAS)}
NOW: Final = 2_000_000_000_000_000_000


@frozen(eq=False)
class ObjectsInMemory:
    """A bucket, a catalog, and any number of disks over both, each as of a process of its own."""

    catalog: InMemoryFileCatalog = field(factory=InMemoryFileCatalog)
    store: InMemoryObjectStore = field(factory=InMemoryObjectStore)
    names: Iterator[int] = field(factory=lambda: count(1))

    def disk(self, machine: Machine = HERE) -> ObjectDisk:
        named = evolve(machine, new_name=lambda: f"{next(self.names):04d}")
        return ObjectDisk(self.catalog, self.store, PLACES | PLACES_IN_A_ROOM, named, lambda: NOW)

    def files(self, machine: Machine | None = None, recorder: Recorder | None = None) -> ObjectFiles:
        named = evolve(machine or self.machine(), new_name=lambda: f"{next(self.names):04d}")
        return ObjectFiles(self.catalog, self.store, PLACES | PLACES_IN_A_ROOM, named, lambda: NOW, recorder)

    def machine(self) -> Machine:
        return evolve(HERE, disk=self.disk())
