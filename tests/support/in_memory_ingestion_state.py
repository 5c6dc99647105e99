"""``IngestionState`` in plain Python: what the port promises, without a file."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from attrs import evolve

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, JobState
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.store_summary import JobRecord, SymbolSummary
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, StateError
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay


class InMemoryIngestionState:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = True
        self._identity: DatasetIdentity | None = None
        self._jobs: dict[int, JobRecord] = {}
        self.checkpoints: dict[SymbolDay, IngestionCheckpoint] = {}
        self._files: dict[SymbolDay, StoredSymbolDay] = {}

    def claim(self, identity: DatasetIdentity) -> None:
        self._identity = self._identity or identity
        if self._identity != identity:
            raise DatasetMismatchError(f"checkpoints of {self._identity}; {identity} was asked for")

    def open_job(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        with self._lock:
            self._check_open()
            for number, job in self._jobs.items():
                if job.state == str(JobState.RUNNING):
                    ended = max((str(c.checked_at) for c in self._of_job(number)), default=job.started_at)
                    self._jobs[number] = evolve(job, state=str(JobState.INTERRUPTED), finished_at=ended)
            number = len(self._jobs) + 1
            size, state = len(scope.symbols), str(JobState.RUNNING)
            self._jobs[number] = JobRecord(number, state, str(now), None, size, scope.first, scope.last, planned, 0, 0)
            return number

    def close_job(self, job: IngestionJob, now: Timestamp) -> None:
        failed = sum(result.outcome is Outcome.FAILED for result in job.outcomes.values())
        with self._lock:
            self._check_open()
            self._jobs[job.job_id] = evolve(
                self._jobs[job.job_id],
                state=str(job.state),
                finished_at=str(now),
                planned=job.planned,
                done=len(job.outcomes) - failed,
                failed=failed,
            )

    def record(self, checkpoints: Sequence[IngestionCheckpoint]) -> None:
        newer = {checkpoint.result.symbol_day: checkpoint for checkpoint in checkpoints}
        files = {day: found.stored for day, found in newer.items() if found.stored and found.stored.sha256}
        with self._lock:
            self._check_open()
            self.checkpoints |= newer
            self._files |= files
            for checkpoint in checkpoints:
                if job := self._jobs.get(checkpoint.job_id):
                    missed = int(checkpoint.result.outcome is Outcome.FAILED)
                    self._jobs[checkpoint.job_id] = evolve(job, done=job.done + 1 - missed, failed=job.failed + missed)
            for day, checkpoint in newer.items():
                if checkpoint.result.outcome is Outcome.EMPTY:
                    self._files.pop(day, None)

    def _of_job(self, job_id: int) -> list[IngestionCheckpoint]:
        return [checkpoint for checkpoint in self.checkpoints.values() if checkpoint.job_id == job_id]

    def settled(self, scope: IngestionScope) -> Mapping[Symbol, frozenset[TradingDate]]:
        found: defaultdict[Symbol, set[TradingDate]] = defaultdict(set)
        for day, checkpoint in self._snapshot().items():
            wanted = day.symbol in scope.symbols and scope.first <= day.trading_date <= scope.last
            enough = checkpoint.result.outcome.is_settled and checkpoint.session_kind.covers(scope.session_kind)
            if wanted and enough:
                found[day.symbol].add(day.trading_date)
        return {symbol: frozenset(dates) for symbol, dates in found.items()}

    def recorded_sizes(self, scope: IngestionScope) -> Mapping[Symbol, Mapping[TradingDate, int]]:
        self._snapshot()
        found: defaultdict[Symbol, dict[TradingDate, int]] = defaultdict(dict)
        for day, file in self._files.items():
            if day.symbol in scope.symbols and scope.first <= day.trading_date <= scope.last:
                found[day.symbol][day.trading_date] = file.size_bytes
        return dict(found)

    def stored_bars(self, request: BarsRequest) -> Mapping[SymbolDay, int]:
        self._snapshot()
        return {day: self._files[day].rows for day in request.symbol_days if day in self._files}

    def typical_bars_per_day(self, symbols: Sequence[Symbol]) -> float | None:
        self._snapshot()
        rows = [file.rows for day, file in self._files.items() if day.symbol in symbols]
        return sum(rows) / len(rows) if rows else None

    def summaries(self) -> Sequence[SymbolSummary]:
        known = self._snapshot()
        return [self._summary(symbol, known) for symbol in sorted({day.symbol for day in known})]

    def jobs(self, most: int) -> Sequence[JobRecord]:
        self._snapshot()
        return sorted(self._jobs.values(), key=lambda job: job.job_id, reverse=True)[:most]

    def close(self) -> None:
        self._open = False

    def _summary(self, symbol: Symbol, known: Mapping[SymbolDay, IngestionCheckpoint]) -> SymbolSummary:
        days = sorted(day for day in known if day.symbol == symbol)
        results = [known[day].result for day in days]
        counts = Counter(result.outcome for result in results)
        files = [self._files[day] for day in days if day in self._files]
        return SymbolSummary(
            symbol,
            days[0].trading_date,
            days[-1].trading_date,
            complete=counts[Outcome.COMPLETE],
            empty=counts[Outcome.EMPTY],
            partial=counts[Outcome.PARTIAL],
            failed=counts[Outcome.FAILED],
            bars=sum(file.rows for file in files),
            rejected=sum(result.rejected for result in results),
            size_bytes=sum(file.size_bytes for file in files),
        )

    def _snapshot(self) -> dict[SymbolDay, IngestionCheckpoint]:
        with self._lock:
            self._check_open()
            return dict(self.checkpoints)

    def _check_open(self) -> None:
        if not self._open:
            raise StateError("the state is closed")
