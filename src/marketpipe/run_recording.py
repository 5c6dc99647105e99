"""How each run of the façade ended: published as an event, and recorded in the state for metrics of later processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, TypeVar

from attrs import define, field

from marketpipe.ingestion.domain.restatement import SymbolAdjustment
from marketpipe.ingestion.domain.store_status import RunRecord
from marketpipe.measuring import OUTDATED
from marketpipe.metrics import RunTotals, series
from marketpipe.metrics.series import COMPLETED, FAILED, INTERRUPTED
from marketpipe.parts import Parts
from marketpipe.reports import AuditReport, ImportReport, IngestionReport
from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    IngestionInterrupted,
    PipelineClosedError,
    StateError,
    StoreBusyError,
    ValidationError,
)
from marketpipe.shared_kernel.domain.store_inventory import TotalKey
from marketpipe.shared_kernel.domain.symbol import SymbolDay
from marketpipe.shared_kernel.events import RestatementsAdopted, RestatementsFound, RunFinished
from marketpipe.storage.application.aggregate_refresher import STOPPED
from marketpipe.storage.domain.integrity import IntegrityReport
from marketpipe.storage.domain.storage_metadata import AggregationReport

from . import place_parts

logger = logging.getLogger("marketpipe.ingestion")
T = TypeVar("T")
NOT_BEGUN: Final = (ConfigurationError, ValidationError, StoreBusyError, PipelineClosedError)
"""Errors of a run that was refused: it did nothing, and the record of the last run stays."""
AUDIT, ADJUSTMENT = "audit", "adjustment"


class RunRecorder:
    """Records the runs of one pipeline; ``totals`` are what they counted."""

    def __init__(self, parts: Parts, totals: RunTotals, deliver: Callable[[bool], None]) -> None:
        """``deliver`` writes and pushes the metrics; it is given whether to find the verdicts of coverage for them."""
        self._parts, self._totals, self._deliver = parts, totals, deliver

    def run(self, kind: str) -> RecordedRun:
        """Return a run, to be used as ``with recorder.run("update") as ended: return ended(report)``."""
        return RecordedRun(kind, self._parts.clock.monotonic(), self._finish)

    def _finish(self, run: RecordedRun, state: str) -> None:
        if run.kind == AUDIT and self._parts.is_stopped:  # its report does not tell: what it left has failed
            state = INTERRUPTED
        clock, publish = self._parts.clock, self._parts.bus.publish
        now, seconds = clock.now(), clock.monotonic() - run.started
        for event in _restatements(run.report):
            publish(event)
        publish(RunFinished(run.kind, state, now, seconds))
        counted = self._totals.take()
        try:
            recorded = place_parts.known_state(self._parts).runs
            recorded.record(RunRecord(run.kind, state, now, seconds), counted, _stated(run.report, counted))
        except StateError as error:  # such as that of a store that can only be read: the run itself is over
            self._totals.put_back(counted)
            logger.info("the end of the run was not recorded: %s", error)
        self._deliver(state != INTERRUPTED)  # a user who stops a run does not wait for verdicts


@define(eq=False)
class RecordedRun:
    """One run, from its first moment; a context manager that yields the function which is given its report."""

    kind: str
    started: float
    _finish: Callable[[RecordedRun, str], None]
    report: object = field(init=False, default=None)

    def __enter__(self) -> Callable[[T], T]:
        def ended(report: T) -> T:
            self.report = report
            return report

        return ended

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, NOT_BEGUN):
            return
        if error is not None:
            was_stopped = isinstance(error, IngestionInterrupted) or not isinstance(error, Exception)
            self._finish(self, INTERRUPTED if was_stopped else FAILED)
        elif (state := _state_of(self.report)) is not None:
            self._finish(self, state)


def _state_of(report: object) -> str | None:
    """Return the state of the run that made the report; None for an import that was only tried."""
    match report:
        case IngestionReport():
            return FAILED if report.state == COMPLETED and not report.ok else report.state
        case ImportReport():
            return _state_of(report.ingestion) if report.ingestion else None
        case AggregationReport():
            return INTERRUPTED if STOPPED in report.failures else COMPLETED if report.ok else FAILED
        case IntegrityReport():
            return COMPLETED if report.ok else FAILED
        case AuditReport():
            return FAILED if report.failures or not (report.adopted is None or report.adopted.ok) else COMPLETED
    return COMPLETED


def _restatements(report: object) -> list[RestatementsFound | RestatementsAdopted]:
    found = list[RestatementsFound | RestatementsAdopted]()
    if isinstance(report, AuditReport):
        differing, adopted = len(report.restatements), len(_adopted(report))
        found += [RestatementsFound(AUDIT, differing)] if differing else []
        found += [RestatementsAdopted(AUDIT, adopted)] if adopted else []
    if isinstance(report, IngestionReport) and report.readjusted:
        days = sum(_is_of(report.readjusted, day) for day in report.outcomes)
        stored = sum(_is_of(report.readjusted, day) for day in report.outcomes if day not in report.failures)
        found += [RestatementsFound(ADJUSTMENT, days), RestatementsAdopted(ADJUSTMENT, stored)]
    return found


def _is_of(adjustments: tuple[SymbolAdjustment, ...], day: SymbolDay) -> bool:
    return any(each.symbol == day.symbol and each.first <= day.trading_date <= each.last for each in adjustments)


def _adoptable(audit: AuditReport) -> set[SymbolDay]:
    """Return the days that differ and of which the provider has bars: no audit adopts that there are none."""
    return {each.comparison.symbol_day for each in audit.restatements} - set(audit.withdrawn)


def _adopted(audit: AuditReport) -> list[SymbolDay]:
    """Return the days that differed and whose new bars were stored."""
    outcomes = audit.adopted.outcomes if audit.adopted else {}
    return [day for day in _adoptable(audit) if day in outcomes and outcomes[day].error is None]


def _stated(report: object, counted: Mapping[TotalKey, float]) -> Mapping[TotalKey, float]:
    """Return the totals that a run replaces."""
    has_outcomes = isinstance(report, IngestionReport) and len(report.outcomes) > 0
    stated = dict(OUTDATED if has_outcomes or (series.FILES_SYNCED.name, ()) in counted else {})
    if isinstance(report, AuditReport):
        stated[series.UNADOPTED.name, ()] = len(_adoptable(report)) - len(_adopted(report))
    return stated
