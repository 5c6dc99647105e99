"""The state of one store: ``SQLiteState`` composes its roles (checkpoints, jobs, leases and others) over one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from marketpipe.ingestion.domain.ingestion_job import IngestionJob, InterruptedJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, TypicalVolume, even_sample
from marketpipe.ingestion.domain.store_status import JobRecord, RecordedFile, SymbolSummary
from marketpipe.ingestion.infrastructure.sqlite_checkpoints import SELECT_STORED_SYMBOLS, SQLiteCheckpoints
from marketpipe.ingestion.infrastructure.sqlite_file import TIMEOUT_SECONDS, SQLiteFile
from marketpipe.ingestion.infrastructure.sqlite_file_catalog import SQLiteFileCatalog
from marketpipe.ingestion.infrastructure.sqlite_file_digests import SQLiteFileDigests
from marketpipe.ingestion.infrastructure.sqlite_leases import SQLiteLeases
from marketpipe.ingestion.infrastructure.sqlite_official_years import SQLiteOfficialYears
from marketpipe.ingestion.infrastructure.sqlite_runs import SQLiteRuns
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, ValidationError
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING, DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine

SELECT_DATASET: Final = "SELECT provider, feed, adjustment, asof, session FROM stores WHERE store_id = ?"
SELECT_CLOSING_AUCTION: Final = "SELECT closing_auction FROM stores WHERE store_id = ?"
SELECT_SCOPES: Final = (
    "SELECT state, job_id, started_at, first, last, session FROM jobs WHERE store_id = ? ORDER BY job_id"
)
SELECT_LATEST_JOBS: Final = (
    "SELECT job_id, state, started_at, finished_at, symbols, first, last, planned, done, failed "
    "FROM jobs WHERE store_id = ? ORDER BY job_id DESC LIMIT ?"
)
SELECT_SUMMARIES: Final = (
    "SELECT c.symbol, min(c.trading_date), max(c.trading_date), sum(outcome = 'complete'), "
    "sum(outcome = 'empty'), sum(outcome = 'partial'), sum(outcome = 'failed'), "
    "coalesce(sum(p.rows), 0), sum(c.rejected), coalesce(sum(p.bytes), 0) "
    "FROM checkpoints c LEFT JOIN partitions p USING (store_id, symbol, trading_date) "
    "WHERE store_id = ? GROUP BY c.symbol ORDER BY c.symbol"
)
SELECT_FILES: Final = (
    "SELECT trading_date, outcome, rows, bytes FROM checkpoints JOIN partitions USING (store_id, symbol, trading_date) "
    "WHERE store_id = ? AND symbol = ? ORDER BY trading_date"
)

DAYS_OF_A_VOLUME: Final = 250
SYMBOLS_OF_A_VOLUME: Final = 100
# Of a symbol's latest days: they predict better than old ones.
SELECT_VOLUME: Final = f"""
SELECT sum(rows), sum(bytes), count(*) FROM (
    SELECT rows, bytes FROM partitions WHERE store_id = ? AND symbol = ? ORDER BY trading_date DESC
    LIMIT {DAYS_OF_A_VOLUME}
)
"""


class SQLiteState:
    """``IngestionState`` of one store in a SQLite file, which may hold several stores."""

    def __init__(
        self, path: Path, location: str, timeout_seconds: float = TIMEOUT_SECONDS, machine: Machine = HERE
    ) -> None:
        """``location`` tells this store from others in the same file; a writer waits up to ``timeout_seconds`` for
        another process that is writing. Raises ``StateError``.
        """
        self._file, self._path = SQLiteFile(path, location, timeout_seconds, machine=machine), path
        self.checkpoints = SQLiteCheckpoints(self._file)
        self.jobs = SQLiteJobs(self._file)
        self.statistics = SQLiteStatistics(self._file)
        self.runs = SQLiteRuns(self._file)
        self.leases = SQLiteLeases(self._file)
        self.file_digests = SQLiteFileDigests(self._file)
        self.file_catalog = SQLiteFileCatalog(self._file)
        self.official_years = SQLiteOfficialYears(self._file)

    def bind_dataset(self, identity: DatasetIdentity, kind: SessionKind, closing_auction: int | None = None) -> None:
        bound = identity.provider, identity.feed, identity.adjustment, identity.asof, str(kind)
        self._file.holder_name()  # from here on other processes see that this store is in use
        with self._file.transaction() as connection:
            known = connection.execute(SELECT_DATASET, (self._file.store_id,)).fetchone()
            self._refuse_others(*_dataset(*known), identity, kind)
            connection.execute(
                "UPDATE stores SET provider = ?, feed = ?, adjustment = ?, asof = ?, session = ?, closing_auction = ? "
                "WHERE store_id = ?",
                (*bound, closing_auction, self._file.store_id),
            )

    def dataset(self) -> tuple[DatasetIdentity, SessionKind] | None:
        with self._file.rows(SELECT_DATASET) as rows:
            identity, kind = _dataset(*rows[0]) if rows else (None, None)
        return (identity, kind) if identity and kind else None

    def closing_auction(self) -> int | None:
        with self._file.rows(SELECT_CLOSING_AUCTION) as rows:
            return next((minute for (minute,) in rows), None)

    def version(self) -> tuple[int, int]:
        """Return what changes whenever something is recorded, by whichever process, while this state is open."""
        return self._file.version()

    def was_replaced(self) -> bool:
        """Return whether the file was moved away or replaced since it was opened, so that what it has is old."""
        return self._file.was_replaced()

    def close(self) -> None:
        self._file.close()

    def _refuse_others(
        self, known: DatasetIdentity | None, hours: SessionKind | None, identity: DatasetIdentity, kind: SessionKind
    ) -> None:
        if known not in (None, identity):
            raise DatasetMismatchError(
                f"{self._path} has checkpoints of {known}; {identity} was requested. "
                "Give another output_path, or another state_path if those bars are gone"
            )
        if hours is SessionKind.EXTENDED and kind is not hours:
            raise DatasetMismatchError(
                f"{self._path} has checkpoints of session {hours}; session {kind} was requested. "
                f"Give another output_path, or request session {hours}"
            )


class SQLiteJobs:
    """``Jobs`` of one store, in the table jobs."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def open(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        ours, abandoned = self._file.holder_name(), self._abandoned()
        wanted = len(scope.symbols), str(scope.first), str(scope.last), str(scope.session_kind)
        with self._file.transaction() as connection:
            connection.executemany(
                "UPDATE jobs SET state = ?, finished_at = coalesce("
                "(SELECT max(checked_at) FROM checkpoints WHERE job_id = jobs.job_id), started_at) "
                "WHERE job_id = ? AND state = ?",
                [(str(JobState.INTERRUPTED), job_id, str(JobState.RUNNING)) for job_id in abandoned],
            )
            cursor = connection.execute(
                "INSERT INTO jobs (store_id, state, started_at, symbols, first, last, session, planned, holder) "
                "VALUES (?,?,?,?,?,?,?,?,?)",
                (self._file.store_id, str(JobState.RUNNING), str(now), *wanted, planned, ours),
            )
            return int(cursor.lastrowid or 0)

    def close(self, job: IngestionJob, now: Timestamp) -> None:
        with self._file.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, planned = ?, done = ?, failed = ? WHERE job_id = ?",
                (str(job.state), str(now), *job.totals, job.job_id),
            )

    def interrupted(self) -> Sequence[InterruptedJob]:
        stopped, abandoned = str(JobState.INTERRUPTED), set(self._abandoned())
        with self._file.rows(SELECT_SCOPES) as rows:
            return [
                InterruptedJob(
                    job, Timestamp.parse(begun), TradingDate.parse(first), TradingDate.parse(last), SessionKind(session)
                )
                for state, job, begun, first, last, session in rows
                if state == stopped or job in abandoned
            ]

    def latest(self, most: int) -> Sequence[JobRecord]:
        with self._file.rows(SELECT_LATEST_JOBS, most) as rows:
            return [
                JobRecord(job, state, begun, ended, symbols, TradingDate.parse(first), TradingDate.parse(last), *counts)
                for job, state, begun, ended, symbols, first, last, *counts in rows
            ]

    def _abandoned(self) -> list[int]:
        """Return the running jobs whose process has ended, and our own: a process opens one job at a time."""
        rows = self._file.query(
            "SELECT job_id, coalesce(holder, '') FROM jobs WHERE store_id = ? AND state = ?",
            (self._file.store_id, str(JobState.RUNNING)),
        )
        gone = {self._file.holder_name(), *self._file.dead(sorted({holder for _, holder in rows}))}
        return [job_id for job_id, holder in rows if holder in gone]


