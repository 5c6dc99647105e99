"""Packs: the files of a group, byte for byte one directly after the other, in one immutable object, under an index.

The index says which files they are, and what else changed in the catalog at the same moment, so that the catalog can be
made again of the packs alone. If all files are of Parquet and have the same columns, as day files do, the pack is one
valid Parquet file of all their rows: the index is then an entry of its metadata. Otherwise it is a container: the index
follows the files, then its length, and four letters. A container also are files of a few bars each: one footer of all
of them would be as large as the files, and joining it takes a millisecond for each.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from attrs import astuple, evolve, field, frozen

from marketpipe.shared_kernel.domain.errors import StorageError
from marketpipe.shared_kernel.domain.object_catalog import AppendedLines, CatalogChange, PlacedFile
from marketpipe.storage.domain.published_table import TableFigures
from marketpipe.storage.infrastructure.compacted.month_file import END_BYTES as MONTH_END_BYTES
from marketpipe.storage.infrastructure.compacted.month_file import MONTH_FILE
from marketpipe.storage.infrastructure.compacted.parquet_end import LENGTH_AND_MAGIC, MAGIC, footer_length
from marketpipe.storage.infrastructure.objects.object_store import PACKS, ObjectStore, StoredObject

PARQUET, CONTAINER = ".parquet", ".pack"
"""How keys of packs end."""
CONTAINER_MAGIC: Final = b"MPK1"
KEY: Final = "marketpipe.pack"
KEY_AND_TYPE: Final = KEY.encode() + b"\x18"
"""As Thrift writes it: the value follows as a string, the second field of an entry."""
END_BYTES: Final = 131_072
"""So much of a pack's end is read to find its index; for one that is longer, the rest of it with a second request."""
JOINED_BYTES: Final = 4096
"""Files of Parquet that are smaller, on average, are put into a container."""
VERSION: Final = 1
NO_INDEX: Final = (zlib.error, ValueError, LookupError, TypeError, AttributeError)
"""What comes of reading bytes that are no index."""


ENDS: Final = "ends/"
"""Where the catalog has the ends of month files, by their paths. They say which days are in a month, so that planning,
which asks for the days of all months, costs no request."""


class PackDamaged(ValueError):
    """An object is no pack, or not as it was put."""


@frozen
class NewPackedFile:
    """A file to be packed. ``modified_ns`` is its modification time in nanoseconds since 1970."""

    path: str
    content: bytes = field(repr=False)
    modified_ns: int


GAP: Final = ""
"""The path of bytes between files that are of no file."""


@frozen
class PackedFile:
    """Where a file is in a pack, and the digest of its bytes."""

    path: str
    offset: int
    size: int
    modified_ns: int
    sha256: str


@frozen
class PackIndex:
    """What a pack has. ``changes`` are those of the catalog at the same moment, without the files themselves.

    ``moment_ns`` is when the group was published, in nanoseconds since 1970, by the clock of its machine, and ``job``
    the number of the ingestion that was at work, or "". ``kept`` says where the bytes of each second name are: what the
    first name had at that moment. Of a group in several packs, the last one counts: it names the others in ``parts``,
    and each of these is marked by ``is_part``. A month object has its ``figures``: a catalog that is made again knows
    by them that it may be in a published table as it is.
    """

    files: Sequence[PackedFile] = field(eq=tuple)
    changes: CatalogChange
    moment_ns: int
    job: str = ""
    kept: Sequence[PlacedFile] = field(default=(), eq=tuple)
    parts: Sequence[str] = field(default=(), eq=tuple)
    is_part: bool = False
    figures: TableFigures | None = None

    def change_of(self, key: str) -> CatalogChange:
        """Return how the catalog changes by this pack, whose object has the key."""
        placed = [
            PlacedFile(file.path, key, file.offset, file.size, file.modified_ns)
            for file in self.files
            if file.path != GAP
        ]
        inline = self.changes
        return CatalogChange(
            [*placed, *inline.placed], inline.removed, inline.second_names, inline.appended, inline.times
        )


