from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.ingestion_job import IngestionJob
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.store_summary import JobRecord, SymbolSummary
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate


class IngestionState(Protocol):
    """Jobs and checkpoints of one store, durable and safe to call from several threads. Raises ``StateError``."""

    def claim(self, identity: DatasetIdentity) -> None:
        """Says which dataset the checkpoints are of. Raises ``DatasetMismatchError`` where they are another's."""
        ...

    def open_job(self, scope: IngestionScope, now: Timestamp, planned: int = 0) -> int:
        """A new job's number. Jobs that a crash left running are closed as interrupted after their last checkpoint."""
        ...

    def close_job(self, job: IngestionJob, now: Timestamp) -> None: ...

    def record(self, checkpoints: Sequence[IngestionCheckpoint]) -> None:
        """All or none of them."""
        ...

    def settled(self, scope: IngestionScope) -> Mapping[Symbol, frozenset[TradingDate]]:
        """The dates of the scope that need no further request: complete or empty, for these hours or wider ones."""
        ...

    def recorded_sizes(self, scope: IngestionScope) -> Mapping[Symbol, Mapping[TradingDate, int]]:
        """The bytes of each file of the scope, as they were when it was written."""
        ...

    def stored_bars(self, request: BarsRequest) -> Mapping[SymbolDay, int]:
        """How many bars are stored of each symbol-day; those without are absent."""
        ...

    def typical_bars_per_day(self, symbols: Sequence[Symbol]) -> float | None:
        """The mean over what is stored of these symbols; None where that is nothing."""
        ...

    def summaries(self) -> Sequence[SymbolSummary]: ...

    def jobs(self, most: int) -> Sequence[JobRecord]:
        """The latest first."""
        ...

    def close(self) -> None: ...
