from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from marketpipe.shared_kernel.domain.errors import ObjectLostError
from marketpipe.storage.infrastructure.objects.object_store import DELETE, GET, LIST, PUT, StoredObject


class InMemoryObjectStore:
    """``ObjectStore`` without a server. ``requests`` counts those of each kind, ``bytes_read`` what was returned.

    ``now_ns`` is its clock, and ``put_at`` says when each object was put.
    """

    def __init__(self) -> None:
        self.objects, self.requests, self.bytes_read = dict[str, bytes](), Counter[str](), 0
        self.now_ns, self.put_at = 1_700_000_000_000_000_000, dict[str, int]()

    def put_new(self, key: str, content: bytes) -> bool:
        self.requests[PUT] += 1
        self.put_at.setdefault(key, self.now_ns)
        return self.objects.setdefault(key, bytes(content)) == content

    def get(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        self.requests[GET] += 1
        content = self.objects.get(key)
        if content is None or offset >= len(content) > 0:
            raise ObjectLostError(f"cannot read {key}: there is no such object, or no byte at {offset}")
        found = content[max(offset, -len(content)) :] if size is None else content[offset : offset + size]
        self.bytes_read += len(found)
        return found

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        self.requests[LIST] += 1
        for key, content in [*self.objects.items()]:
            if key.startswith(prefix):
                yield StoredObject(key, len(content), self.put_at.get(key, self.now_ns))

    def delete(self, keys: Collection[str]) -> None:
        self.requests[DELETE] += 1
        for key in keys:
            self.objects.pop(key, None)
            self.put_at.pop(key, None)
