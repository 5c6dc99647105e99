"""The method of ``Store`` that removes what a bucket has for nothing."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Protocol

from marketpipe.config import StoreConfig, is_on_disk, url_of
from marketpipe.parts import Parts
from marketpipe.runs import Runs
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StoreBusyError
from marketpipe.storage.domain.bucket_upkeep import LEAST_GRACE, USUAL_GRACE, CollectionReport

from . import place_parts, store_locks


class CollectableStore(Protocol):
    """What ``gc`` needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    _runs: Runs


def gc(
    self: CollectableStore, grace: timedelta = USUAL_GRACE, *, dry_run: bool = False, alone: bool = False
) -> CollectionReport:
    """Remove objects of the bucket that no file of the store is in: of writes that were killed, and of bars that were
    replaced. First write a snapshot of the catalog into the bucket, from which ``recover`` begins.

    An object that is younger than ``grace``, by the clock of the server, stays: the write that has put it may not have
    ended. A grace time under an hour is refused, unless the caller says that nothing else works with the store: then
    ``alone`` keeps others out, as far as they can be seen. With ``dry_run`` nothing is changed, and the clock is
    this machine's.

    Raises ``ConfigurationError`` for a store on a disk, for a grace time that is too short, if the state has no
    dataset, as it may have been lost, and if the bucket has another state since; ``StoreBusyError`` while another
    process collects, publishes or recovers it, or works with it if ``alone``. A ``StorageError`` of the bucket and a
    ``StateError`` may leave a part of it undone, and lose nothing: call it again.
    """
    parts, place = self._parts, url_of(self.config.output_path)
    _check(self.config, grace, alone=alone)
    if alone and (
        place_parts.has_opened_state(parts) or place_parts.new_stored_state(parts.config, parts.machine).is_in_use()
    ):
        raise StoreBusyError(f"a process works with {place}: wait for it to end, or leave the grace time as it is")
    _refuse_without_dataset(parts)  # before a lock file is made
    place_parts.object_store(parts).state.refuse_another()
    confirm = partial(_refuse_without_dataset, parts)
    if dry_run:
        return place_parts.new_orphan_collector(parts, confirm).collectable(grace)
    with ExitStack() as locks:
        locks.enter_context(self._runs.run())
        locks.enter_context(place_parts.store_lock(parts, store_locks.GC, waits=False).acquired())
        if alone:
            locks.enter_context(place_parts.update_lock(parts).acquired())
        return place_parts.new_orphan_collector(parts, confirm).collect(grace)


def _refuse_without_dataset(parts: Parts) -> None:
    if place_parts.known_state(parts).dataset() is None:
        raise ConfigurationError(
            f"nothing was removed: the state names no dataset in {url_of(parts.config.output_path)}. If the state was "
            "lost, 'marketpipe recover' makes a new one of the objects"
        )


def _check(config: StoreConfig, grace: timedelta, *, alone: bool) -> None:
    if is_on_disk(config.output_path):
        raise ConfigurationError(
            f"{config.output_path.absolute()} is on a disk, where each command removes what a killed one has left: "
            "gc is for a store in a bucket"
        )
    if grace < timedelta(0):
        raise ConfigurationError("the grace time cannot be negative")
    if grace < LEAST_GRACE and not alone:
        raise ConfigurationError(
            f"a grace time of less than {LEAST_GRACE // timedelta(hours=1)} h can lose bars of a process that"
            " writes now. If none does, say so with --alone (in Python, alone=True)"
        )
