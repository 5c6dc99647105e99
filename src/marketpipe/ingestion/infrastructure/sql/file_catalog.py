"""Where the files of one store in a bucket are: the tables placed_files and appended_lines.

Lines that are appended have rows of their own, and a file is read as its content and these rows after it. If they were
added to its content, each append would write all of it again: both databases replace a value as a whole, also for
``content || lines``. A row takes lines up to ``ROW_BYTES``: one for each append would be six times slower to read, and
up to there PostgreSQL keeps a row in one place. Whatever replaces the file, or gives it another name or time, makes it
one content again.

The folder of a file ends with a slash, or is empty. So the folders below one are one range of the key, ``symbol=BRK/``
and ``symbol=BRK.B/`` are apart, and to list the folders in a folder of millions of files takes one search for each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve

from marketpipe.ingestion.infrastructure.sql.database import Connection, Database, Row
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.object_catalog import INLINE, AppendedLines, CatalogChange, PlacedFile

COLUMNS: Final = "folder, name, object, start, size, modified_ns, content"
OBJECT_AT, START_AT, MODIFIED_AT = 2, 3, 5
FILES: Final = f"SELECT {COLUMNS} FROM placed_files WHERE store_id = ?1 AND"
# Lines have no object, not even INLINE. Both are read by one statement, as they are to be of one moment.
LINES: Final = "SELECT folder, name, NULL, start, 0, modified_ns, lines FROM appended_lines WHERE store_id = ?1 AND"
ONE, IN_FOLDER, IN_RANGE = "folder = ?2 AND name = ?3", "folder = ?2", "folder >= ?2 AND folder < ?3"
FIND: Final = f"{FILES} {ONE} UNION ALL {LINES} {ONE}"
LISTED: Final = f"{FILES} {IN_FOLDER} UNION ALL {LINES} {IN_FOLDER}"
BELOW: Final = f"{FILES} {IN_RANGE} UNION ALL {LINES} {IN_RANGE}"
OBJECT: Final = "SELECT object FROM placed_files WHERE store_id = ? AND folder = ? AND name = ?"
ANY: Final = "SELECT 1 FROM placed_files WHERE store_id = ? AND folder >= ? AND folder < ? LIMIT 1"
# The last character of the four is the one after a slash.
FOLDERS: Final = """
WITH RECURSIVE found (folder) AS (
    SELECT min(folder) FROM placed_files WHERE store_id = ?1 AND folder > ?2 AND folder < ?3
    UNION ALL
    SELECT (
        SELECT min(p.folder) FROM placed_files p WHERE p.store_id = ?1 AND p.folder < ?3
        AND p.folder >= substr(
            f.folder, 1, CAST(?4 + instr(substr(f.folder, CAST(?4 + 1 AS INTEGER)), '/') - 1 AS INTEGER)
        ) || '0'
    ) FROM found f WHERE f.folder IS NOT NULL
)
SELECT folder FROM found WHERE folder IS NOT NULL
"""
OBJECTS: Final = "SELECT object, count(*) FROM placed_files WHERE store_id = ? AND object <> '' GROUP BY object"
PLACE: Final = (
    f"INSERT INTO placed_files (store_id, {COLUMNS}) VALUES (?,?,?,?,?,?,?,?) "
    "ON CONFLICT (store_id, folder, name) DO UPDATE SET object = excluded.object, start = excluded.start, "
    "size = excluded.size, modified_ns = excluded.modified_ns, content = excluded.content"
)
REMOVE: Final = "DELETE FROM placed_files WHERE store_id = ? AND folder = ? AND name = ?"
LAST_LINES: Final = (
    "SELECT start, lines FROM appended_lines WHERE store_id = ? AND folder = ? AND name = ? ORDER BY start DESC LIMIT 1"
)
END_OF_CONTENT: Final = (
    "SELECT object, size, CASE WHEN object = '' THEN substr(content, CAST(size AS INTEGER), 1) END FROM placed_files "
    "WHERE store_id = ? AND folder = ? AND name = ?"
)
APPEND: Final = (
    "INSERT INTO appended_lines (store_id, folder, name, start, lines, modified_ns) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (store_id, folder, name, start) DO UPDATE SET lines = excluded.lines, "
    "modified_ns = excluded.modified_ns"
)
ROW_BYTES: Final = 2_000
HAS_LINES: Final = "SELECT 1 FROM appended_lines WHERE store_id = ? AND folder = ? LIMIT 1"
REMOVE_LINES: Final = "DELETE FROM appended_lines WHERE store_id = ? AND folder = ? AND name = ?"
FOLDERS_TOGETHER: Final = 500
AFTER_A_SLASH, LAST_CHARACTER = "0", "\U0010ffff"


class SqlFileCatalog:
    """``FileCatalog`` of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, path: str) -> PlacedFile | None:
        with self._database.rows(FIND, *_split(path)) as rows:
            return next(iter(_files_of(rows)), None)

    def object_of(self, path: str) -> str | None:
        with self._database.rows(OBJECT, *_split(path)) as rows:
            return next((str(key) for (key,) in rows), None)

    def listed(self, folder: str) -> Sequence[PlacedFile]:
        with self._database.rows(LISTED, _begin(folder)) as rows:
            return _files_of(rows)

    def in_each(self, folders: Collection[str], name: str | None = None) -> Sequence[PlacedFile]:
        begins, found = sorted(map(_begin, folders)), list[PlacedFile]()
        for first in range(0, len(begins), FOLDERS_TOGETHER):
            some = begins[first : first + FOLDERS_TOGETHER]
            where = f"folder IN ({', '.join(f'?{number}' for number in range(2, len(some) + 2))})"
            named = [] if name is None else [name]
            if named:
                where += f" AND name = ?{len(some) + 2}"
            with self._database.rows(f"{FILES} {where} UNION ALL {LINES} {where}", *some, *named) as rows:
                found += _files_of(rows)
        return sorted(found, key=lambda file: file.path)

    def folders(self, folder: str) -> Sequence[str]:
        begin, end = _range(folder)
        with self._database.rows(FOLDERS, begin, end, len(begin)) as rows:
            return sorted(found[len(begin) :].partition("/")[0] for (found,) in rows)

    def below(self, folder: str) -> Sequence[PlacedFile]:
        with self._database.rows(BELOW, *_range(folder)) as rows:
            return _files_of(rows)

    def has_any(self, folder: str) -> bool:
        with self._database.rows(ANY, *_range(folder)) as rows:
            return bool(rows)

    def change(self, change: CatalogChange) -> None:
        if change.is_empty:
            return
        with self._database.transaction(durable=True) as connection:
            if change.second_names or change.appended or change.times:
                self._database.one_at_a_time(connection)
            found = self._existing(connection, [*change.second_names])
            self._place(connection, (found[path].at(name) for path, name in change.second_names.items()))
            self._forget_lines(connection, change.removed)
            connection.executemany(REMOVE, [self._key(path) for path in change.removed])
            self._place(connection, change.placed)
            for appended in change.appended:
                self._append(connection, appended)
            timed = self._existing(connection, [*change.times])
            self._place(connection, (evolve(timed[path], modified_ns=when) for path, when in change.times.items()))

    def objects(self) -> Mapping[str, int]:
        with self._database.rows(OBJECTS) as rows:
            return {name: int(count) for name, count in rows}

    def _place(self, connection: Connection, files: Iterable[PlacedFile]) -> None:
        last = {file.path: file for file in files}
        self._forget_lines(connection, last)
        connection.executemany(
            PLACE,
            [(*self._key(f.path), f.object, f.offset, f.size, f.modified_ns, f.content) for f in last.values()],
        )

    def _append(self, connection: Connection, appended: AppendedLines) -> None:
        """Write one row, however much the file has."""
        key = self._key(appended.path)
        last = connection.execute(LAST_LINES, key).fetchone()
        if last is not None:
            start, lines = last
            added = appended.added_after(lines[-1:])
            start, whole = (start, lines + added) if len(lines + added) <= ROW_BYTES else (start + len(lines), added)
        else:
            content = connection.execute(END_OF_CONTENT, key).fetchone()
            if content is None:
                self._place(connection, [appended.appended_to(None)])
                return
            object_key, start, end = content
            if object_key != INLINE:
                raise StateError(f"cannot append lines to {appended.path}: it is in an object")
            added = whole = appended.added_after(end or b"")
        if added:
            connection.execute(APPEND, (*key, start, whole, appended.modified_ns))

    def _forget_lines(self, connection: Connection, paths: Collection[str]) -> None:
        """Remove appended lines of files that are replaced or removed. Few folders have any: the others cost nothing
        for each file.
        """
        folders = sorted({_split(path)[0] for path in paths})
        found = self._database.each(connection, HAS_LINES, [(self._database.store_id, folder) for folder in folders])
        having = {folder for folder, rows in zip(folders, found, strict=True) if rows}
        if having:
            gone = [self._key(path) for path in paths if _split(path)[0] in having]
            connection.executemany(REMOVE_LINES, gone)

    def _existing(self, connection: Connection, paths: Sequence[str]) -> Mapping[str, PlacedFile]:
        found = zip(paths, self._database.each(connection, FIND, [self._key(path) for path in paths]), strict=True)
        files = {path: file for path, rows in found for file in _files_of(rows)}
        if absent := [path for path in paths if path not in files]:
            raise StateError(f"has no file {absent[0]}, which was to get another name or time")
        return files

    def _key(self, path: str) -> tuple[int, str, str]:
        return self._database.store_id, *_split(path)


