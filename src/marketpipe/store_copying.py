"""``copy_store``: a whole store, with its state, from one place to another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from marketpipe.config import StoreConfig, load_store_config, url_of
from marketpipe.ingestion.domain.store_status import StateCondition
from marketpipe.parts import Parts
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.storage.domain.bucket_upkeep import StoreCopyReport
from marketpipe.store import Store
from marketpipe.transfer_parts import OnFiles, StoreTransfer

from . import place_parts


def copy_store(
    source: StoreConfig | str | os.PathLike[str],
    target: StoreConfig | str | os.PathLike[str],
    *,
    new_store: Callable[[StoreConfig], Store] = Store,
    on_files: OnFiles = lambda _, __: None,
) -> StoreCopyReport:
    """Copy a store with its state from one place to another: a disk, or a bucket. Nothing is changed in the first.

    Both are configurations, or their files. Bytes, times, former versions, digests and records are the same, and so are
    answers and locks. The state comes last, in one transaction: before it a bucket shows nothing, and on a disk
    ``verify`` reports the files as unrecorded. If it is killed, the same call begins again, and leaves out the files
    that are there already.
    ``new_store`` makes what reads and writes each of them. ``on_files`` is called before the first file, and
    after each group that is written, with the number of files that are there and of all.

    Raises ``ConfigurationError`` if there is no store to copy, or if the target is not empty, and ``StoreBusyError``
    while a process changes or works with either; ``StorageError`` and ``StateError``.
    """
    with new_store(_config(source)) as one, new_store(_config(target)) as other:
        return _copied(one, other, on_files)


def _config(given: StoreConfig | str | os.PathLike[str]) -> StoreConfig:
    return given if isinstance(given, StoreConfig) else load_store_config(Path(given))


def _copied(one: Store, other: Store, on_files: OnFiles) -> StoreCopyReport:
    source, target = one._parts, other._parts
    places = [url_of(parts.config.output_path.absolute()) for parts in (source, target)]
    if places[0] == places[1] or source.config.state_path.absolute() == target.config.state_path.absolute():
        raise ConfigurationError("a store is copied to another output_path and another state_path")
    if place_parts.new_stored_state(source.config, source.machine).condition() is not StateCondition.USABLE:
        raise ConfigurationError(f"nothing was copied: {places[0]} has no state that can be read")
    transfer = StoreTransfer(source, target, places[0])
    with one._runs.run(), place_parts.without_changes(source), place_parts.update_lock(target).acquired():
        if _is_complete(target):
            if not transfer.ends_another_copy():
                raise ConfigurationError(f"nothing was copied: {places[1]} has a store already; name another place")
            return StoreCopyReport(places[0], places[1], 0, 0, {})
        transfer.begin()
        files, size, already_there = transfer.copy_files(on_files)
        rows = transfer.copy_state()
        transfer.end()
        return StoreCopyReport(places[0], places[1], files, size, rows, already_there)


def _is_complete(target: Parts) -> bool:
    condition = place_parts.new_stored_state(target.config, target.machine).condition()
    return condition not in (StateCondition.ABSENT, StateCondition.UNCLAIMED)