@frozen
class Pack:
    """A pack that can be put. ``suffix`` is how its key ends, by its kind."""

    content: bytes = field(repr=False)
    index: PackIndex
    suffix: str

    def key(self, name: str) -> str:
        return f"{PACKS}{name}{self.suffix}"


def new_pack(
    files: Sequence[NewPackedFile],
    changes: CatalogChange,
    moment_ns: int,
    job: str = "",
    *,
    kept: Sequence[PlacedFile] = (),
    parts: Sequence[str] = (),
    is_part: bool = False,
) -> Pack:
    """Return the pack of these files, in this order; of none of them, it has the changes alone.

    Files that ``changes`` places must be those whose content is in the catalog.
    """
    contents, packed, offset = [file.content for file in files], list[PackedFile](), 0
    for file in files:
        digest = sha256(file.content).hexdigest()
        packed.append(PackedFile(file.path, offset, len(file.content), file.modified_ns, digest))
        offset += len(file.content)
    changes = evolve(changes, placed=[*changes.placed, *ends_of(files)])
    index = PackIndex(packed, changes, moment_ns, job, kept, parts, is_part)
    written = written_index(index)
    end = _parquet_end(contents, written)
    if end is not None:
        return Pack(b"".join([*contents, end]), index, PARQUET)
    written += len(written).to_bytes(4, "little") + CONTAINER_MAGIC
    return Pack(b"".join([*contents, written]), index, CONTAINER)


def written_index(index: PackIndex) -> bytes:
    return zlib.compress(_written(index))


def ends_of(files: Sequence[NewPackedFile]) -> list[PlacedFile]:
    """Return the ends of those that are month files, as the catalog has them."""
    return [
        PlacedFile.inline(f"{ENDS}{file.path}", file.content[-MONTH_END_BYTES:], file.modified_ns)
        for file in files
        if file.path.endswith(f"/{MONTH_FILE}")
    ]


def with_its_end(path: str) -> list[str]:
    """Return a path with that of the end that the catalog has of the file; both go together."""
    return [path, f"{ENDS}{path}"] if path.endswith(f"/{MONTH_FILE}") else [path]


def index_of(store: ObjectStore, stored: StoredObject) -> PackIndex:
    """Return the index of a pack, with one request as a rule. Raises ``StorageError``."""
    try:
        end = store.get(stored.key, -END_BYTES)
        length = _end_length(end)
        if len(end) < length <= stored.size:
            end = store.get(stored.key, -length)
        return index_at_the_end(end, stored.size)
    except PackDamaged as error:
        raise StorageError(f"{stored.key} is damaged: {error}; restore the object from a backup") from error


def index_at_the_end(end: bytes, size: int) -> PackIndex:
    """Return the index of a pack of this size, given its last bytes, with its whole end. Raises ``PackDamaged``."""
    length = _end_length(end)
    found = _index_in(end[-length:] if length <= len(end) else b"")
    offset = 0
    for file in found.files:
        if file.offset != offset:
            raise PackDamaged("the files that its index names do not follow each other")
        offset += file.size
    if offset + length != size:
        raise PackDamaged("the files that its index names are not what it consists of")
    return found


def files_of(content: bytes) -> Iterator[NewPackedFile]:
    """Yield the files of a whole pack, each compared with its digest. Raises ``PackDamaged``."""
    for file in index_at_the_end(content, len(content)).files:
        found = content[file.offset : file.offset + file.size]
        if sha256(found).hexdigest() != file.sha256:
            raise PackDamaged(f"the bytes of {file.path} are not those that were put")
        if file.path != GAP:
            yield NewPackedFile(file.path, found, file.modified_ns)


def _parquet_end(contents: Sequence[bytes], written: bytes) -> bytes | None:
    """Return the footer of a Parquet file that has the index; None if the files are not those of one table."""
    from marketpipe.storage.infrastructure.compacted.parquet_footers import NotAFooter, joined_footer

    if not contents or not all(content.startswith(MAGIC) for content in contents):
        return None
    if sum(map(len, contents)) < JOINED_BYTES * len(contents):
        return None
    try:
        return joined_footer(contents, {KEY: b64encode(written).decode()})
    except NotAFooter:
        return None


