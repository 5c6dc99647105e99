"""The state of one store: ``SqlState`` composes its roles (checkpoints, jobs, leases and others) over one database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from marketpipe.ingestion.domain.ingestion_job import IngestionJob, InterruptedJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, TypicalVolume, even_sample
from marketpipe.ingestion.domain.store_status import JobRecord, RecordedFile, SymbolSummary
from marketpipe.ingestion.infrastructure.sql.checkpoints import SELECT_STORED_SYMBOLS, SqlCheckpoints
from marketpipe.ingestion.infrastructure.sql.database import Connection, Database
from marketpipe.ingestion.infrastructure.sql.file_catalog import SqlFileCatalog
from marketpipe.ingestion.infrastructure.sql.file_digests import SqlFileDigests
from marketpipe.ingestion.infrastructure.sql.official_years import SqlOfficialYears
from marketpipe.ingestion.infrastructure.sql.runs import SqlRuns
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, ValidationError
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING, DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate

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
    "SELECT c.symbol, min(c.trading_date), max(c.trading_date), count(*) FILTER (WHERE outcome = 'complete'), "
    "count(*) FILTER (WHERE outcome = 'empty'), count(*) FILTER (WHERE outcome = 'partial'), "
    "count(*) FILTER (WHERE outcome = 'failed'), CAST(coalesce(sum(p.rows), 0) AS BIGINT), "
    "CAST(sum(c.rejected) AS BIGINT), CAST(coalesce(sum(p.bytes), 0) AS BIGINT) "
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
SELECT CAST(sum(rows) AS BIGINT), CAST(sum(bytes) AS BIGINT), count(*) FROM (
    SELECT rows, bytes FROM partitions WHERE store_id = ? AND symbol = ? ORDER BY trading_date DESC
    LIMIT {DAYS_OF_A_VOLUME}
) AS latest
"""


class SqlState:
    """``IngestionState`` of one store in a database, which may hold several stores; its leases are the subclass's."""

    def __init__(self, database: Database, place: str) -> None:
        """``place`` names the database in messages."""
        self._database, self._place = database, place
        self.checkpoints = SqlCheckpoints(database)
        self.jobs = SqlJobs(database)
        self.statistics = SqlStatistics(database)
        self.runs = SqlRuns(database)
        self.file_digests = SqlFileDigests(database)
        self.file_catalog = SqlFileCatalog(database)
        self.official_years = SqlOfficialYears(database)

    def together(self) -> AbstractContextManager[None]:
        """Let all that this thread records inside be one transaction, committed durably at the end.

        Whatever raises inside ends the transaction, and nothing of it is recorded.
        """
        return self._database.together()

    @contextmanager
    def alone_until_committed(self) -> Iterator[None]:
        """Let no other process do the same before what is recorded inside is committed, by the outermost ``together``.

        A lock that ends before the commit would let the next one read what was there before it.
        """
        with self._database.together(), self._database.transaction() as connection:
            self._database.one_at_a_time(connection)
            yield

    def bind_dataset(self, identity: DatasetIdentity, kind: SessionKind, closing_auction: int | None = None) -> None:
        bound = identity.provider, identity.feed, identity.adjustment, identity.asof, str(kind)
        self._database.holder_name()  # from here on other processes see that this store is in use
        with self._database.transaction() as connection:
            self._database.one_at_a_time(connection)
            (known,) = connection.execute(SELECT_DATASET, (self._database.store_id,)).fetchall()
            self._refuse_others(*_dataset(*known), identity, kind)
            connection.execute(
                "UPDATE stores SET provider = ?, feed = ?, adjustment = ?, asof = ?, session = ?, closing_auction = ? "
                "WHERE store_id = ?",
                (*bound, closing_auction, self._database.store_id),
            )

    def dataset(self) -> tuple[DatasetIdentity, SessionKind] | None:
        with self._database.rows(SELECT_DATASET) as rows:
            identity, kind = _dataset(*rows[0]) if rows else (None, None)
        return (identity, kind) if identity and kind else None

    def closing_auction(self) -> int | None:
        with self._database.rows(SELECT_CLOSING_AUCTION) as rows:
            return next((minute for (minute,) in rows), None)

    def version(self) -> object:
        """Return what changes whenever something is recorded, by whichever process, while this state is open."""
        return self._database.version()

    def was_replaced(self) -> bool:
        """Return whether the state was archived or replaced since it was opened, so that what it has is old."""
        return self._database.was_replaced()

    def close(self) -> None:
        self._database.close()

    def _refuse_others(
        self, known: DatasetIdentity | None, hours: SessionKind | None, identity: DatasetIdentity, kind: SessionKind
    ) -> None:
        if known not in (None, identity):
            raise DatasetMismatchError(
                f"{self._place} has checkpoints of {known}; {identity} was requested. "
                "Give another output_path, or another state_path if those bars are gone"
            )
        if hours is SessionKind.EXTENDED and kind is not hours:
            raise DatasetMismatchError(
                f"{self._place} has checkpoints of session {hours}; session {kind} was requested. "
                f"Give another output_path, or request session {hours}"
            )


