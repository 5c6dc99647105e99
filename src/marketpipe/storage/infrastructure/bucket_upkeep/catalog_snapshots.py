"""Snapshots of the catalog in the bucket itself: with the packs put since, they make the catalog again if it is lost.

A snapshot is a Parquet file of all files. It is not of one moment: files may be changed while they are read. That is
made good by the packs that it does not ``cover``, of which some are older: they are applied to it again.

Snapshots are numbered, and the highest number is the newest: no clock decides which one that is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import FileCatalog, PlacedFile
from marketpipe.storage.infrastructure.objects.object_store import ObjectStore, StoredObject, directly_in

if TYPE_CHECKING:
    import pyarrow as pa

SNAPSHOTS: Final = "catalog/"
KNOWN: Final = "snapshots"
"""The folder of the catalog, in no area, that has an entry for each snapshot that its state has put, or was made of."""
VERSION_KEY, VERSION = b"marketpipe.catalog", b"1"
ROWS_TOGETHER: Final = 100_000
LISTED_DEPTH: Final = 2
"""Folders of symbols are two levels down: so many files are read at once as one of them has."""


@frozen
class CatalogSnapshot:
    """The files by their paths, and the keys of the packs that need not be applied again."""

    files: Mapping[str, PlacedFile]
    covered: frozenset[str]


def snapshot_key(former: Iterable[StoredObject]) -> str:
    """Return the key of the snapshot that comes after all of these."""
    return f"{SNAPSHOTS}{max(map(_number, former), default=0) + 1:08}.parquet"


def entry_of(snapshot: str) -> PlacedFile:
    """Return the entry that the catalog has of the snapshot with this key."""
    return PlacedFile.inline(f"{KNOWN}/{snapshot.removeprefix(SNAPSHOTS)}", b"", 0)


def written_snapshot(catalog: FileCatalog, covered: Collection[str]) -> bytes:
    """Return the content of a snapshot. A covered pack has a row without a path."""
    import pyarrow.parquet as pq  # here, as few commands need it

    target, schema = BytesIO(), _schema()
    with pq.ParquetWriter(target, schema.with_metadata({VERSION_KEY: VERSION}), compression="zstd") as writer:
        for rows in _batches(_rows(catalog, covered)):
            writer.write_table(_table(rows, schema))
    return target.getvalue()


def newest_snapshot(store: ObjectStore) -> CatalogSnapshot:
    """Return the newest snapshot; an empty one if there is none. Raises ``StorageError``."""
    newest = max(snapshots(store), key=_number, default=None)
    if newest is None:
        return CatalogSnapshot({}, frozenset())
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(BytesIO(store.get(newest.key)))
        if (table.schema.metadata or {}).get(VERSION_KEY) != VERSION:
            raise ValueError("it is of another version of MarketPipe")
        rows = [PlacedFile(*row.values()) for row in table.select(_schema().names).to_pylist()]
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise StorageError(
            f"the snapshot {newest.key} cannot be read: {error}; restore the object from a backup, or remove it: then "
            "the packs alone tell which files there are"
        ) from error
    covered = frozenset(row.object for row in rows if not row.path)
    return CatalogSnapshot({row.path: row for row in rows if row.path}, covered)


def snapshots(store: ObjectStore) -> list[StoredObject]:
    return [*directly_in(store, SNAPSHOTS)]


def all_files(catalog: FileCatalog, folder: str = "", depth: int = 0) -> Iterator[PlacedFile]:
    """Yield all files, those of a symbol together."""
    if depth > LISTED_DEPTH:
        yield from catalog.below(folder)
        return
    yield from catalog.listed(folder)
    for name in catalog.folders(folder):
        yield from all_files(catalog, f"{folder}/{name}" if folder else name, depth + 1)


def _number(snapshot: StoredObject) -> int:
    """Return the number that its name begins with, 0 if it begins with none."""
    return int("0" + "".join(takewhile(str.isdecimal, snapshot.key.removeprefix(SNAPSHOTS))))


def _rows(catalog: FileCatalog, covered: Collection[str]) -> Iterator[PlacedFile]:
    yield from (PlacedFile("", key, 0, 0, 0) for key in sorted(covered))
    yield from all_files(catalog)


def _batches(rows: Iterator[PlacedFile]) -> Iterator[list[PlacedFile]]:
    batch = list[PlacedFile]()
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_TOGETHER:
            yield batch
            batch = []
    yield batch


def _schema() -> pa.Schema:
    import pyarrow as pa

    whole, text = pa.int64(), pa.string()
    types = {"path": text, "object": text, "offset": whole, "size": whole, "modified_ns": whole, "content": pa.binary()}
    return pa.schema(types)


def _table(rows: list[PlacedFile], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)
