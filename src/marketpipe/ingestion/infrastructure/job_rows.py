"""Ingestion jobs, to and from the rows of the table jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, JobState
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.interrupted_job import InterruptedJob
from marketpipe.ingestion.domain.store_summary import JobRecord
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind


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