class SqlJobs:
    """``Jobs`` of one store, in the table jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        ours, abandoned = self._database.holder_name(), self._abandoned()
        wanted = len(scope.symbols), str(scope.first), str(scope.last), str(scope.session_kind)

        def write(connection: Connection) -> int:
            connection.executemany(
                "UPDATE jobs SET state = ?, finished_at = coalesce("
                "(SELECT max(checked_at) FROM checkpoints WHERE job_id = jobs.job_id), started_at) "
                "WHERE job_id = ? AND state = ?",
                [(str(JobState.INTERRUPTED), job_id, str(JobState.RUNNING)) for job_id in abandoned],
            )
            ((job_id,),) = connection.execute(
                "INSERT INTO jobs (store_id, state, started_at, symbols, first, last, session, planned, holder) "
                "VALUES (?,?,?,?,?,?,?,?,?) RETURNING job_id",
                (self._database.store_id, str(JobState.RUNNING), str(now), *wanted, planned, ours),
            ).fetchall()
            return int(job_id)

        return self._database.carry_out(write)

    def close(self, job: IngestionJob, now: Timestamp) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, planned = ?, done = ?, failed = ? WHERE job_id = ?",
                (str(job.state), str(now), *job.totals, job.job_id),
            )

    def interrupted(self) -> Sequence[InterruptedJob]:
        stopped, abandoned = str(JobState.INTERRUPTED), set(self._abandoned())
        with self._database.rows(SELECT_SCOPES) as rows:
            return [
                InterruptedJob(
                    job, Timestamp.parse(begun), TradingDate.parse(first), TradingDate.parse(last), SessionKind(session)
                )
                for state, job, begun, first, last, session in rows
                if state == stopped or job in abandoned
            ]

    def latest(self, most: int) -> Sequence[JobRecord]:
        with self._database.rows(SELECT_LATEST_JOBS, most) as rows:
            return [
                JobRecord(job, state, begun, ended, symbols, TradingDate.parse(first), TradingDate.parse(last), *counts)
                for job, state, begun, ended, symbols, first, last, *counts in rows
            ]

    def _abandoned(self) -> list[int]:
        """Return the running jobs whose process has ended, and our own: a process opens one job at a time."""
        rows = self._database.query(
            "SELECT job_id, coalesce(holder, '') FROM jobs WHERE store_id = ? AND state = ?",
            (self._database.store_id, str(JobState.RUNNING)),
        )
        gone = {self._database.holder_name(), *self._database.dead(sorted({holder for _, holder in rows}))}
        return [job_id for job_id, holder in rows if holder in gone]


class SqlStatistics:
    """``Statistics`` of one store, over the tables checkpoints and partitions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def typical_volumes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, TypicalVolume]:
        found = {symbol: _volume_of([self._volume(str(symbol))]) for symbol in symbols}
        return {symbol: volume for symbol, volume in found.items() if volume}

    def typical_volume(self) -> TypicalVolume | None:
        symbols = [name for (name,) in self._database.query(SELECT_STORED_SYMBOLS, (self._database.store_id,))]
        return _volume_of([self._volume(name) for name in even_sample(symbols, SYMBOLS_OF_A_VOLUME)])

    def summaries(self) -> Sequence[SymbolSummary]:
        with self._database.rows(SELECT_SUMMARIES) as rows:
            return [
                SymbolSummary(Symbol(symbol), TradingDate.parse(first), TradingDate.parse(last), *counts)
                for symbol, first, last, *counts in rows
            ]

    def recorded_files(self, symbol: Symbol) -> Mapping[TradingDate, RecordedFile]:
        with self._database.rows(SELECT_FILES, str(symbol)) as rows:
            return {TradingDate.parse(date): RecordedFile(Outcome(outcome), *sizes) for date, outcome, *sizes in rows}

    def _volume(self, symbol: str) -> tuple[int | None, int | None, int]:
        ((bars, size, days),) = self._database.query(SELECT_VOLUME, (self._database.store_id, symbol))
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
