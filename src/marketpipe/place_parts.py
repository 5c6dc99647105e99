"""What a store has in its places: its files, its state and its locks. The one module that chooses their adapters.

A part of the composition root: whatever depends on where a store is, on this machine or beyond it, is made here.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from marketpipe.config import DATA, POSTGRESQL, PipelineConfig, StoreConfig, is_on_disk, scheme_of, url_of
from marketpipe.parts import Parts, installed_version, once
from marketpipe.shared_kernel.events import FilesSynced, JobFinished, JobStarted, OfficialDaysRequested
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE

from . import store_locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from marketpipe.ingestion.application.ports import ExclusiveLock
    from marketpipe.ingestion.infrastructure.postgres.postgres_locks import PostgresLocks
    from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresState, PostgresStoredState
    from marketpipe.ingestion.infrastructure.sql.state_rows import StateRows
    from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteStateFile
    from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
    from marketpipe.shared_kernel.domain.object_catalog import FileCatalog
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache
    from marketpipe.shared_kernel.infrastructure.machine.machine import Machine
    from marketpipe.storage.application.table_publication import TablePublication
    from marketpipe.storage.infrastructure.bucket_upkeep.orphans import OrphanCollector
    from marketpipe.storage.infrastructure.bucket_upkeep.recovered_catalog import RecoveredCatalog
    from marketpipe.storage.infrastructure.objects.guarded_objects import ProbedObjects
    from marketpipe.storage.infrastructure.objects.laid_out_files import LaidOutFiles
    from marketpipe.storage.infrastructure.objects.object_disk import ObjectDisk
    from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
    from marketpipe.storage.infrastructure.store_layout import StoreLayout

    AnyState = SQLiteState | PostgresState

AREAS = ("aggregates", "quarantine", "revisions", "official", "copies")
"""All areas of a store but the minute bars, as the paths in its state call them."""


@once
def layout(parts: Parts) -> StoreLayout:
    from marketpipe.storage.infrastructure.store_layout import StoreLayout

    config, machine = parts.config, store_machine(parts)
    kept = config.revisions_path, config.official_path, config.copies_path
    return StoreLayout(config.output_path, config.aggregates_path, config.quarantine_path, *kept, machine=machine)


@once
def store_machine(parts: Parts) -> Machine:
    """Return the machine that the files of the store are on: for a store in a bucket, one whose disk reads that too."""
    if is_on_disk(parts.config.output_path):
        return parts.machine
    return evolve(parts.machine, disk=object_disk(parts))


@once
def object_disk(parts: Parts) -> ObjectDisk:
    from marketpipe.storage.infrastructure.objects.object_disk import ObjectDisk

    return ObjectDisk(file_catalog(parts), object_store(parts), areas(parts), parts.machine, partial(now_ns, parts))


@once
def files(parts: Parts) -> PublishedFiles:
    """Make what publishes the files of the store."""
    from marketpipe.storage.infrastructure.publishing.digest_recorder import DigestRecorder

    at, publish = layout(parts), parts.bus.publish
    recorder = DigestRecorder(at, lambda: known_state(parts).file_digests)

    def on_synced(count: int) -> None:
        publish(FilesSynced(count))

    if is_on_disk(parts.config.output_path):
        from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles

        roots = [at.data, *at.derived().values()]
        return parts.closing(DurableFiles(parts.syncing, roots, recorder, on_synced, parts.machine))
    from marketpipe.storage.infrastructure.objects.object_files import JobAtWork, ObjectFiles

    catalog, objects, now = file_catalog(parts), object_store(parts), partial(now_ns, parts)
    parts.bus.observe(JobStarted, (job := JobAtWork()).on_job_started)
    parts.bus.observe(JobFinished, job.on_job_finished)
    return ObjectFiles(catalog, objects, areas(parts), store_machine(parts), now, recorder, on_synced, job)


@once
def local_files(parts: Parts) -> PublishedFiles:
    """Make what publishes files beside the state, on this machine."""
    if is_on_disk(parts.config.output_path):
        return files(parts)
    from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles

    return parts.closing(DurableFiles(parts.syncing, machine=parts.machine))


def areas(parts: Parts) -> Mapping[str, str]:
    """Return the areas of a store by their paths."""
    config = parts.config
    return {str(getattr(config, f"{area}_path")): area for area in AREAS} | {str(config.output_path): DATA}


@once
def file_catalog(parts: Parts) -> FileCatalog:
    from marketpipe.storage.infrastructure.objects.guarded_objects import CurrentCatalog

    known, writable = (lambda: known_state(parts).file_catalog), (lambda: state(parts).file_catalog)
    return CurrentCatalog(known, writable, parts.machine.new_name)


@once
def object_store(parts: Parts) -> ProbedObjects:
    """Make what reads and puts the objects of a store in a bucket. Nothing is requested yet."""
    from marketpipe.storage.infrastructure.objects.guarded_objects import ProbedObjects, StateOfABucket
    from marketpipe.storage.infrastructure.objects.obstore_objects import endpoint_in, s3_objects

    place = url_of(parts.config.output_path)
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    machine = parts.machine
    made = parts.new_object_store
    objects = made(place) if made else s3_objects(bucket, prefix, os.environ, machine)
    server = "" if made else endpoint_in(os.environ) or "https://s3.amazonaws.com"
    catalog, new_name = file_catalog(parts), machine.new_name
    own = StateOfABucket(objects, catalog, place, url_of(parts.config.state_path.absolute()), new_name)
    return ProbedObjects(objects, catalog, own, f"s3://{bucket}", server, new_name, machine.threads.lock())


def laid_out_files(parts: Parts) -> LaidOutFiles | None:
    """Make what lays out files of a store in a bucket for DuckDB; None for a store whose files it can read."""
    if is_on_disk(parts.config.output_path):
        return None
    from marketpipe.storage.infrastructure.objects.laid_out_files import LaidOutFiles

    return LaidOutFiles(file_catalog(parts), object_store(parts), layout(parts), parts.machine)


def probe_bucket(parts: Parts) -> None:
    """Refuse a server that would let writers lose each other's bars, and a state that another one has taken over from.

    Raises ``ConfigurationError``.
    """
    if not is_on_disk(parts.config.output_path):
        object_store(parts).probe()


def probe_before_requests(parts: Parts) -> None:
    """Probe the bucket before anything is requested of the provider: at once if it is new, else when a run has work."""

    def with_a_job(event: JobStarted) -> None:
        if event.planned:
            probe_bucket(parts)

    if not is_on_disk(parts.config.output_path):
        object_store(parts).probe_new()
        parts.bus.subscribe(JobStarted, with_a_job)
        parts.bus.subscribe(OfficialDaysRequested, lambda _: probe_bucket(parts))


def try_bucket(parts: Parts) -> None:
    """Put an object and remove it, whatever the state knows. Raises ``StorageError`` if that is not allowed, and
    ``ConfigurationError`` for a server that ignores conditions.
    """
    from marketpipe.storage.infrastructure.objects.condition_probe import probe_conditions

    probe_conditions(object_store(parts).store, url_of(parts.config.output_path), parts.machine.new_name())


def see_bucket(parts: Parts) -> None:
    """Raise ``StorageError`` if this process cannot list the bucket: one request, which changes nothing."""
    if not is_on_disk(parts.config.output_path):
        from marketpipe.storage.infrastructure.objects.condition_probe import PROBES

        next(iter(object_store(parts).listed(PROBES)), None)


def new_orphan_collector(parts: Parts, confirm: Callable[[], None]) -> OrphanCollector:
    """Make what removes objects of the bucket that no file is in. ``confirm`` raises if the catalog was lost."""
    from marketpipe.storage.infrastructure.bucket_upkeep.orphans import OrphanCollector

    return OrphanCollector(file_catalog(parts), object_store(parts), parts.machine.new_name, parts.clock.now(), confirm)


def new_table_publication(parts: Parts) -> TablePublication:
    """Make what publishes the bars of a bucket as a table. What publishes others than Delta takes its place here."""
    from marketpipe.storage.application.table_publication import TablePublication
    from marketpipe.storage.infrastructure.published_table.delta_log import ROOT, DeltaLog
    from marketpipe.storage.infrastructure.published_table.table_contents import LiveTable
    from marketpipe.storage.infrastructure.published_table.table_copies import TableCopies

    at, now = (file_catalog(parts), object_store(parts)), partial(now_ns, parts)
    place = f"{url_of(parts.config.output_path)}/{ROOT.rstrip('/')}"
    copies = TableCopies(*at, parts.machine.new_name, now, parts.machine.threads.executor)
    return TablePublication(LiveTable(copies), DeltaLog(*at, place, now, parts.clock.sleep), place)


def new_recovered_catalog(parts: Parts) -> RecoveredCatalog:
    """Read from the objects of the bucket which files there are."""
    from marketpipe.storage.infrastructure.bucket_upkeep.recovered_catalog import RecoveredCatalog

    found = RecoveredCatalog(object_store(parts))
    found.read(parts.machine.threads.executor)
    return found


def now_ns(parts: Parts) -> int:
    return parts.clock.now().epoch_micros * 1000


def state(parts: Parts) -> AnyState:
    return _state_in(parts, parts.config.state_path)


def known_state(parts: Parts) -> AnyState:
    """Return the state for a command that only reads: if there is no state, an empty one in memory.

    One that was replaced since, as by ``recover`` in another process, is opened again. Raises ``StateError``.
    """
    path = parts.config.state_path
    if parts.has(_state_in, path) and _state_in(parts, path).was_replaced():
        parts.forget(_state_in, path)
    is_there = parts.has(_state_in, path) or _exists(parts, path)
    return _state_in(parts, path if is_there else Path(":memory:"))


@once
def _state_in(parts: Parts, path: Path) -> AnyState:
    if scheme_of(path) == POSTGRESQL:
        from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresState

        return parts.closing(PostgresState(url_of(path), _location(parts.config), parts.clock, parts.machine))
    from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState

    return parts.closing(SQLiteState(path, _location(parts.config), machine=parts.machine))


def together(parts: Parts) -> Callable[[], AbstractContextManager[None]] | None:
    """Return what makes one transaction of storing bars and recording them; None if both are on this machine.

    There a file has its name before it is recorded, and what a crash leaves in between is adopted.
    """
    config = parts.config
    return None if is_on_disk(config.output_path) and is_on_disk(config.state_path) else state(parts).together


def has_opened_state(parts: Parts) -> bool:
    return parts.has(_state_in, parts.config.state_path)


def forget_state(parts: Parts) -> None:
    """Open the state anew when it is needed next: it was archived."""
    parts.forget(_state_in, parts.config.state_path)


def new_stored_state(config: StoreConfig, machine: Machine) -> PostgresStoredState | SQLiteStateFile:
    """Make what inspects a state from outside, and archives it."""
    if scheme_of(config.state_path) == POSTGRESQL:
        from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresStoredState

        return PostgresStoredState(url_of(config.state_path), _location(config), machine)
    from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteStateFile

    return SQLiteStateFile(config.state_path, _location(config), machine)


def _exists(parts: Parts, path: Path) -> bool:
    """Return whether there is a state, of this store or of another one."""
    if scheme_of(path) == POSTGRESQL:
        from marketpipe.ingestion.infrastructure.postgres.postgres_state import PostgresStoredState

        return PostgresStoredState(url_of(path), _location(parts.config), parts.machine).exists()
    from marketpipe.ingestion.infrastructure.sqlite_file import state_exists

    return state_exists(path, parts.machine)


def copy_state(parts: Parts, target: StoreConfig) -> Mapping[str, int]:
    """Copy the state of the store to the place that ``target`` names, and return how many rows each table has."""
    from marketpipe.ingestion.infrastructure.sql.state_rows import copy_rows

    return copy_rows(state_rows(parts.config, parts.machine), state_rows(target, parts.machine))


def state_rows(config: StoreConfig, machine: Machine) -> StateRows:
    if scheme_of(config.state_path) == POSTGRESQL:
        from marketpipe.ingestion.infrastructure.postgres.postgres_rows import PostgresRows

        return PostgresRows(url_of(config.state_path), _location(config))
    from marketpipe.ingestion.infrastructure.sqlite_rows import SQLiteRows

    return SQLiteRows(config.state_path, _location(config), machine)


def has_records(config: StoreConfig) -> bool:
    """Return whether the state knows this store."""
    return new_stored_state(config, HERE).has_store()


def _location(config: StoreConfig) -> str:
    """Return the store's name in the state: relative to its file, so that store and state can be moved together."""
    if not is_on_disk(config.output_path):
        return url_of(config.output_path)
    output = os.path.realpath(config.output_path)
    return (
        os.path.relpath(output, os.path.realpath(config.state_path.parent)) if is_on_disk(config.state_path) else output
    )


