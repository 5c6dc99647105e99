"""Comparing stored bars with what the provider returns now: an audit, and the check before an adjusted store grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from attrs import define, evolve, field, frozen

from marketpipe.ingestion.application.batch_runner import FAILURES_IN_A_ROW, BatchRunner
from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
from marketpipe.ingestion.application.ingestion_planner import IngestionPlanner
from marketpipe.ingestion.application.job_scheduler import WantedDates
from marketpipe.ingestion.application.ports import Checkpoints
from marketpipe.ingestion.domain.ingestion_checkpoint import contradiction
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, JobState
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan, IngestionScope
from marketpipe.ingestion.domain.restatement import (
    FORMER_SCALE,
    Restatement,
    SampleShare,
    SymbolAdjustment,
    outermost,
    readjustments,
)
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import MarketPipeError
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import AuditFinished, AuditStarted, BarsCompared, BarsExhausted, BarsRequested

DateSpans = Mapping[Symbol, tuple[TradingDate, TradingDate]]
"""The first and the last stored date of each symbol."""
IN_PARTS = "the provider sent it in several parts, which cannot be compared"


@frozen
class AuditFindings:
    """The result of an audit: each requested symbol-day is either ``compared`` or a failure with its reason.

    The ``unreadable`` ones failed because of their stored files.
    """

    compared: Mapping[SymbolDay, DayComparison] = field(repr=lambda days: f"<{len(days)} symbol-days>")
    failures: Mapping[SymbolDay, str]
    unreadable: frozenset[SymbolDay] = frozenset()


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

        Raises ``JobStoppingError``.
        """
        plan = self._planner.plan_again(scope, self._wanted(scope, sample))
        self._bus.publish(AuditStarted(plan.planned, len(plan.batches)))
        findings = self._compare(plan)
        differing = sum(day.differs for day in findings.compared.values())
        self._bus.publish(AuditFinished(len(findings.compared), differing))
        return findings

    def compare(self, scope: IngestionScope, wanted: WantedDates) -> AuditFindings:
        """Compare just the ``wanted`` dates of the scope, whatever is known of them. Raises ``CredentialsError``."""
        return self._compare(self._planner.plan_again(scope, wanted))

    def _compare(self, plan: IngestionPlan) -> AuditFindings:
        self._begun.clear()
        self._runner.run(plan.batches, self._run)
        return self._findings(plan.batches)

    @property
    def is_stopping(self) -> bool:
        return self._runner.stopping

    def mark_withdrawn(self, findings: AuditFindings) -> None:
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

    def go(self) -> None:
        self._runner.go()

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
        unreadable = frozenset(day for day, found in compared.items() if found.error is not None)
        good = {day: found for day, found in compared.items() if day not in failures}
        return AuditFindings(good, failures, unreadable)


@frozen
class ScaleReport:
    """What was done before an adjusted store grows: ``jobs`` requested the history of the ``readjusted`` symbols again.

    The ``blocked`` symbols must not grow in this run, each for its reason: days of another scale would be added.
    """

    readjusted: tuple[SymbolAdjustment, ...] = ()
    jobs: tuple[IngestionJob, ...] = ()
    blocked: Mapping[SymbolDay, str] = field(factory=dict)
    stopped: bool = False

    def growing(self, scope: IngestionScope) -> IngestionScope | None:
        """Return the scope of the symbols that may grow; None if there are none."""
        blocked = {day.symbol for day in self.blocked}
        symbols = tuple(symbol for symbol in scope.symbols if symbol not in blocked)
        return None if self.stopped or not symbols else evolve(scope, symbols=symbols)


