from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from threading import Lock

from attrs import evolve

from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.object_catalog import CatalogChange, PlacedFile


class InMemoryFileCatalog:
    """``FileCatalog`` without a database. ``calls`` counts those of each method."""

    def __init__(self) -> None:
        self.calls = Counter[str]()
        self._files, self._lock = dict[str, PlacedFile](), Lock()

    def find(self, path: str) -> PlacedFile | None:
        self.calls["find"] += 1
        return self._files.get(path)

    def object_of(self, path: str) -> str | None:
        self.calls["object_of"] += 1
        found = self._files.get(path)
        return None if found is None else found.object

    def listed(self, folder: str) -> Sequence[PlacedFile]:
        self.calls["listed"] += 1
        return [file for file in self._below(folder) if "/" not in file.path[_begin(folder) :]]

    def in_each(self, folders: Collection[str], name: str | None = None) -> Sequence[PlacedFile]:
        self.calls["in_each"] += 1
        paths = (path for path in sorted(self._files) if path.rpartition("/")[0] in set(folders))
        return [self._files[path] for path in paths if name in (None, path.rpartition("/")[2])]

    def folders(self, folder: str) -> Sequence[str]:
        self.calls["folders"] += 1
        rests = (file.path[_begin(folder) :] for file in self._below(folder))
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def below(self, folder: str) -> Sequence[PlacedFile]:
        self.calls["below"] += 1
        return self._below(folder)

    def has_any(self, folder: str) -> bool:
        self.calls["has_any"] += 1
        return bool(self._below(folder))

    def change(self, change: CatalogChange) -> None:
        self.calls["change"] += 1
        with self._lock:
            files = dict(self._files)
            for path, name in change.second_names.items():
                files[name] = _existing(self._files, path).at(name)
            for path in change.removed:
                files.pop(path, None)
            for file in change.placed:
                files[file.path] = file
            for appended in change.appended:
                found = files.get(appended.path)
                if found is not None and found.content is None:
                    raise StateError(f"lines cannot be appended to {found.path}: it is in an object")
                if found is None or appended.added_after(found.content or b""):
                    files[appended.path] = appended.appended_to(None if found is None else found.content)
            for path, modified_ns in change.times.items():
                files[path] = evolve(_existing(files, path), modified_ns=modified_ns)
            self._files = files

    def objects(self) -> Mapping[str, int]:
        self.calls["objects"] += 1
        return Counter(file.object for file in self._files.values() if file.object)

    def _below(self, folder: str) -> list[PlacedFile]:
        start = f"{folder}/" if folder else ""
        return sorted((f for path, f in self._files.items() if path.startswith(start)), key=lambda file: file.path)


def _begin(folder: str) -> int:
    return len(folder) + 1 if folder else 0


def _existing(files: Mapping[str, PlacedFile], path: str) -> PlacedFile:
    if path not in files:
        raise StateError(f"there is no file {path}")
    return files[path]