def update_lock(parts: Parts) -> ExclusiveLock:
    return store_lock(parts, store_locks.UPDATE, waits=False)


def store_lock(parts: Parts, purpose: str, *, waits: bool, **longest_wait: float) -> ExclusiveLock:
    """Make a lock of all processes on this store. Another store may share the state, and has locks of its own.

    See ``store_locks`` for their purposes.
    """
    if scheme_of(parts.config.state_path) == POSTGRESQL:
        holder = store_locks.holder_of(purpose)
        return shared_locks(parts).lock(purpose, waits=waits, holder=holder, **longest_wait)
    from marketpipe.ingestion.infrastructure.file_systems import refuse_network

    refuse_network(parts.config.state_path, parts.machine.processes)  # before the lock file is made
    store = hashlib.sha256(_location(parts.config).encode()).hexdigest()[:12]
    name = purpose if purpose == store_locks.AGGREGATION else f"{store}.{purpose}"
    return _file_lock(parts, name, purpose, waits, **longest_wait)


def aggregation_lock(parts: Parts, **longest_wait: float) -> ExclusiveLock:
    """Make the lock of what aggregates; stores that share a state file have it together."""
    return store_lock(parts, store_locks.AGGREGATION, waits=True, **longest_wait)


@contextmanager
def without_changes(parts: Parts) -> Iterator[None]:
    """Keep out commands that change the store: refuse at once if one runs, and let none begin inside.

    An ingestion, an audit and an import take none of these locks: look also whether the state is in use. ``verify``
    and the reading of bars are not kept out; they record figures, totals and what they have found to be damaged.
    """
    with ExitStack() as held:
        for purpose in store_locks.EXCLUDING_CHANGES:
            held.enter_context(store_lock(parts, purpose, waits=False).acquired())
        yield


def _file_lock(parts: Parts, name: str, purpose: str, waits: bool, **longest_wait: float) -> ExclusiveLock:
    from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock

    path, holder = parts.config.state_path, store_locks.holder_of(purpose)
    place = path.with_name(f"{path.name}.{name}-lock")
    return ExclusiveFileLock(place, waits=waits, holder=holder, machine=parts.machine, **longest_wait)


@once
def shared_locks(parts: Parts) -> PostgresLocks:
    """Make the locks of all machines that share the state in a database."""
    from marketpipe.ingestion.infrastructure.postgres.postgres_locks import PostgresLocks

    config = parts.config
    return parts.closing(PostgresLocks(url_of(config.state_path), _location(config), parts.machine))


@once
def calendar_cache(parts: Parts) -> CalendarCache:
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache

    given = parts.config.calendar.exceptions
    # without a configuration, as in load_ohlcv(), the store's own: those that its cache was made with
    exceptions = given if given or isinstance(parts.config, PipelineConfig) else None
    made_by = partial(installed_version, "exchange_calendars")
    disk = parts.machine.disk
    return CalendarCache(parts.config.state_path, made_by, local_files(parts).publish, exceptions, disk=disk)
