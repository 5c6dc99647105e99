"""The method of ``Store`` that publishes its bars as a table for other programs."""

from __future__ import annotations

from typing import Protocol

from marketpipe.config import StoreConfig, is_on_disk, url_of
from marketpipe.parts import Parts
from marketpipe.runs import Runs
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.storage.domain.published_table import PublicationReport

from . import place_parts, store_locks


class PublishableStore(Protocol):
    """What ``publish_delta`` needs of a ``Store``."""

    @property
    def config(self) -> StoreConfig: ...

    @property
    def _parts(self) -> Parts: ...

    _runs: Runs


def publish_delta(self: PublishableStore) -> PublicationReport:
    """Publish the minute bars of a store in a bucket as a Delta table, which DuckDB, Polars, Spark and pandas read.

    The table has each live bar once, as of one moment, with the columns ``symbol`` and ``trading_date``. Month objects,
    which ``compact`` makes, are in it as they are; other days are copied into objects of a trading date each, and again
    when one of them changes. Without a change since the last call no version is written; two are ten seconds apart.
    An object that leaves the table is kept for a day, for readers that began before. Other programs cannot write to it.

    Raises ``ConfigurationError`` for a store on a disk or without bars, and ``StoreBusyError`` while another process
    publishes, recovers the state, or collects what is in no file. After a ``StorageError`` of the bucket or a
    ``StateError`` the table has its former version or the new one; the next call carries on.
    """
    parts, place = self._parts, self.config.output_path
    if is_on_disk(place):
        raise ConfigurationError(
            f"{place.absolute()} is on a disk, where other programs read its files as they are: data/**/*.parquet. "
            "publish-delta is for a store in a bucket"
        )
    if place_parts.known_state(parts).dataset() is None:
        raise ConfigurationError(f"nothing was published: {url_of(place)} has no minute bars")
    table, gc = (place_parts.store_lock(parts, name, waits=False) for name in (store_locks.TABLE, store_locks.GC))
    with self._runs.run(), table.acquired(), gc.acquired():
        return place_parts.new_table_publication(parts).publish()
