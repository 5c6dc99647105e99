"""Ingestion jobs, to and from the rows of the table jobs."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from marketpipe.ingestion.domain.ingestion_checkpoint import (
    DayOutlines,
    DayRecord,
    IngestionCheckpoint,
    merged,
)
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, InterruptedJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, TypicalVolume, even_sample
from marketpipe.ingestion.domain.store_status import JobRecord, SymbolSummary
from marketpipe.ingestion.infrastructure.sqlite_checkpoints import (
    DELETE_PARTITION,
    PUT_CHECKPOINT,
    PUT_PARTITION,
    SELECT_DAYS,
    SELECT_OUTLINES,
    checkpoint_row,
    day_outlines,
    day_records,
    key_of,
    partition_row,
)
from marketpipe.ingestion.infrastructure.sqlite_file import PATIENCE_SECONDS, SQLiteFile
from marketpipe.ingestion.infrastructure.sqlite_leases import SQLiteLeases
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, ValidationError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate


def opened_row(store_id: int, scope: IngestionScope, now: Timestamp, planned: int, holder: str) -> tuple[object, ...]:
    dates = str(scope.first), str(scope.last)
    state, kind = str(JobState.RUNNING), str(scope.session_kind)
    return store_id, state, str(now), len(scope.symbols), *dates, kind, planned, holder


def closed_row(job: IngestionJob, now: Timestamp) -> tuple[object, ...]:
    failed = job.counts.get(Outcome.FAILED, 0)
    return str(job.state), str(now), job.planned, len(job.outcomes) - failed, failed, job.job_id


def progress_rows(checkpoints: Sequence[IngestionCheckpoint]) -> list[tuple[int, int, int]]:
    """So that a job that is killed has left word of how far it came; its end, if it has one, counts exactly."""
    failed = Counter(found.job_id for found in checkpoints if found.result.outcome is Outcome.FAILED)
    noted = Counter(found.job_id for found in checkpoints)
    return [(count - failed[job_id], failed[job_id], job_id) for job_id, count in noted.items()]


def job_record(
    job_id: int,
    state: str,
    started_at: str,
    finished_at: str | None,
    symbols: int,
    first: str,
    last: str,
    *counts: int,
) -> JobRecord:
    dates = TradingDate.parse(first), TradingDate.parse(last)
    return JobRecord(job_id, state, started_at, finished_at, symbols, *dates, *counts)


def interrupted_job(job_id: int, started_at: str, first: str, last: str, session: str) -> InterruptedJob:
    dates = TradingDate.parse(first), TradingDate.parse(last)
    return InterruptedJob(job_id, Timestamp.parse(started_at), *dates, SessionKind(session))


SETTLED: Final = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.is_settled)
WITH_STORED: Final = """
WITH RECURSIVE known (symbol) AS (
    SELECT min(symbol) FROM partitions WHERE store_id = ?1
    UNION ALL
    SELECT (SELECT min(symbol) FROM partitions WHERE store_id = ?1 AND symbol > known.symbol) FROM known
    WHERE known.symbol IS NOT NULL
)
"""
WITH_ASKED_FOR: Final = """
WITH RECURSIVE known (symbol) AS (
    SELECT min(symbol) FROM checkpoints WHERE store_id = ?1
    UNION ALL
    SELECT (SELECT min(symbol) FROM checkpoints WHERE store_id = ?1 AND symbol > known.symbol) FROM known
    WHERE known.symbol IS NOT NULL
)
"""
STORED_SYMBOLS: Final = f"{WITH_STORED} SELECT symbol FROM known WHERE symbol IS NOT NULL"
LIVES: Final = f"""{WITH_STORED}
SELECT symbol,
    (SELECT min(trading_date) FROM partitions WHERE store_id = ?1 AND symbol = known.symbol),
    (SELECT max(trading_date) FROM partitions WHERE store_id = ?1 AND symbol = known.symbol)
FROM known WHERE symbol IS NOT NULL
"""
SPANS: Final = f"""{WITH_ASKED_FOR}
SELECT symbol,
    (SELECT min(trading_date) FROM checkpoints WHERE store_id = ?1 AND symbol = known.symbol),
    (SELECT max(trading_date) FROM checkpoints WHERE store_id = ?1 AND symbol = known.symbol)
FROM known WHERE symbol IS NOT NULL
"""
LATEST_SETTLED: Final = f"""{WITH_ASKED_FOR}
SELECT symbol,
    (SELECT trading_date FROM checkpoints WHERE store_id = ?1 AND symbol = known.symbol AND outcome IN ({SETTLED})
     ORDER BY trading_date DESC LIMIT 1)
FROM known WHERE symbol IS NOT NULL
"""

DAYS_OF_A_VOLUME: Final = 250
SYMBOLS_OF_A_VOLUME: Final = 100
VOLUME: Final = f"""
SELECT sum(rows), sum(bytes), count(*) FROM (
    SELECT rows, bytes FROM partitions WHERE store_id = ? AND symbol = ? ORDER BY trading_date DESC
    LIMIT {DAYS_OF_A_VOLUME}
)
"""
"""Of a symbol's latest days: they say better than old ones what to expect."""


