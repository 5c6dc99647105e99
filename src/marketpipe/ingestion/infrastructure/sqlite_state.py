from __future__ import annotations

import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, JobState
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.store_summary import JobRecord, SymbolSummary
from marketpipe.ingestion.infrastructure.state_schema import prepare
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind

BUSY_TIMEOUT_SECONDS = 30.0
SETTLED = [str(outcome) for outcome in Outcome if outcome.is_settled]


class SQLiteState:
    """Jobs, checkpoints and partitions of one store in a SQLite file, which may hold several stores.

    One connection behind a lock; WAL, so that readers in other processes never wait. A commit outlives ``kill -9``.
    """

    def __init__(self, path: Path, location: str) -> None:
        """``location`` tells this store from others in the same file. Raises ``StateError``."""
        self._path, self._lock = path, threading.Lock()
        with self._translated(), ExitStack() as undo:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            undo.callback(self._connection.close)
            prepare(self._connection)
            self._store_id = self._register(location)
            undo.pop_all()

    def claim(self, identity: DatasetIdentity) -> None:
        wanted = identity.provider, identity.feed, identity.adjustment
        with self._transaction() as connection:
            connection.execute(
                "UPDATE stores SET provider = ?, feed = ?, adjustment = ? WHERE store_id = ? AND provider IS NULL",
                (*wanted, self._store_id),
            )
            found = connection.execute(
                "SELECT provider, feed, adjustment FROM stores WHERE store_id = ?", (self._store_id,)
            ).fetchone()
        if found != wanted:
            raise DatasetMismatchError(
                f"{self._path} has checkpoints of {DatasetIdentity(*found)}; {identity} was asked for. "
                "Give another output_path, or another state_path where those bars are gone"
            )

    def open_job(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, finished_at = coalesce("
                "(SELECT max(checked_at) FROM checkpoints WHERE job_id = jobs.job_id), started_at) "
                "WHERE store_id = ? AND state = ?",
                (str(JobState.INTERRUPTED), self._store_id, str(JobState.RUNNING)),
            )
            cursor = connection.execute(
                "INSERT INTO jobs (store_id, state, started_at, symbols, first, last, session, planned) "
                "VALUES (?,?,?,?,?,?,?,?)",
                (
                    self._store_id,
                    str(JobState.RUNNING),
                    str(now),
                    len(scope.symbols),
                    str(scope.first),
                    str(scope.last),
                    str(scope.session_kind),
                    planned,
                ),
            )
            return int(cursor.lastrowid or 0)

    def close_job(self, job: IngestionJob, now: Timestamp) -> None:
        failed = job.counts.get(Outcome.FAILED, 0)
        done = len(job.outcomes) - failed
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, planned = ?, done = ?, failed = ? WHERE job_id = ?",
                (str(job.state), str(now), job.planned, done, failed, job.job_id),
            )

    def record(self, checkpoints: Sequence[IngestionCheckpoint]) -> None:
        partitions = [row for checkpoint in checkpoints if (row := self._partition_row(checkpoint))]
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO checkpoints VALUES (?,?,?,?,?,?,?,?,?)",
                [self._checkpoint_row(checkpoint) for checkpoint in checkpoints],
            )
            connection.executemany(
                "UPDATE jobs SET done = done + ?, failed = failed + ? WHERE job_id = ?", _progress_of(checkpoints)
            )
            connection.executemany("INSERT OR REPLACE INTO partitions VALUES (?,?,?,?,?,?,?,?)", partitions)
            connection.executemany(
                "DELETE FROM partitions WHERE store_id = ? AND symbol = ? AND trading_date = ?",
                [self._checkpoint_row(found)[:3] for found in checkpoints if found.result.outcome is Outcome.EMPTY],
            )

    def settled(self, scope: IngestionScope) -> Mapping[Symbol, frozenset[TradingDate]]:
        kinds = [str(kind) for kind in SessionKind if kind.covers(scope.session_kind)]
        rows = self._query(
            "SELECT symbol, trading_date, 1 FROM checkpoints WHERE store_id = ? AND trading_date BETWEEN ? AND ? "
            f"AND outcome IN ({_marks(SETTLED)}) AND session IN ({_marks(kinds)}) AND symbol BETWEEN ? AND ?",
            (self._store_id, str(scope.first), str(scope.last), *SETTLED, *kinds, *_bounds(scope.symbols)),
        )
        return {symbol: frozenset(dates) for symbol, dates in _by_symbol(rows, scope.symbols).items()}

    def recorded_sizes(self, scope: IngestionScope) -> Mapping[Symbol, Mapping[TradingDate, int]]:
        rows = self._query(
            "SELECT symbol, trading_date, bytes FROM partitions WHERE store_id = ? "
            "AND symbol BETWEEN ? AND ? AND trading_date BETWEEN ? AND ?",
            (self._store_id, *_bounds(scope.symbols), str(scope.first), str(scope.last)),
        )
        return _by_symbol(rows, scope.symbols)

    def stored_bars(self, request: BarsRequest) -> Mapping[SymbolDay, int]:
        first, last = request.sessions[0].trading_date, request.sessions[-1].trading_date
        rows = self._query(
            "SELECT symbol, trading_date, rows FROM partitions WHERE store_id = ? AND rows > 0 "
            "AND symbol BETWEEN ? AND ? AND trading_date BETWEEN ? AND ?",
            (self._store_id, *_bounds(request.symbols), str(first), str(last)),
        )
        symbols = {str(symbol): symbol for symbol in request.symbols}
        return {SymbolDay(symbols[name], TradingDate.parse(day)): bars for name, day, bars in rows if name in symbols}

    def typical_bars_per_day(self, symbols: Sequence[Symbol]) -> float | None:
        rows = self._query(
            "SELECT symbol, sum(rows), count(*) FROM partitions "
            "WHERE store_id = ? AND symbol BETWEEN ? AND ? GROUP BY symbol",
            (self._store_id, *_bounds(symbols)),
        )
        names = set(map(str, symbols))
        known = [(bars, days) for name, bars, days in rows if name in names]
        return sum(bars for bars, _ in known) / sum(days for _, days in known) if known else None

    def summaries(self) -> Sequence[SymbolSummary]:
        rows = self._query(
            "SELECT c.symbol, min(c.trading_date), max(c.trading_date), sum(outcome = 'complete'), "
            "sum(outcome = 'empty'), sum(outcome = 'partial'), sum(outcome = 'failed'), "
            "coalesce(sum(p.rows), 0), sum(c.rejected), coalesce(sum(p.bytes), 0) "
            "FROM checkpoints c LEFT JOIN partitions p USING (store_id, symbol, trading_date) "
            "WHERE store_id = ? GROUP BY c.symbol ORDER BY c.symbol",
            (self._store_id,),
        )
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
        return [_job_record(*row) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _register(self, location: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO stores (location) VALUES (?)", (location,))
        found = self._connection.execute("SELECT store_id FROM stores WHERE location = ?", (location,)).fetchone()
        return int(found[0])

    def _checkpoint_row(self, checkpoint: IngestionCheckpoint) -> tuple[object, ...]:
        result = checkpoint.result
        return (
            self._store_id,
            str(result.symbol_day.symbol),
            str(result.symbol_day.trading_date),
            str(result.outcome),
            str(checkpoint.session_kind),
            result.rejected,
            checkpoint.job_id,
            str(checkpoint.checked_at),
            result.error,
        )

    def _partition_row(self, checkpoint: IngestionCheckpoint) -> tuple[object, ...] | None:
        stored = checkpoint.stored
        if stored is None or stored.sha256 is None:
            return None
        day = stored.symbol_day
        bounds = str(stored.first), str(stored.last)
        key = self._store_id, str(day.symbol), str(day.trading_date)
        return (*key, stored.rows, *bounds, stored.size_bytes, stored.sha256)

    def _query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StateError as error:
            raise StateError(f"the state file {self._path} {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"the state file {self._path} cannot be used: {error}") from error


def _progress_of(checkpoints: Sequence[IngestionCheckpoint]) -> list[tuple[int, int, int]]:
    """So that a job that is killed has left word of how far it came; its end, if it has one, counts exactly."""
    failed = Counter(found.job_id for found in checkpoints if found.result.outcome is Outcome.FAILED)
    noted = Counter(found.job_id for found in checkpoints)
    return [(count - failed[job_id], failed[job_id], job_id) for job_id, count in noted.items()]


def _job_record(
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


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _bounds(symbols: Sequence[Symbol]) -> tuple[str, str]:
    return str(min(symbols)), str(max(symbols))


def _by_symbol(
    rows: Sequence[tuple[Any, ...]], symbols: Sequence[Symbol]
) -> Mapping[Symbol, Mapping[TradingDate, int]]:
    """Rows of symbol, trading date and a number; those of symbols nobody named are left out."""
    dates: dict[str, TradingDate] = {}
    found: defaultdict[str, dict[TradingDate, int]] = defaultdict(dict)
    for symbol, text, number in rows:
        found[symbol][dates.get(text) or dates.setdefault(text, TradingDate.parse(text))] = number
    return {symbol: found[str(symbol)] for symbol in symbols if str(symbol) in found}
