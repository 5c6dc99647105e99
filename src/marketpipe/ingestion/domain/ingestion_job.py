from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.outcome_ledger import OutcomeLedger
from marketpipe.ingestion.domain.plan_estimate import PlanEstimate
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome


class JobState(Enum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    def __str__(self) -> str:
        return self.value


_NEXT: Final = {
    JobState.PENDING: {JobState.RUNNING},
    JobState.RUNNING: {JobState.COMPLETED, JobState.FAILED, JobState.INTERRUPTED},
}


class IngestionJob:
    """One run over one scope. It ends completed only when every planned symbol-day is known and none has failed."""

    def __init__(
        self,
        job_id: int,
        scope: IngestionScope,
        *,
        planned: int,
        settled: int = 0,
        not_begun: int = 0,
        estimate: PlanEstimate | None = None,
    ) -> None:
        """``planned``, ``settled`` before and ``not_begun`` yet: symbol-days, which together are the scope.

        ``estimate`` is what the job was expected to cost.
        """
        self.job_id, self.scope, self.estimate = job_id, scope, estimate
        self.planned, self.settled, self.not_begun = planned, settled, not_begun
        self._state = JobState.PENDING
        self._outcomes = OutcomeLedger()
        self._noted = 0

    @property
    def state(self) -> JobState:
        return self._state

    @property
    def outcomes(self) -> Mapping[SymbolDay, SymbolDayOutcome]:
        """Of the symbol-days this job has asked for."""
        return MappingProxyType(self._outcomes)

    @property
    def left(self) -> int:
        """Planned symbol-days of which nothing is known yet."""
        return max(0, self.planned - self._noted)

    @property
    def counts(self) -> Mapping[Outcome, int]:
        return self._outcomes.counts()

    def start(self) -> None:
        self._become(JobState.RUNNING)

    def absorb(self, outcomes: Iterable[SymbolDayOutcome]) -> None:
        if self._state is not JobState.RUNNING:
            raise StateError(f"job {self.job_id} is {self._state} and takes no more outcomes")
        for outcome in outcomes:
            earlier = self._outcomes.get(outcome.symbol_day)
            if earlier is None or earlier.error is None:  # asked for in two parts, and one has failed: so it stays
                self._outcomes.put(outcome)
            self._noted += 1

    def finish(self) -> None:
        whole = self._noted >= self.planned and not self.counts.get(Outcome.FAILED)
        self._become(JobState.COMPLETED if whole else JobState.FAILED)

    def interrupt(self) -> None:
        self._become(JobState.INTERRUPTED)

    def _become(self, state: JobState) -> None:
        if state not in _NEXT.get(self._state, set()):
            raise StateError(f"job {self.job_id} cannot go from {self._state} to {state}")
        self._state = state
