from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict, define

from marketpipe.bootstrap.provider_parts import ProviderParts
from marketpipe.bootstrap.storage_parts import StorageParts
from marketpipe.config import PipelineConfig

if TYPE_CHECKING:
    from marketpipe.ingestion.application.batch_runner import BatchRunner
    from marketpipe.ingestion.application.coverage_assessor import CoverageAssessor
    from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
    from marketpipe.ingestion.application.ports import IngestionState
    from marketpipe.ingestion.domain.ingestion_plan import SessionFinality
    from marketpipe.ingestion.infrastructure.locks import AggregationLock, UpdateLock
    from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState

NOWHERE = Path(":memory:")


@define(slots=False)
class IngestionParts(StorageParts, ProviderParts):
    """What decides what to ask for, and remembers what became of it."""

    @cached_property
    def state(self) -> SQLiteState:
        return self._state_at(self.config.state_path)

    @property
    def known_state(self) -> SQLiteState:
        """What is known already, for those who only look: where there is no state yet, none is made on the disk."""
        return self.state if "state" in vars(self) or self.config.state_path.exists() else self._no_state

    @cached_property
    def update_lock(self) -> UpdateLock:
        from marketpipe.ingestion.infrastructure.locks import UpdateLock

        path, store = self.config.state_path, hashlib.sha256(self._location.encode()).hexdigest()[:12]
        return UpdateLock(path.with_name(f"{path.name}.{store}.update-lock"))

    @cached_property
    def aggregation_lock(self) -> AggregationLock:
        from marketpipe.ingestion.infrastructure.locks import AggregationLock

        path = self.config.state_path
        return AggregationLock(path.with_name(f"{path.name}.aggregation-lock"))

    def planner(self, state: IngestionState) -> IngestionPlanner:
        from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
        from marketpipe.ingestion.application.job_scheduler import JobScheduler
        from marketpipe.ingestion.domain.batch_packing import PackingLimits

        capabilities, workers = self.capabilities, self.ingestion_config.workers
        limits = PackingLimits(capabilities.bars_per_page, capabilities.symbols_per_request, workers)
        scheduler = JobScheduler(self.calendar, self._finality, limits)
        return IngestionPlanner(scheduler, state.checkpoints, state.statistics, self.inventory, self.clock)

    def assessor(self, state: SQLiteState) -> CoverageAssessor:
        from marketpipe.ingestion.application.coverage_assessor import CoverageAssessor
        from marketpipe.ingestion.domain.coverage.baseline import CoverageThresholds

        thresholds = CoverageThresholds(**asdict(self.config.coverage))
        return CoverageAssessor(
            self.calendar, self._finality, state.checkpoints, self.inventory, self.clock, thresholds
        )

    def runner(self, stop_workers: Callable[[], None] = lambda: None) -> BatchRunner:
        from marketpipe.ingestion.application.batch_runner import BatchRunner

        workers = self.ingestion_config.workers
        new_executor = self.new_executor or (lambda: ThreadPoolExecutor(workers, "marketpipe"))
        return BatchRunner(self.clock, new_executor, stop_workers)

    @property
    def _finality(self) -> SessionFinality:
        from marketpipe.ingestion.domain.ingestion_plan import SessionFinality
        from marketpipe.integration.domain.data_feed import USUAL_DELAY

        delay = self.capabilities.feed.delay if isinstance(self.config, PipelineConfig) else USUAL_DELAY
        return SessionFinality(delay)

    @cached_property
    def _no_state(self) -> SQLiteState:
        return self._state_at(NOWHERE)

    def _state_at(self, path: Path) -> SQLiteState:
        from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState

        return SQLiteState(path, self._location)

    @property
    def _location(self) -> str:
        """The store's name in the state file, which moves with the two of them."""
        return os.path.relpath(
            os.path.realpath(self.config.output_path), os.path.realpath(self.config.state_path.parent)
        )
