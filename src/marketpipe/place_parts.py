"""What a store has in its places: its files, its state and its locks. The one module that chooses their adapters.

A part of the composition root: whatever depends on where a store is, on this machine or beyond it, is made here.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from marketpipe.config import POSTGRESQL, S3, PipelineConfig, StoreConfig, scheme_of, url_of
from marketpipe.parts import Parts, installed_version, once
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.events import FilesSynced

if TYPE_CHECKING:
    from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock
    from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteStateFile
    from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache
    from marketpipe.storage.infrastructure.publishing.published_files import PublishedFiles
    from marketpipe.storage.infrastructure.store_layout import StoreLayout


@once
def layout(parts: Parts) -> StoreLayout:
    from marketpipe.storage.infrastructure.store_layout import StoreLayout

    config = parts.config
    if scheme_of(config.output_path) == S3:
        raise ConfigurationError(f"output_path: files cannot be kept at {url_of(config.output_path)} yet")
    kept = config.revisions_path, config.official_path, config.copies_path
    return StoreLayout(config.output_path, config.aggregates_path, config.quarantine_path, *kept, machine=parts.machine)


@once
def files(parts: Parts) -> PublishedFiles:
    from marketpipe.storage.infrastructure.publishing.digest_recorder import DigestRecorder
    from marketpipe.storage.infrastructure.publishing.durable_files import DurableFiles

    at = layout(parts)
    recorder = DigestRecorder(at, lambda: known_state(parts).file_digests)
    roots = [at.data, *at.derived().values()]
    publish = parts.bus.publish
    return parts.closing(
        DurableFiles(parts.syncing, roots, recorder, lambda count: publish(FilesSynced(count)), parts.machine)
    )


def state(parts: Parts) -> SQLiteState:
    return _state_in(parts, parts.config.state_path)


def known_state(parts: Parts) -> SQLiteState:
    """Return the state for a command that only reads: if there is no state file, an empty one in memory.

    One that was replaced since, as by ``recover`` in another process, is opened again. Raises ``StateError``.
    """
    from marketpipe.ingestion.infrastructure.sqlite_file import state_exists

    path = parts.config.state_path
    if parts.has(_state_in, path) and _state_in(parts, path).was_replaced():
        parts.forget(_state_in, path)
    is_there = parts.has(_state_in, path) or state_exists(path, parts.machine)
    return _state_in(parts, path if is_there else Path(":memory:"))


@once
def _state_in(parts: Parts, path: Path) -> SQLiteState:
    from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState

    if scheme_of(path) == POSTGRESQL:
        raise ConfigurationError(f"state_path: the state cannot be kept at {url_of(path)} yet")
    return parts.closing(SQLiteState(path, _location(parts.config), machine=parts.machine))


def has_opened_state(parts: Parts) -> bool:
    return parts.has(_state_in, parts.config.state_path)


def new_state_file(parts: Parts) -> SQLiteStateFile:
    """Make what archives a state and makes a new one."""
    from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteStateFile

    return SQLiteStateFile(parts.config.state_path, _location(parts.config), parts.machine)


def has_records(config: StoreConfig) -> bool:
    """Return whether the state file knows this store."""
    from marketpipe.ingestion.infrastructure.sqlite_file import SQLiteStateFile

    return SQLiteStateFile(config.state_path, _location(config)).has_store()


def _location(config: StoreConfig) -> str:
    """Return the store's name in the state file: relative, so that store and state can be moved together."""
    return os.path.relpath(os.path.realpath(config.output_path), os.path.realpath(config.state_path.parent))


def update_lock(parts: Parts) -> ExclusiveFileLock:
    return store_lock(parts, "update", waits=False)


def store_lock(parts: Parts, purpose: str, *, waits: bool, **longest_wait: float) -> ExclusiveFileLock:
    """Make a lock of all processes on this store. Another store may share the state file, and has locks of its own."""
    from marketpipe.ingestion.infrastructure.file_systems import refuse_network
    from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock

    refuse_network(parts.config.state_path, parts.machine.processes)  # before the lock file is made
    path, store = parts.config.state_path, hashlib.sha256(_location(parts.config).encode()).hexdigest()[:12]
    place = path.with_name(f"{path.name}.{store}.{purpose}-lock")
    return ExclusiveFileLock(place, waits=waits, machine=parts.machine, **longest_wait)


def aggregation_lock(parts: Parts, **longest_wait: float) -> ExclusiveFileLock:
    from marketpipe.ingestion.infrastructure.locks import ExclusiveFileLock

    path = parts.config.state_path
    return ExclusiveFileLock(
        path.with_name(f"{path.name}.aggregation-lock"), waits=True, machine=parts.machine, **longest_wait
    )


@once
def calendar_cache(parts: Parts) -> CalendarCache:
    from marketpipe.shared_kernel.infrastructure.exchange_calendar import CalendarCache

    given = parts.config.calendar.exceptions
    # without a configuration, as in load_ohlcv(), the store's own: those that its cache was made with
    exceptions = given if given or isinstance(parts.config, PipelineConfig) else None
    made_by = partial(installed_version, "exchange_calendars")
    disk = parts.machine.disk
    return CalendarCache(parts.config.state_path, made_by, files(parts).publish, exceptions, disk=disk)
