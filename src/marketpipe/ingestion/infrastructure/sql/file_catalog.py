"""Where the files of one store in a bucket are: the table placed_files.

The folder of a file ends with a slash, or is empty. So the folders below one are one range of the key, ``symbol=BRK/``
and ``symbol=BRK.B/`` are apart, and to list the folders in a folder of millions of files takes one search for each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve

from marketpipe.ingestion.infrastructure.sql.database import Connection, Database, Row
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.object_catalog import INLINE, CatalogChange, PlacedFile

COLUMNS: Final = "folder, name, object, start, size, modified_ns, content"
SELECT: Final = f"SELECT {COLUMNS} FROM placed_files WHERE store_id = ?"
FIND: Final = f"{SELECT} AND folder = ? AND name = ?"
LISTED: Final = f"{SELECT} AND folder = ? ORDER BY name"
BELOW: Final = f"{SELECT} AND folder >= ? AND folder < ?"
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
FOLDERS_TOGETHER: Final = 500
AFTER_A_SLASH, LAST_CHARACTER = "0", "\U0010ffff"


class SqlFileCatalog:
    """``FileCatalog`` of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, path: str) -> PlacedFile | None:
        with self._database.rows(FIND, *_split(path)) as rows:
            return next(map(_file_of, rows), None)

    def listed(self, folder: str) -> Sequence[PlacedFile]:
        with self._database.rows(LISTED, _begin(folder)) as rows:
            return [*map(_file_of, rows)]

    def in_each(self, folders: Collection[str], name: str | None = None) -> Sequence[PlacedFile]:
        begins, found = sorted(map(_begin, folders)), list[PlacedFile]()
        for first in range(0, len(begins), FOLDERS_TOGETHER):
            some = begins[first : first + FOLDERS_TOGETHER]
            named = ("", []) if name is None else (" AND name = ?", [name])
            statement = f"{SELECT} AND folder IN ({', '.join('?' * len(some))}){named[0]}"
            with self._database.rows(statement, *some, *named[1]) as rows:
                found += map(_file_of, rows)
        return sorted(found, key=lambda file: file.path)

    def folders(self, folder: str) -> Sequence[str]:
        begin, end = _range(folder)
        with self._database.rows(FOLDERS, begin, end, len(begin)) as rows:
            return sorted(found[len(begin) :].partition("/")[0] for (found,) in rows)

    def below(self, folder: str) -> Sequence[PlacedFile]:
        with self._database.rows(BELOW, *_range(folder)) as rows:
            return sorted(map(_file_of, rows), key=lambda file: file.path)

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
            connection.executemany(REMOVE, [(self._database.store_id, *_split(path)) for path in change.removed])
            self._place(connection, change.placed)
            for appended in change.appended:
                file = self._found(connection, appended.path)
                if file is not None and file.content is None:
                    raise StateError(f"cannot append lines to {appended.path}: it is in an object")
                self._place(connection, [appended.appended_to(None if file is None else file.content)])
            timed = self._existing(connection, [*change.times])
            self._place(connection, (evolve(timed[path], modified_ns=when) for path, when in change.times.items()))

    def objects(self) -> Mapping[str, int]:
        with self._database.rows(OBJECTS) as rows:
            return {name: int(count) for name, count in rows}

    def _place(self, connection: Connection, files: Iterable[PlacedFile]) -> None:
        last = {file.path: file for file in files}
        connection.executemany(
            PLACE,
            [
                (self._database.store_id, *_split(f.path), f.object, f.offset, f.size, f.modified_ns, f.content)
                for f in last.values()
            ],
        )

    def _found(self, connection: Connection, path: str) -> PlacedFile | None:
        row = connection.execute(FIND, (self._database.store_id, *_split(path))).fetchone()
        return None if row is None else _file_of(row)

    def _existing(self, connection: Connection, paths: Sequence[str]) -> Mapping[str, PlacedFile]:
        keys = [(self._database.store_id, *_split(path)) for path in paths]
        found = zip(paths, self._database.each(connection, FIND, keys), strict=True)
        files = {path: _file_of(row) for path, rows in found for row in rows}
        if absent := [path for path in paths if path not in files]:
            raise StateError(f"has no file {absent[0]}, which was to get another name or time")
        return files


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
