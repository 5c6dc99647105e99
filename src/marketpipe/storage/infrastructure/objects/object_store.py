"""``ObjectStore``: the port to a place of immutable objects, such as a bucket of S3."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, Protocol

from attrs import frozen

PUT, GET, HEAD, LIST, DELETE = REQUEST_KINDS = "put", "get", "head", "list", "delete"
"""The kinds of requests, as an observer is told them."""
PACKS: Final = "objects/"
"""Where all packs are, below the prefix of a store."""

TABLES: Final = "delta/"
"""Where packs are, below the others, that a published table can have as they are. What is below that, such as its log,
is no pack."""


@frozen
class StoredObject:
    """An object that exists. ``modified_ns`` is when it was put, in nanoseconds since 1970, by the server's clock."""

    key: str
    size: int
    modified_ns: int


def packs_in(store: ObjectStore) -> Iterator[StoredObject]:
    """Yield all packs, with one listing. Raises ``StorageError``."""
    return _directly_in((PACKS, f"{PACKS}{TABLES}"), store.listed(PACKS))


def directly_in(store: ObjectStore, folder: str) -> Iterator[StoredObject]:
    """Yield the objects of a folder and none of those below it: another store may have its prefix there.

    Raises ``StorageError``.
    """
    return _directly_in((folder,), store.listed(folder))


def _directly_in(folders: Collection[str], objects: Iterator[StoredObject]) -> Iterator[StoredObject]:
    return (stored for stored in objects if stored.key[: stored.key.rfind("/") + 1] in folders)


class ObjectStore(Protocol):
    """Objects by their keys, such as ``objects/0d6e….parquet``; a key is relative to the place of the store.

    No object is ever replaced. Each method may be called by several threads. Raises ``StoreUnreachableError`` if the
    server does not answer, however often it is asked, or refuses. It names the object and what to do, and never has a
    key of an account.
    """

    def put_new(self, key: str, content: bytes) -> bool:
        """Put an object if there is none with this key. Return whether it is there now, with this content.

        False if another one has the key. An answer that was lost on its way counts as none: the object is then looked
        for. It is durable when this returns.
        """

    def get(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        """Return these bytes, all from ``offset`` on without ``size``; fewer if the object ends before.

        A negative ``offset`` counts from its end, and ``size`` is none then: all up to the end are returned. Raises
        ``ObjectLostError`` if there is no such object, or if it has no byte at ``offset``.
        """

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose keys begin with a prefix, in no order. It ends at a slash, or is empty."""

    def delete(self, keys: Collection[str]) -> None:
        """Remove objects; one that does not exist is none to remove."""
