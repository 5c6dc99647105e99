"""Table objects: the files of many symbols in one object that is one Parquet table, with a column for their symbols.

The files are in it byte for byte, so that each is read by itself as from a pack. The pages of ``symbol`` and
``trading_date``, of which no file of minute bars has a column, follow each file: a value and how often it is repeated,
about 150 bytes for a day. Only the footer knows that they belong together: it is that of the files with two columns
more.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import date
from hashlib import sha256
from typing import Final

from attrs import evolve, field, frozen

from marketpipe.shared_kernel.domain.object_catalog import CatalogChange
from marketpipe.storage.domain.published_table import TableFigures
from marketpipe.storage.infrastructure.compacted.month_file import (
    END_BYTES,
    MONTH_FILE,
    MonthFileDamaged,
    parts_at_the_end,
)
from marketpipe.storage.infrastructure.compacted.parquet_end import MAGIC
from marketpipe.storage.infrastructure.compacted.parquet_footers import (
    BINARY,
    COLUMNS,
    INT_16,
    INT_32,
    INT_64,
    KEY_VALUES,
    LIST,
    ORDINAL,
    ROW_GROUPS,
    ROWS,
    SCHEMA,
    STRUCT,
    TRUE,
    NotAFooter,
    Struct,
    footer_of,
    items,
    move,
    parsed,
    written,
)
from marketpipe.storage.infrastructure.objects.packs import (
    GAP,
    KEY,
    PARQUET,
    NewPackedFile,
    Pack,
    PackedFile,
    PackIndex,
    ends_of,
    written_index,
)
from marketpipe.storage.infrastructure.store_layout import date_of

MOST_ROW_GROUPS: Final = 16_384
"""Days in a table object: the number of a row group has 15 bits, and readers parse the footer as a whole."""
# Of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and Statistics, besides those of parquet_footers.
COLUMN_ORDERS, GROUP_BYTES, GROUP_ROWS, COMPRESSED_BYTES, META, STATISTICS = 7, 2, 3, 6, 3, 12
LARGEST, SMALLEST = 5, 6
BYTE_ARRAY, INT32 = 6, 1
PLAIN, RLE, RLE_DICTIONARY = 0, 3, 8
REQUIRED: Final = 0
EPOCH: Final = date(1970, 1, 1)
ANNOTATION: Final = 10
SYMBOL_COLUMN: Final[Struct] = {1: (INT_32, BYTE_ARRAY), 3: (INT_32, REQUIRED), 4: (BINARY, b"symbol"), 6: (INT_32, 0)}
DATE_COLUMN: Final[Struct] = {1: (INT_32, INT32), 3: (INT_32, REQUIRED), 4: (BINARY, b"trading_date"), 6: (INT_32, 6)}
CONSTANT_COLUMNS: Final = (
    SYMBOL_COLUMN | {ANNOTATION: (STRUCT, {1: (STRUCT, {})})},
    DATE_COLUMN | {ANNOTATION: (STRUCT, {6: (STRUCT, {})})},
)


@frozen
class TableObject:
    """An object that can be put, and what it has."""

    pack: Pack
    figures: TableFigures = field()


def new_table_object(
    files: Sequence[NewPackedFile], changes: CatalogChange, moment_ns: int, *, is_copy: bool = False
) -> TableObject:
    """Return the object of these files of minute bars, which are sorted by symbol, then date.

    ``is_copy``: the files stay where they are, and its index names none. Raises ``NotAFooter`` for files that cannot be
    one table.
    """
    table = _Table()
    for file in files:
        table.add(file)
    packed, figures = table.packed, table.figures()
    if is_copy:
        packed = [PackedFile(GAP, 0, table.size, moment_ns, _digest(table.contents))]
        index = PackIndex(packed, changes, moment_ns)
    else:
        changes = evolve(changes, placed=[*changes.placed, *ends_of(files)])
        index = PackIndex(packed, changes, moment_ns, figures=figures)
    footer = table.footer({KEY: b64encode(written_index(index)).decode()})
    return TableObject(Pack(b"".join([*table.contents, footer]), index, PARQUET), figures)


class _Table:
    def __init__(self) -> None:
        self.contents, self.packed, self.size = list[bytes](), list[PackedFile](), 0
        self._first, self._groups = Struct(), list[Struct]()
        self._symbols, self._dates, self._times = list[str](), list[date](), list[tuple[int, int] | None]()
        self._files = 0

    def add(self, file: NewPackedFile) -> None:
        footer, symbol = parsed(footer_of(file.content)), _symbol_of(file.path)
        if self._first and footer.get(SCHEMA) != self._first.get(SCHEMA):
            raise NotAFooter("their columns differ")
        self._first = self._first or footer
        groups, dates = items(footer, ROW_GROUPS), _dates_of(file)
        if len(groups) != len(dates):
            raise NotAFooter("one of them has not just one row group a day")
        start, gap = self.size + len(file.content), bytearray()
        for group, day in zip(groups, dates, strict=True):
            move(group, self.size)
            self._times.append(_times_of(group))
            _add_columns(group, gap, start, [symbol.encode(), (day - EPOCH).days.to_bytes(4, "little", signed=True)])
            group[ORDINAL] = INT_16, len(self._groups)
            self._groups.append(group)
        self._files += 1
        self._symbols.append(symbol)
        self._dates += dates
        for path, content in ((file.path, file.content), (GAP, bytes(gap))):
            self.packed.append(PackedFile(path, self.size, len(content), file.modified_ns, sha256(content).hexdigest()))
            self.contents.append(content)
            self.size += len(content)

    def footer(self, key_values: dict[str, str]) -> bytes:
        root, *columns = items(self._first, SCHEMA)
        root = {**root, 5: (INT_32, len(columns) + len(CONSTANT_COLUMNS))}
        rows = sum(group[GROUP_ROWS][1] for group in self._groups)
        pairs = [{1: (BINARY, key.encode()), 2: (BINARY, value.encode())} for key, value in key_values.items()]
        orders = [{1: (STRUCT, Struct())} for _ in (*CONSTANT_COLUMNS, *columns)]
        footer = written(
            {
                **self._first,
                SCHEMA: (LIST, (STRUCT, [root, *CONSTANT_COLUMNS, *columns])),
                ROWS: (INT_64, rows),
                ROW_GROUPS: (LIST, (STRUCT, self._groups)),
                KEY_VALUES: (LIST, (STRUCT, pairs)),
                COLUMN_ORDERS: (LIST, (STRUCT, orders)),
            }
        )
        return footer + len(footer).to_bytes(4, "little") + MAGIC

    def figures(self) -> TableFigures:
        known = [each for each in self._times if each is not None]
        times = None
        if len(known) == len(self._times):
            times = min(first for first, _ in known), max(last for _, last in known)
        dates, rows = (str(min(self._dates)), str(max(self._dates))), sum(g[GROUP_ROWS][1] for g in self._groups)
        return TableFigures(self._files, rows, (min(self._symbols), max(self._symbols)), dates, times)


def _add_columns(group: Struct, out: bytearray, start: int, values: Iterable[bytes]) -> None:
    """Add the constant columns to a row group. Their pages are appended to ``out``, which begins at ``start``."""
    rows, chunks, added = group[GROUP_ROWS][1], list[Struct](), 0
    for column, value in zip(CONSTANT_COLUMNS, values, strict=True):
        kind = column[1][1]
        plain = len(value).to_bytes(4, "little") + value if kind == BYTE_ARRAY else value
        dictionary = _page({1: (INT_32, 2), 7: (STRUCT, {1: (INT_32, 1), 2: (INT_32, PLAIN)})}, plain)
        encodings = {1: (INT_32, rows), 2: (INT_32, RLE_DICTIONARY), 3: (INT_32, RLE), 4: (INT_32, RLE)}
        data = _page({1: (INT_32, 0), 5: (STRUCT, encodings)}, b"\x01" + _varint(rows << 1) + b"\x00")
        at, size = start + len(out), len(dictionary) + len(data)
        out += dictionary + data
        bounds = {3: (INT_64, 0), LARGEST: (BINARY, value), SMALLEST: (BINARY, value), 7: (TRUE, None), 8: (TRUE, None)}
        meta: Struct = {
            1: (INT_32, kind),
            2: (LIST, (INT_32, [PLAIN, RLE, RLE_DICTIONARY])),
            3: (LIST, (BINARY, [column[4][1]])),
            4: (INT_32, 0),  # not compressed
            5: (INT_64, rows),
            6: (INT_64, size),
            7: (INT_64, size),
            9: (INT_64, at + len(dictionary)),
            11: (INT_64, at),
            STATISTICS: (STRUCT, bounds),
        }
        chunks.append({2: (INT_64, 0), META: (STRUCT, meta)})
        added += size
    group[COLUMNS] = LIST, (STRUCT, [*chunks, *items(group, COLUMNS)])
    for number in (GROUP_BYTES, COMPRESSED_BYTES):
        if number in group:
            group[number] = INT_64, group[number][1] + added


def _page(header: Struct, content: bytes) -> bytes:
    sizes = {2: (INT_32, len(content)), 3: (INT_32, len(content))}
    return written({**header, **sizes}) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _times_of(group: Struct) -> tuple[int, int] | None:
    """Return the first and the last timestamp of a row group, before columns are added to it."""
    meta = items(group, COLUMNS)[0].get(META, (STRUCT, Struct()))[1]
    bounds = meta.get(STATISTICS, (STRUCT, Struct()))[1]
    if SMALLEST not in bounds or LARGEST not in bounds:
        return None
    first, last = (int.from_bytes(bounds[number][1], "little", signed=True) for number in (SMALLEST, LARGEST))
    return first, last


def _symbol_of(path: str) -> str:
    return path.split("/")[1].removeprefix("symbol=")


def _dates_of(file: NewPackedFile) -> list[date]:
    """Return the trading dates of a file's row groups, ascending. Raises ``NotAFooter``."""
    _, _, year, month, name = file.path.split("/")
    try:
        names = [*parts_at_the_end(file.content[-END_BYTES:], len(file.content))] if name == MONTH_FILE else [name]
    except MonthFileDamaged as error:
        raise NotAFooter(str(error)) from error
    found = [date_of(int(year.removeprefix("year=")), int(month.removeprefix("month=")), each) for each in names]
    dates = [each for each in found if each is not None]
    if len(dates) != len(names):
        raise NotAFooter("one of them is of no date of the calendar")
    return dates


def _digest(contents: Iterable[bytes]) -> str:
    digest = sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()
