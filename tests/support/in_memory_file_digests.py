from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from marketpipe.shared_kernel.domain.store_inventory import ABSENT


class InMemoryFileDigests:
    """``FileDigests`` without a file."""

    def __init__(self) -> None:
        self._of = defaultdict[str, set[str]](set)

    def below(self, folder: str) -> Mapping[str, frozenset[str]]:
        return {path: frozenset(found) for path, found in self._of.items() if path.startswith(folder)}

    def has_any(self, folder: str) -> bool:
        return bool(self.below(folder))

    def expect(self, digests: Mapping[str, str], *, durable: bool = False) -> None:
        for path, digest in digests.items():
            self._of.setdefault(path, {ABSENT}).add(digest)

    def settle(self, digests: Mapping[str, str]) -> None:
        for path, digest in digests.items():
            self._of[path] = {digest}
            if digest == ABSENT:
                del self._of[path]

    def adopt(self, digests: Mapping[str, str]) -> None:
        for path, digest in digests.items():
            if path not in self._of:
                self._of[path].add(digest)
