"""The footers of Parquet files: several files, one directly after the other, get one footer that describes them all.

No page is decoded. A footer is a struct of Thrift's compact protocol; it is parsed as far as its structure goes, the
offsets in it are moved, and it is written again. See https://parquet.apache.org/docs/file-format/metadata/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from marketpipe.storage.infrastructure.compacted.parquet_end import LENGTH_AND_MAGIC, MAGIC, footer_length

TRUE, FALSE, BYTE, INT_16, INT_32, INT_64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
INTEGERS: Final = frozenset({INT_16, INT_32, INT_64})
# Of the struct FileMetaData.
SCHEMA, ROWS, ROW_GROUPS, KEY_VALUES = 2, 3, 4, 5
ENCRYPTION: Final = frozenset({8, 9})
# Of RowGroup, of its column chunks, and of their ColumnMetaData.
COLUMNS, GROUP_OFFSET, ORDINAL = 1, 5, 7
CHUNK_META: Final = 3
CHUNK_OFFSETS: Final = (2, 4, 6)
META_OFFSETS: Final = (9, 10, 11, 14)

OTHER_STRUCTURE: Final = "its footer has another structure"
ENDS_TOO_EARLY: Final = "its footer ends too early"
MOST_LEVELS: Final = 16
"""Structs within structs: a footer has six."""

Struct = dict[int, tuple[int, Any]]
"""A struct: the type and the value of each field, by its number."""


class NotAFooter(ValueError):
    """The bytes are not a footer, or one that cannot be joined with others."""


def footer_of(content: bytes) -> bytes:
    """Return the footer of a Parquet file. Raises ``NotAFooter``."""
    length = footer_length(content)
    start = -1 if length is None else len(content) - LENGTH_AND_MAGIC - length
    if not content.startswith(MAGIC) or start < len(MAGIC):
        raise NotAFooter("it is not a Parquet file")
    return content[start:-LENGTH_AND_MAGIC]


def joined_footer(files: Sequence[bytes], key_values: Mapping[str, str]) -> bytes:
    """Return the end of a file that begins with these files, in this order, and is one Parquet file of all their rows.

    ``key_values`` becomes its metadata, in this order. All must have the same columns, and one row group each: it has
    in the new file the number of its file. Raises ``NotAFooter``.
    """
    footers, offset = list[Struct](), 0
    for content in files:
        footer = parsed(footer_of(content))
        for group in items(footer, ROW_GROUPS):
            move(group, offset)
        footers.append(footer)
        offset += len(content)
    first = footers[0]
    if any(footer.get(SCHEMA) != first.get(SCHEMA) for footer in footers):
        raise NotAFooter("their columns differ")
    if any(len(items(footer, ROW_GROUPS)) != 1 for footer in footers):
        raise NotAFooter("one of them has not just one row group")
    if any(ENCRYPTION & footer.keys() for footer in footers):
        raise NotAFooter("one of them is encrypted")
    groups = [group for footer in footers for group in items(footer, ROW_GROUPS)]
    for number, group in enumerate(groups):
        group[ORDINAL] = (INT_16, number)
    pairs = [{1: (BINARY, key.encode()), 2: (BINARY, value.encode())} for key, value in key_values.items()]
    joined = {
        **first,
        ROWS: (INT_64, sum(footer[ROWS][1] for footer in footers)),
        ROW_GROUPS: (LIST, (STRUCT, groups)),
        KEY_VALUES: (LIST, (STRUCT, pairs)),
    }
    end = written(joined)
    return end + len(end).to_bytes(4, "little") + MAGIC


def written(struct: Struct) -> bytes:
    """Return a struct as Thrift's compact protocol has it."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


def move(group: Struct, offset: int) -> None:
    """Add to the offsets of a row group. None is 0, where the file begins, unless there is nothing to point to."""
    _add(group, (GROUP_OFFSET,), offset)
    for chunk in items(group, COLUMNS):
        _add(chunk, CHUNK_OFFSETS, offset)
        kind, meta = chunk.get(CHUNK_META, (STRUCT, Struct()))
        if kind != STRUCT:
            raise NotAFooter(OTHER_STRUCTURE)
        _add(meta, META_OFFSETS, offset)


def _add(struct: Struct, fields: Sequence[int], offset: int) -> None:
    for field in fields:
        kind, value = struct.get(field, (INT_64, 0))
        if kind not in INTEGERS:
            raise NotAFooter(OTHER_STRUCTURE)
        if value:
            struct[field] = kind, value + offset


def items(struct: Struct, field: int) -> list[Struct]:
    """Return the structs of a list. Raises ``NotAFooter`` if the field is none."""
    kind, value = struct.get(field, (LIST, (STRUCT, [])))
    if kind != LIST or (value[1] and value[0] != STRUCT):
        raise NotAFooter(OTHER_STRUCTURE)
    found: list[Struct] = value[1]
    return found


def parsed(footer: bytes) -> Struct:
    """Return the struct that a footer is. Raises ``NotAFooter``."""
    try:
        found, end = _struct(footer, 0, 1)
    except IndexError:
        raise NotAFooter(ENDS_TOO_EARLY) from None
    if end != len(footer) or found.get(ROWS, (0, 0))[0] != INT_64 or SCHEMA not in found:
        raise NotAFooter(OTHER_STRUCTURE)
    return found


# Thrift's compact protocol. Each function returns what it has read and where that ends, and raises ``NotAFooter`` for
# what is none, and for what cannot be written again. Footers of many thousand day files are parsed, so most numbers,
# which have one byte, are read without a call.


def _struct(data: bytes, at: int, depth: int) -> tuple[Struct, int]:
    if depth > MOST_LEVELS:
        raise NotAFooter(OTHER_STRUCTURE)
    found, number = Struct(), 0
    while head := data[at]:
        at, kind = at + 1, head & 15
        if head > 15:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        value: Any
        if kind in INTEGERS:
            if (byte := data[at]) < 128:
                value, at = byte >> 1 ^ -(byte & 1), at + 1
            else:
                value, at = _zigzag(data, at)
        elif kind in (TRUE, FALSE):
            value = None
        else:
            value, at = _value(data, at, kind, depth)
        found[number] = kind, value
    return found, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind == BINARY:
        length, at = _varint(data, at)
        if at + length > len(data):
            raise NotAFooter(ENDS_TOO_EARLY)
        return data[at : at + length], at + length
    if kind in INTEGERS:
        return _zigzag(data, at)
    if kind == STRUCT:
        return _struct(data, at, depth + 1)
    if kind in (TRUE, FALSE, BYTE):
        return data[at], at + 1
    if kind not in (LIST, SET):
        raise NotAFooter("its footer has values of an unknown type")
    head, at = data[at], at + 1
    length, of = head >> 4, head & 15
    if length == 15:
        length, at = _varint(data, at)
    if of in (LIST, SET):
        raise NotAFooter(OTHER_STRUCTURE)
    items = list[Any]()
    for _ in range(length):
        item, at = _value(data, at, of, depth)
        items.append(item)
    return (of, items), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := data[at]) & 128:
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
    return value | byte << shift, at + 1


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _write_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for number in sorted(struct):
        kind, value = struct[number]
        if 0 < number - before < 16:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            _write_varint(out, _zigzagged(number))
        _write_value(out, kind, value)
        before = number
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in INTEGERS:
        _write_varint(out, _zigzagged(value))
    elif kind == BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        of, items = value
        out.append(min(len(items), 15) << 4 | of)
        if len(items) >= 15:
            _write_varint(out, len(items))
        for item in items:
            _write_value(out, of, item)
    elif value is not None:
        out.append(value)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _zigzagged(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