class ScaleKeeper:
    """Keeps the prices of each symbol of an adjusted store in one scale. See docs/adr/0029.

    A provider of adjusted prices changes the whole history of a symbol with each split and dividend. So before days are
    added, stored days are compared with what it returns now, and the history of a symbol that differs is requested
    again, all days but the oldest one, and then that. A run that is killed in between leaves the oldest day in the
    former scale, so that the next run finds it, even if the state was lost.
    """

    def __init__(
        self,
        audit: AuditCoordinator,
        ingestion: IngestionCoordinator,
        planner: IngestionPlanner,
        checkpoints: Checkpoints,
    ) -> None:
        self._audit, self._ingestion = audit, ingestion
        self._planner, self._checkpoints = planner, checkpoints

    def keep(
        self, scope: IngestionScope, suspect: Collection[SymbolDay] = (), *, all_symbols: bool = False
    ) -> ScaleReport:
        """Compare the symbols of the scope that lack minutes, and those that a killed run has left, and renew them.

        ``all_symbols``: compare also those that lack no minutes; official days are going to be requested.
        """
        self._ingestion.bind(scope)  # before anything is requested
        unfinished = self._checkpoints.failed_for(FORMER_SCALE)
        growing = scope.symbols if all_symbols else self._lacking(scope, suspect)
        wanted = unfinished.union(growing)
        spans = {symbol: span for symbol, span in self._checkpoints.stored_spans().items() if symbol in wanted}
        if not spans:
            return ScaleReport()
        history = _history(spans, scope)
        compared, blocked = self._compare(history, list(spans), spans)
        if self._audit.is_stopping:
            return ScaleReport(stopped=True)
        changed = readjustments((compared[day] for day in sorted(compared)), spans)
        report = self.renew({s: spans[s] for s in spans if s in changed or s in unfinished}, scope, changed)
        return evolve(report, blocked={**blocked, **report.blocked})

    def _lacking(self, scope: IngestionScope, suspect: Collection[SymbolDay]) -> Collection[Symbol]:
        return {symbol for batch in self._planner.plan(scope, suspect).batches for symbol in batch.symbols}

    def _compare(
        self, scope: IngestionScope, symbols: Sequence[Symbol], spans: DateSpans, failures: int = 0
    ) -> tuple[dict[SymbolDay, DayComparison], dict[SymbolDay, str]]:
        """Return the comparisons, and the reasons of symbols that could not be compared.

        Symbols that fail together are compared in halves, so that one of them blocks no other; not if the provider
        fails whatever is requested.
        """
        findings = self._audit.compare(scope, outermost({symbol: spans[symbol] for symbol in symbols}))
        compared, unknown = dict(findings.compared), _unknown(findings)
        left = sorted({day.symbol for day in unknown})
        if len(left) < 2 or failures >= FAILURES_IN_A_ROW or self._audit.is_stopping:
            return compared, unknown
        unknown.clear()
        for half in (left[: len(left) // 2], left[len(left) // 2 :]):
            some, reasons = self._compare(scope, half, spans, 0 if compared else failures + 1)
            compared.update(some)
            unknown.update(reasons)
            failures = 0 if some else failures + 1
        return compared, unknown

    def renew(self, spans: DateSpans, scope: IngestionScope, changed: Mapping[Symbol, SymbolAdjustment]) -> ScaleReport:
        """Request the whole history of these symbols again."""
        if not spans:
            return ScaleReport()
        history, wanted = _history(spans, scope), {symbol: self._marked(symbol, scope, spans) for symbol in spans}
        # The minutes are marked by now, and get no second mark for each official day that has changed.
        self._ingestion.request_official_days_again(history)
        newer = {symbol: dates - {spans[symbol][0]} for symbol, dates in wanted.items()}
        jobs = [self._ingestion.ingest_again(history, {symbol: dates for symbol, dates in newer.items() if dates})]
        failed = {day.symbol for day, found in jobs[0].outcomes.items() if found.outcome is Outcome.FAILED}
        oldest = {symbol: dates - newer[symbol] for symbol, dates in wanted.items() if symbol not in failed}
        if jobs[0].state is not JobState.INTERRUPTED and any(oldest.values()):
            jobs.append(self._ingestion.ingest_again(history, {s: dates for s, dates in oldest.items() if dates}))
        failed |= {day.symbol for job in jobs for day, found in job.outcomes.items() if found.outcome is Outcome.FAILED}
        blocked = {SymbolDay(symbol, spans[symbol][0]): FORMER_SCALE for symbol in failed}
        stopped = any(job.state is JobState.INTERRUPTED for job in jobs)
        return ScaleReport(tuple(changed[symbol] for symbol in sorted(changed)), tuple(jobs), blocked, stopped)

    def _marked(self, symbol: Symbol, scope: IngestionScope, spans: DateSpans) -> frozenset[TradingDate]:
        """Mark the days to request again, and return them: all with bars, or those that a killed run has left.

        Days for which the provider returned no bars are left out: the next ingestion requests them again anyway.
        """
        records = self._checkpoints.between(symbol, *spans[symbol])
        stored = {date: found for date, found in records.items() if found.version and not found.contradictions}
        left = frozenset(date for date, found in stored.items() if found.outcome is Outcome.FAILED)
        done, was_killed = sorted(stored.keys() - left), any(stored[date].error == FORMER_SCALE for date in left)
        if was_killed and done and not self._differs(symbol, scope, (done[0], done[-1])):
            return left
        self._checkpoints.mark_suspect(symbol, dict.fromkeys(stored, FORMER_SCALE))
        return frozenset(stored)

    def _differs(self, symbol: Symbol, scope: IngestionScope, span: tuple[TradingDate, TradingDate]) -> bool:
        """Whether days that were requested again are in another scale by now, or cannot be compared."""
        spans = {symbol: span}
        findings = self._audit.compare(_history(spans, scope), outermost(spans))
        return bool(findings.failures) or any(found.scale is not None for found in findings.compared.values())


def _history(spans: DateSpans, scope: IngestionScope) -> IngestionScope:
    first, last = min(first for first, _ in spans.values()), max(last for _, last in spans.values())
    return IngestionScope(tuple(spans), first, last, scope.session_kind)


def _unknown(findings: AuditFindings) -> dict[SymbolDay, str]:
    """Return a reason for each symbol none of whose days could be compared, unless because of its own files."""
    known = {day.symbol for day in (*findings.compared, *findings.unreadable)}
    reason = "its stored bars could not be compared with what the provider returns now, so that none are added"
    return {day: f"{reason}: {error}" for day, error in findings.failures.items() if day.symbol not in known}
