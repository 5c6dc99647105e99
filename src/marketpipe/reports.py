"""What the commands of a pipeline come back with."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from marketpipe.ingestion.domain.plan_estimate import PlanEstimate
from marketpipe.ingestion.domain.store_summary import JobRecord, SymbolSummary
from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.shared_kernel.events.bar_events import RuleFinding


@frozen
class AggregationReport:
    """Aggregate files ``written`` anew, and those ``unchanged`` because they agree with their minutes.

    ``failures`` says of each symbol that could not be aggregated to the end what is wrong.
    """

    written: int
    unchanged: int
    failures: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.failures


@frozen
class PlanReport:
    """What an ingestion would ask for, in symbol-days, and what that is expected to cost.

    ``already_settled`` need no request, ``not_begun`` lie in sessions without bars yet. ``minutes`` is what the
    provider's rate makes the requests last at least; None where it has none.
    """

    planned: int
    already_settled: int
    not_begun: int
    estimate: PlanEstimate
    minutes: float | None


@frozen
class IngestionReport:
    """What one ingestion did. Counts are symbol-days but for ``bars``, ``rejected``, ``requests`` and ``warnings``.

    ``already_settled`` needed no request, ``not_begun`` lie in sessions without bars yet, ``left`` were planned and not
    asked for. ``outcomes`` has one entry for each symbol-day that was asked for. ``bars`` lie in the store for those;
    ``warnings`` counts them by rule. ``estimate`` is what the plan had expected.
    """

    job_id: int
    state: str
    planned: int
    already_settled: int
    not_begun: int
    requests: int
    seconds: float
    outcomes: Mapping[SymbolDay, SymbolDayOutcome] = field(repr=lambda outcomes: f"<{len(outcomes)} symbol-days>")
    warnings: Mapping[str, int] = field(factory=dict)
    aggregates: AggregationReport = AggregationReport(0, 0)
    estimate: PlanEstimate | None = None
    left: int = 0

    @property
    def ok(self) -> bool:
        """Complete: nothing that was asked for has failed or was left out, and the aggregates agree."""
        return self.state == "completed" and self.aggregates.ok

    @property
    def failures(self) -> Mapping[SymbolDay, str]:
        return {day: found.error for day, found in self.outcomes.items() if found.error is not None}

    @property
    def bars(self) -> int:
        return sum(found.rows for found in self.outcomes.values())

    @property
    def rejected(self) -> int:
        return sum(found.rejected for found in self.outcomes.values())

    def count(self, outcome: Outcome) -> int:
        return sum(found.outcome is outcome for found in self.outcomes.values())


@frozen
class ValidationReport:
    """What is wrong with the stored bars: ``findings`` by symbol-day and rule, ``damaged`` files with the reason."""

    bars: int
    symbol_days: int
    findings: tuple[RuleFinding, ...]
    damaged: Mapping[SymbolDay, str]

    @property
    def ok(self) -> bool:
        """Warnings do not make a store invalid."""
        return not self.damaged and not any(str(finding.severity) == "error" for finding in self.findings)


@frozen
class StatusReport:
    """``identity`` is None while nothing is stored, ``session`` while nobody has ingested; ``jobs``: latest first."""

    identity: DatasetIdentity | None
    symbols: tuple[SymbolSummary, ...]
    jobs: tuple[JobRecord, ...]
    session: SessionKind | None = None