def volume_of(rows: Iterable[tuple[int | None, int | None, int]]) -> TypicalVolume | None:
    """Of rows of ``VOLUME``, one a symbol; None where nothing is stored."""
    found = [(bars, size, days) for bars, size, days in rows if bars and size]
    bars, size, days = (sum(each) for each in zip(*found, strict=True)) if found else (0, 0, 0)
    return TypicalVolume(bars / days, size / bars, days) if bars else None


SELECT_DATASET = "SELECT provider, feed, adjustment, session FROM stores WHERE store_id = ?"


class SQLiteState:
    """Jobs, checkpoints and partitions of one store in a SQLite file, which may hold several stores."""

    def __init__(self, path: Path, location: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """``location`` tells this store from others in the same file; others are waited for with ``patience_seconds``.

        Raises ``StateError``.
        """
        self._file = SQLiteFile(path, location, patience_seconds)
        self._path, self._store_id = path, self._file.store_id
        self._transaction, self._query = self._file.transaction, self._file.query
        self.leases = SQLiteLeases(self._file)

    def bind_dataset(self, identity: DatasetIdentity, kind: SessionKind) -> None:
        self._file.our_name()  # from here on others see that somebody is at work
        with self._transaction() as connection:
            known = connection.execute(SELECT_DATASET, (self._store_id,)).fetchone()
            self._refuse_others(*_dataset(*known), identity, kind)
            connection.execute(
                "UPDATE stores SET provider = ?, feed = ?, adjustment = ?, session = ? WHERE store_id = ?",
                (identity.provider, identity.feed, identity.adjustment, str(kind), self._store_id),
            )

    def dataset(self) -> tuple[DatasetIdentity, SessionKind] | None:
        rows = self._query(SELECT_DATASET, (self._store_id,))
        with self._file.reading():
            identity, kind = _dataset(*rows[0]) if rows else (None, None)
        return (identity, kind) if identity and kind else None

    def open_job(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        ours, abandoned = self._file.our_name(), self._abandoned_jobs()
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE jobs SET state = ?, finished_at = coalesce("
                "(SELECT max(checked_at) FROM checkpoints WHERE job_id = jobs.job_id), started_at) "
                "WHERE job_id = ? AND state = ?",
                [(str(JobState.INTERRUPTED), job_id, str(JobState.RUNNING)) for job_id in abandoned],
            )
            cursor = connection.execute(
                "INSERT INTO jobs (store_id, state, started_at, symbols, first, last, session, planned, holder) "
                "VALUES (?,?,?,?,?,?,?,?,?)",
                opened_row(self._store_id, scope, now, planned, ours),
            )
            return int(cursor.lastrowid or 0)

    def interrupted_jobs(self) -> Sequence[InterruptedJob]:
        stopped, abandoned = str(JobState.INTERRUPTED), set(self._abandoned_jobs())
        rows = self._query(
            "SELECT state, job_id, started_at, first, last, session FROM jobs WHERE store_id = ? ORDER BY job_id",
            (self._store_id,),
        )
        return [interrupted_job(*row) for state, *row in rows if state == stopped or row[0] in abandoned]

    def close_job(self, job: IngestionJob, now: Timestamp) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, planned = ?, done = ?, failed = ? WHERE job_id = ?",
                closed_row(job, now),
            )

    def record(self, checkpoints: Sequence[IngestionCheckpoint]) -> None:
        with self._transaction() as connection:
            change = self._next_change(connection)
            for checkpoint in checkpoints:
                self._record_outcome(connection, checkpoint, change)
                self._record_file(connection, checkpoint)
            connection.executemany(
                "UPDATE jobs SET done = done + ?, failed = failed + ? WHERE job_id = ?", progress_rows(checkpoints)
            )

    def mark_suspect(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        with self._transaction() as connection:
            connection.executemany(
                f"UPDATE checkpoints SET outcome = ?, error = ? WHERE store_id = ? AND symbol = ? AND trading_date = ? "
                f"AND outcome IN ({SETTLED})",
                [
                    (str(Outcome.FAILED), reason, self._store_id, str(symbol), str(date))
                    for date, reason in reasons.items()
                ],
            )

    def records(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, DayRecord]:
        rows = self._query(SELECT_DAYS, (self._store_id, str(symbol), str(first), str(last)))
        with self._file.reading():
            return day_records(rows)

    def outlines(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> DayOutlines:
        rows = self._query(SELECT_OUTLINES, (self._store_id, str(symbol), str(first), str(last)))
        with self._file.reading():
            return day_outlines(rows)

    def lives(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        return self._bounds(LIVES)

    def spans(self) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        return self._bounds(SPANS)

    def latest_settled(self) -> Mapping[Symbol, TradingDate]:
        rows = self._query(LATEST_SETTLED, (self._store_id,))
        with self._file.reading():
            return {Symbol(symbol): TradingDate.parse(date) for symbol, date in rows if date is not None}

    def typical_volumes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, TypicalVolume]:
        found = {symbol: volume_of([self._volume(str(symbol))]) for symbol in symbols}
        return {symbol: volume for symbol, volume in found.items() if volume}

    def typical_volume(self) -> TypicalVolume | None:
        symbols = [name for (name,) in self._query(STORED_SYMBOLS, (self._store_id,))]
        return volume_of([self._volume(name) for name in even_sample(symbols, SYMBOLS_OF_A_VOLUME)])

    def summaries(self) -> Sequence[SymbolSummary]:
        rows = self._query(
            "SELECT c.symbol, min(c.trading_date), max(c.trading_date), sum(outcome = 'complete'), "
            "sum(outcome = 'empty'), sum(outcome = 'partial'), sum(outcome = 'failed'), "
            "coalesce(sum(p.rows), 0), sum(c.rejected), coalesce(sum(p.bytes), 0) "
            "FROM checkpoints c LEFT JOIN partitions p USING (store_id, symbol, trading_date) "
            "WHERE store_id = ? GROUP BY c.symbol ORDER BY c.symbol",
            (self._store_id,),
        )
        with self._file.reading():
            return [
                SymbolSummary(Symbol(symbol), TradingDate.parse(first), TradingDate.parse(last), *counts)
                for symbol, first, last, *counts in rows
            ]

    def jobs(self, most: int) -> Sequence[JobRecord]:
        rows = self._query(
            "SELECT job_id, state, started_at, finished_at, symbols, first, last, planned, done, failed "
            "FROM jobs WHERE store_id = ? ORDER BY job_id DESC LIMIT ?",
            (self._store_id, most),
        )
        with self._file.reading():
            return [job_record(*row) for row in rows]

    def close(self) -> None:
        self._file.close()

    def _abandoned_jobs(self) -> list[int]:
        """Those running of which whoever opened them is dead, or has opened none but a new one since."""
        rows = self._query(
            "SELECT job_id, coalesce(holder, '') FROM jobs WHERE store_id = ? AND state = ?",
            (self._store_id, str(JobState.RUNNING)),
        )
        gone = {self._file.our_name(), *self._file.dead(sorted({holder for _, holder in rows}))}
        return [job_id for job_id, holder in rows if holder in gone]

    def _next_change(self, connection: sqlite3.Connection) -> int:
        connection.execute("UPDATE stores SET changes = changes + 1 WHERE store_id = ?", (self._store_id,))
        (change,) = connection.execute("SELECT changes FROM stores WHERE store_id = ?", (self._store_id,)).fetchone()
        return int(change)

    def _refuse_others(
        self, known: DatasetIdentity | None, hours: SessionKind | None, identity: DatasetIdentity, kind: SessionKind
    ) -> None:
        if known not in (None, identity):
            raise DatasetMismatchError(
                f"{self._path} has checkpoints of {known}; {identity} was asked for. "
                "Give another output_path, or another state_path where those bars are gone"
            )
        if hours is SessionKind.EXTENDED and kind is not hours:
            raise DatasetMismatchError(
                f"{self._path} has checkpoints of session {hours}; session {kind} was asked for. "
                f"Give another output_path, or ask for session {hours}"
            )

    def _record_outcome(self, connection: sqlite3.Connection, checkpoint: IngestionCheckpoint, change: int) -> None:
        key = key_of(self._store_id, checkpoint)
        known = day_records(connection.execute(SELECT_DAYS, (*key, key[-1])))
        if found := merged(known.get(checkpoint.result.symbol_day.trading_date), checkpoint):
            connection.execute(PUT_CHECKPOINT, checkpoint_row(self._store_id, checkpoint, found, change))

    def _record_file(self, connection: sqlite3.Connection, checkpoint: IngestionCheckpoint) -> None:
        stored = checkpoint.stored
        if checkpoint.result.outcome is Outcome.EMPTY and checkpoint.hours.covers(SessionHours.REGULAR):
            connection.execute(DELETE_PARTITION, key_of(self._store_id, checkpoint))
        elif stored and stored.sha256:
            connection.execute(PUT_PARTITION, partition_row(self._store_id, checkpoint, stored))

    def _bounds(self, sql: str) -> Mapping[Symbol, tuple[TradingDate, TradingDate]]:
        rows = self._query(sql, (self._store_id,))
        with self._file.reading():
            return {Symbol(name): (TradingDate.parse(first), TradingDate.parse(last)) for name, first, last in rows}

    def _volume(self, symbol: str) -> tuple[int | None, int | None, int]:
        ((bars, size, days),) = self._query(VOLUME, (self._store_id, symbol))
        return bars, size, days


def _dataset(
    provider: str | None, feed: str, adjustment: str, session: str | None
) -> tuple[DatasetIdentity | None, SessionKind | None]:
    identity = None if provider is None else DatasetIdentity(provider, feed, adjustment)
    try:
        return identity, None if session is None else SessionKind(session)
    except ValueError as error:
        raise ValidationError(str(error)) from error
