"""The recorded digests of the files of one store that no checkpoint records: the table files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from marketpipe.ingestion.infrastructure.sql.database import Database
from marketpipe.shared_kernel.domain.store_inventory import ABSENT

BELOW: Final = "store_id = ? AND path >= ? AND path < ?"
SELECT_BELOW: Final = f"SELECT path, sha256 FROM files WHERE {BELOW}"
SELECT_ANY: Final = f"SELECT 1 FROM files WHERE {BELOW} LIMIT 1"
ADD: Final = "INSERT INTO files (store_id, path, sha256) VALUES (?,?,?) ON CONFLICT DO NOTHING"
ADOPT: Final = (
    "INSERT INTO files (store_id, path, sha256) SELECT ?1, ?2, ?3 "
    "WHERE NOT EXISTS (SELECT 1 FROM files WHERE store_id = ?1 AND path = ?2)"
)
FORGET_OTHERS: Final = "DELETE FROM files WHERE store_id = ? AND path = ? AND sha256 <> ?"
FORGET_ABSENT: Final = "DELETE FROM files WHERE store_id = ? AND path = ? AND sha256 = ''"
AFTER_A_SLASH: Final = chr(ord("/") + 1)


class SqlFileDigests:
    """``FileDigests`` of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def below(self, folder: str) -> Mapping[str, frozenset[str]]:
        found = defaultdict[str, set[str]](set)
        with self._database.rows(SELECT_BELOW, *_range(folder)) as rows:
            for path, sha256 in rows:
                found[path].add(sha256)
        return {path: frozenset(digests) for path, digests in found.items()}

    def has_any(self, folder: str) -> bool:
        with self._database.rows(SELECT_ANY, *_range(folder)) as rows:
            return bool(rows)

    def expect(self, digests: Mapping[str, str], *, durable: bool = False) -> None:
        # A power loss may keep a removal and lose this record. Of a file that is gone nothing would ever be recorded
        # again: it would count as lost for ever.
        with self._database.transaction(durable=durable or ABSENT in digests.values()) as connection:
            connection.executemany(ADOPT, self._rows(dict.fromkeys(digests, ABSENT)))
            connection.executemany(ADD, self._rows(digests))

    def settle(self, digests: Mapping[str, str]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(ADD, self._rows(digests))
            connection.executemany(FORGET_OTHERS, self._rows(digests))
            absent = [path for path, digest in digests.items() if digest == ABSENT]
            connection.executemany(FORGET_ABSENT, [(self._database.store_id, path) for path in absent])

    def adopt(self, digests: Mapping[str, str]) -> None:
        with self._database.transaction() as connection:
            connection.executemany(ADOPT, self._rows(digests))

    def _rows(self, digests: Mapping[str, str]) -> list[tuple[int, str, str]]:
        return [(self._database.store_id, path, digest) for path, digest in digests.items()]


def _range(folder: str) -> tuple[str, str]:
    """Return the first path that begins with the folder, and the first that comes after all of these."""
    return folder, folder.removesuffix("/") + AFTER_A_SLASH