def _files_of(rows: Iterable[Row]) -> list[PlacedFile]:
    """Return the files, ascending by path, each with the lines that were appended to it."""
    files, appended = list[PlacedFile](), defaultdict[str, list[Row]](list)
    for row in rows:
        if row[OBJECT_AT] is None:
            appended[row[0] + row[1]].append(row)
        else:
            files.append(_file_of(row))
    if appended:
        files = [_with_lines(file, appended[file.path]) if file.path in appended else file for file in files]
    return sorted(files, key=lambda file: file.path)


def _with_lines(file: PlacedFile, rows: Sequence[Row]) -> PlacedFile:
    in_order = sorted(rows, key=lambda row: int(row[START_AT]))
    content = b"".join([file.content or b"", *(row[-1] for row in in_order)])
    return PlacedFile.inline(file.path, content, in_order[-1][MODIFIED_AT])


def _file_of(row: Row) -> PlacedFile:
    folder, name, key, start, size, modified_ns, content = row
    return PlacedFile(folder + name, key, start, size, modified_ns, bytes(content or b"") if key == INLINE else None)


def _split(path: str) -> tuple[str, str]:
    """Return the folder, with the slash at its end, and the name."""
    folder, slash, name = path.rpartition("/")
    return folder + slash, name


def _begin(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _range(folder: str) -> tuple[str, str]:
    """Return the first folder that is this one or below it, and the first one after all of these."""
    return (f"{folder}/", folder + AFTER_A_SLASH) if folder else ("", LAST_CHARACTER)