class SQLiteStatistics:
    """``Statistics`` of one store, over the tables checkpoints and partitions."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def typical_volumes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, TypicalVolume]:
        found = {symbol: _volume_of([self._volume(str(symbol))]) for symbol in symbols}
        return {symbol: volume for symbol, volume in found.items() if volume}

    def typical_volume(self) -> TypicalVolume | None:
        symbols = [name for (name,) in self._file.query(SELECT_STORED_SYMBOLS, (self._file.store_id,))]
        return _volume_of([self._volume(name) for name in even_sample(symbols, SYMBOLS_OF_A_VOLUME)])

    def summaries(self) -> Sequence[SymbolSummary]:
        with self._file.rows(SELECT_SUMMARIES) as rows:
            return [
                SymbolSummary(Symbol(symbol), TradingDate.parse(first), TradingDate.parse(last), *counts)
                for symbol, first, last, *counts in rows
            ]

    def recorded_files(self, symbol: Symbol) -> Mapping[TradingDate, RecordedFile]:
        with self._file.rows(SELECT_FILES, str(symbol)) as rows:
            return {TradingDate.parse(date): RecordedFile(Outcome(outcome), *sizes) for date, outcome, *sizes in rows}

    def _volume(self, symbol: str) -> tuple[int | None, int | None, int]:
        ((bars, size, days),) = self._file.query(SELECT_VOLUME, (self._file.store_id, symbol))
        return bars, size, days


def _dataset(
    provider: str | None, feed: str, adjustment: str, asof: str | None, session: str | None
) -> tuple[DatasetIdentity | None, SessionKind | None]:
    identity = None if provider is None else DatasetIdentity(provider, feed, adjustment, asof or NO_MAPPING)
    try:
        return identity, None if session is None else SessionKind(session)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _volume_of(rows: Iterable[tuple[int | None, int | None, int]]) -> TypicalVolume | None:
    """Average the rows of ``SELECT_VOLUME``, one for each symbol; None if nothing is stored."""
    found = [(bars, size, days) for bars, size, days in rows if bars and size]
    bars, size, days = (sum(each) for each in zip(*found, strict=True)) if found else (0, 0, 0)
    return TypicalVolume(bars / days, size / bars, days) if bars else None
