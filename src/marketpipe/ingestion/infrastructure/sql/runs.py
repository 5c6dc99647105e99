"""How the last runs of a store ended, and what all of them counted, in the tables runs and totals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from marketpipe.ingestion.domain.store_status import RunRecord
from marketpipe.ingestion.infrastructure.sql.database import Connection, Database
from marketpipe.shared_kernel.domain.store_inventory import TotalKey
from marketpipe.shared_kernel.domain.timestamp import Timestamp

REPLACE_RUN: Final = (
    "INSERT INTO runs (store_id, kind, state, finished_at, seconds) VALUES (?,?,?,?,?) "
    "ON CONFLICT (store_id, kind, state) DO UPDATE SET finished_at = excluded.finished_at, seconds = excluded.seconds"
)
SELECT_RUNS: Final = "SELECT kind, state, finished_at, seconds FROM runs WHERE store_id = ? ORDER BY kind, state"
REPLACE_TOTAL: Final = (
    "INSERT INTO totals (store_id, name, labels, value) VALUES (?,?,?,?) "
    "ON CONFLICT (store_id, name, labels) DO UPDATE SET value = excluded.value"
)
ADD_TO_TOTAL: Final = (
    "INSERT INTO totals (store_id, name, labels, value) VALUES (?,?,?,?) "
    "ON CONFLICT (store_id, name, labels) DO UPDATE SET value = totals.value + excluded.value"
)
SELECT_TOTALS: Final = "SELECT name, labels, value FROM totals WHERE store_id = ?"


class SqlRuns:
    """``Runs`` of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, run: RunRecord, counted: Mapping[TotalKey, float], stated: Mapping[TotalKey, float]) -> None:
        ended = run.kind, run.state, str(run.finished_at), run.seconds
        with self._database.transaction() as connection:
            connection.execute(REPLACE_RUN, (self._database.store_id, *ended))
            self._write(connection, ADD_TO_TOTAL, counted)
            self._write(connection, REPLACE_TOTAL, stated)

    def replace_totals(self, values: Mapping[TotalKey, float]) -> None:
        with self._database.transaction() as connection:
            self._write(connection, REPLACE_TOTAL, values)

    def latest(self) -> Sequence[RunRecord]:
        with self._database.rows(SELECT_RUNS) as rows:
            return [RunRecord(kind, state, Timestamp.parse(at), seconds) for kind, state, at, seconds in rows]

    def totals(self) -> Mapping[TotalKey, float]:
        with self._database.rows(SELECT_TOTALS) as rows:
            return {(name, tuple(json.loads(labels))): value for name, labels, value in rows}

    def _write(self, connection: Connection, statement: str, values: Mapping[TotalKey, float]) -> None:
        rows = [(self._database.store_id, name, json.dumps(labels), value) for (name, labels), value in values.items()]
        connection.executemany(statement, rows)
