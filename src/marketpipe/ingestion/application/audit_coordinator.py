"""The audit: settled symbol-days are requested again and compared with the stored bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from marketpipe.ingestion.application.batch_runner import BatchRunner
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import WantedDates
from marketpipe.ingestion.application.ports import Checkpoints
from marketpipe.ingestion.domain.ingestion_checkpoint import contradiction
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.domain.restatement import Restatement, SampleShare
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import MarketPipeError
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import AuditFinished, AuditStarted, BarsCompared, BarsExhausted, BarsRequested

IN_PARTS = "the provider sent it in several parts, which cannot be compared"


@frozen
class AuditFindings:
    """The result of an audit: each requested symbol-day is either ``compared`` or a failure with its reason."""

    compared: Mapping[SymbolDay, DayComparison] = field(repr=lambda days: f"<{len(days)} symbol-days>")
    failures: Mapping[SymbolDay, str]


@define
class _BatchFindings:
    compared: dict[SymbolDay, DayComparison] = field(factory=dict)
    failures: dict[SymbolDay, str] = field(factory=dict)

    def open_days(self, request: BarsRequest) -> list[SymbolDay]:
        return [day for day in request.symbol_days if day not in self.compared and day not in self.failures]

    def fail(self, days: Sequence[SymbolDay], reason: str) -> None:
        self.failures.update(dict.fromkeys(days, reason))


class AuditCoordinator:
    """Requests settled symbol-days again and has them compared, bar by bar. Changes nothing.

    It has a bus of its own: bars that are compared must not be stored.
    """

    def __init__(
        self, planner: IngestionPlanner, checkpoints: Checkpoints, bus: EventBus, clock: Clock, runner: BatchRunner
    ) -> None:
        self._planner, self._checkpoints = planner, checkpoints
        self._bus, self._clock, self._runner = bus, clock, runner
        self._begun: dict[int, _BatchFindings] = {}

    def audit(self, scope: IngestionScope, sample: SampleShare | None = None) -> AuditFindings:
        """Compare the scope, or a ``sample`` of its sessions with a settled day; another day draws another sample.

        Raises ``CredentialsError``.
        """
        self._runner.go()
        self._begun.clear()
        plan = self._planner.plan_again(scope, self._wanted(scope, sample))
        self._bus.publish(AuditStarted(plan.planned, len(plan.batches)))
        self._runner.run(plan.batches, self._run)
        findings = self._findings(plan.batches)
        differing = sum(day.differs for day in findings.compared.values())
        self._bus.publish(AuditFinished(len(findings.compared), differing))
        return findings

    def doubt_withdrawn(self, findings: AuditFindings) -> None:
        """Mark the days with stored bars for which the provider returned none: the next ingestion requests them again.

        If the provider repeats it then, they are withdrawn.
        """
        reasons = defaultdict[Symbol, dict[TradingDate, str]](dict)
        for day, found in findings.compared.items():
            if Restatement.of(found).is_withdrawn:
                reasons[day.symbol][day.trading_date] = contradiction(found.removed)
        for symbol, dates in reasons.items():
            self._checkpoints.mark_suspect(symbol, dates)

    def stop(self) -> None:
        self._runner.stop()

    def on_bars_compared(self, event: BarsCompared) -> None:
        findings, asked = self._begun[event.request.batch_id], set(event.request.symbol_days)
        for found in event.days:
            if found.symbol_day in asked:
                reason = IN_PARTS if found.symbol_day in findings.compared else found.error
                if reason is not None:
                    findings.failures[found.symbol_day] = reason
                findings.compared[found.symbol_day] = found

    def on_bars_exhausted(self, event: BarsExhausted) -> None:
        findings = self._begun[event.request.batch_id]
        reasons = {item.symbol: item.reason for item in event.refused}
        for day in findings.open_days(event.request):
            if day.symbol in reasons:
                findings.failures[day] = reasons[day.symbol]
            else:
                records = self._checkpoints.between(day.symbol, day.trading_date, day.trading_date)
                stored = sum(record.rows for record in records.values())
                findings.compared[day] = DayComparison(day, removed=stored)

    def _wanted(self, scope: IngestionScope, sample: SampleShare | None) -> WantedDates:
        settled = {symbol: self._settled(scope, symbol) for symbol in scope.symbols}
        if sample is None:
            return settled
        dates = sorted(set().union(*settled.values()))
        turn = TradingDate.of(self._clock.now()).day.toordinal()
        chosen = {dates[position] for position in sample.positions(len(dates), turn)}
        return {symbol: known & chosen for symbol, known in settled.items()}

    def _settled(self, scope: IngestionScope, symbol: Symbol) -> frozenset[TradingDate]:
        records = self._checkpoints.between(symbol, scope.first, scope.last)
        wanted = scope.session_kind.hours
        return frozenset(date for date, record in records.items() if record.settled_hours.covers(wanted))

    def _run(self, request: BarsRequest) -> MarketPipeError | None:
        findings = self._begun[request.batch_id] = _BatchFindings()
        try:
            self._bus.publish(BarsRequested(request))
        except MarketPipeError as error:
            findings.fail(findings.open_days(request), str(error))
            return error
        return None

    def _findings(self, batches: Sequence[BarsRequest]) -> AuditFindings:
        compared: dict[SymbolDay, DayComparison] = {}
        failures: dict[SymbolDay, str] = {}
        for batch in batches:
            findings = self._begun.get(batch.batch_id, _BatchFindings())
            findings.fail(findings.open_days(batch), "not requested: the audit was stopped before")
            failures |= findings.failures
            compared |= findings.compared
        return AuditFindings({day: found for day, found in compared.items() if day not in failures}, failures)