def _end_length(end: bytes) -> int:
    """Return how many bytes follow the files. Raises ``PackDamaged``."""
    if end.endswith(CONTAINER_MAGIC):
        return int.from_bytes(end[-LENGTH_AND_MAGIC : -len(CONTAINER_MAGIC)], "little") + LENGTH_AND_MAGIC
    length = footer_length(end)
    if length is None:
        raise PackDamaged("it does not end as a pack")
    return length + LENGTH_AND_MAGIC


def _index_in(end: bytes) -> PackIndex:
    try:
        written = end[:-LENGTH_AND_MAGIC] if end.endswith(CONTAINER_MAGIC) else _value_in(end)
        return _parsed(json.loads(zlib.decompress(written)))
    except NO_INDEX as error:
        raise PackDamaged("its index cannot be read") from error


def _value_in(footer: bytes) -> bytes:
    """Return the value of the last entry of the metadata that has our key. Nothing but this entry is parsed."""
    at = footer.rindex(KEY_AND_TYPE) + len(KEY_AND_TYPE)
    length = shift = 0
    while footer[at] & 128:
        length, shift, at = length | (footer[at] & 127) << shift, shift + 7, at + 1
    length |= footer[at] << shift
    return b64decode(footer[at + 1 : at + 1 + length], validate=True)


def _written(index: PackIndex) -> bytes:
    changes = index.changes
    text = {
        "version": VERSION,
        "moment_ns": index.moment_ns,
        "job": index.job,
        "files": [[file.path, file.size, file.modified_ns, file.sha256] for file in index.files],
        "inline": [[file.path, _text(file.content or b""), file.modified_ns] for file in changes.placed],
        "removed": [*changes.removed],
        "second_names": dict(changes.second_names),
        "appended": [[a.path, _text(a.lines), _text(a.first_lines), a.modified_ns] for a in changes.appended],
        "times": dict(changes.times),
        "kept": [
            [f.path, f.object, f.offset, f.size, f.modified_ns, f.content if f.content is None else _text(f.content)]
            for f in index.kept
        ],
        "parts": [*index.parts],
        "is_part": index.is_part,
        "figures": index.figures and astuple(index.figures),
    }
    return json.dumps({name: value for name, value in text.items() if value}, separators=(",", ":")).encode()


def _parsed(text: Mapping[str, Any]) -> PackIndex:
    if text["version"] != VERSION:
        raise ValueError("another version")
    files, offset = list[PackedFile](), 0
    for path, size, modified_ns, digest in text.get("files", ()):
        files.append(PackedFile(path, offset, size, modified_ns, digest))
        offset += size
    changes = CatalogChange(
        [PlacedFile.inline(path, _bytes(content), ns) for path, content, ns in text.get("inline", ())],
        text.get("removed", []),
        text.get("second_names", {}),
        [AppendedLines(path, _bytes(lines), _bytes(first), ns) for path, lines, first, ns in text.get("appended", ())],
        text.get("times", {}),
    )
    kept = [
        PlacedFile(path, key, offset, size, ns, content if content is None else _bytes(content))
        for path, key, offset, size, ns, content in text.get("kept", ())
    ]
    of_a_group = text.get("parts", []), text.get("is_part", False)
    figures = parsed_figures(*text["figures"]) if "figures" in text else None
    return PackIndex(files, changes, text.get("moment_ns", 0), text.get("job", ""), kept, *of_a_group, figures)


def parsed_figures(
    files: int, rows: int, symbols: Sequence[str], dates: Sequence[str], times: Sequence[int] | None
) -> TableFigures:
    """Return figures of what JSON has made of them."""
    between = None if times is None else (times[0], times[1])
    return TableFigures(files, rows, (symbols[0], symbols[1]), (dates[0], dates[1]), between)


def _text(content: bytes) -> str:
    """Any bytes as text of JSON; those of text stay legible."""
    return content.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
