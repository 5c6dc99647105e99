from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from marketpipe.config import Credentials, StoreConfig, load_config
from marketpipe.ingestion.domain.ingestion_job import IngestionJob
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.domain.restatement import SampleShare
from marketpipe.metrics import Registry
from marketpipe.metrics_server import MetricsServer
from marketpipe.reports import AuditReport, IngestionReport, PlanReport, SymbolAdjustment, adjustments, adoptable
from marketpipe.scoping import AnyDate, AnyEnd, Symbols, configured_scope, update_scope
from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.store_at_rest import StoreAtRest

if TYPE_CHECKING:
    from marketpipe.ingestion.application.ingestion_coordinator import IngestionCoordinator
    from marketpipe.ingestion.application.ports import IngestionState
    from marketpipe.integration.domain.data_feed import ProviderCapabilities

UNADJUSTED = "raw"


class Pipeline(StoreAtRest):
    """The library's front door: plan, ingest, validate, aggregate, query and load one store.

    A context manager. It holds no global state: several pipelines may run in one process. ``registry`` takes the
    metrics (None: prometheus_client's default one); ``new_executor`` makes the executor that batches run on (None: a
    ThreadPoolExecutor of ``workers`` threads); ``market_data_provider`` stands in for the configured one, ``clock`` for
    the machine's.
    """

    @classmethod
    def from_config(
        cls,
        config: str | Path | StoreConfig,
        *,
        credentials: Credentials | None = None,
        registry: Registry | None = None,
    ) -> Pipeline:
        """From a YAML file or a ready configuration."""
        ready = config if isinstance(config, StoreConfig) else load_config(Path(config))
        return cls(ready, credentials=credentials, registry=registry)

    def stop(self) -> None:
        """Ends a running ``ingest`` soon: from another thread or an observer. What is checkpointed stays."""
        self._parts.stop()

    def plan(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyEnd | None = None,
        *,
        retry_suspect: bool = False,
    ) -> PlanReport:
        """What ``ingest`` with these arguments would ask for, and what that is expected to cost. Touches nothing."""
        planner = self._parts.planner(self._parts.known_state)
        scope = configured_scope(self._parts.ingestion_config, planner.latest_final, symbols, start, end)
        self._check(scope, self._parts.capabilities)
        plan = planner.plan(scope, self._suspect_days(scope) if retry_suspect else ())
        minutes = plan.estimate.minutes_at(self._parts.capabilities.requests_per_minute)
        return PlanReport(plan.planned, plan.settled, plan.not_begun, plan.estimate, minutes)

    def ingest(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyEnd | None = None,
        *,
        retry_suspect: bool = False,
    ) -> IngestionReport:
        """Asks the provider for what is missing between ``start`` and ``end``, both inclusive, and stores it.

        Nothing that is complete is asked for again; ``retry_suspect`` asks again for what ``coverage`` finds suspect.
        Failures of single symbol-days are in the report. Where the configuration enables metrics they are served over
        HTTP for as long as this runs. Raises ``ConfigurationError`` before anything is touched, and
        ``CredentialsError`` where the provider refuses the keys.
        """
        with self._asking:
            scope = self._scope(symbols, start, end)
            self._check(scope)
            suspect = self._suspect_days(scope) if retry_suspect else ()
            return self._ingest(scope, lambda coordinator: coordinator.ingest(scope, suspect))

    def update(self, symbols: Symbols | None = None) -> IngestionReport:
        """Brings each symbol from its last settled session to the newest final one; the configured end is left aside.

        Raises ``StoreBusyError`` where another update of this store is at work: nothing was done then.
        """
        self._update_scope(self._parts.known_state, symbols)  # what is refused is refused before a lock is made
        with self._asking, self._parts.update_lock.held():
            scope = self._update_scope(self._parts.state, symbols)
            return self._ingest(scope, lambda coordinator: coordinator.ingest(scope))

    def audit(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyEnd | None = None,
        *,
        sample: str | float | None = None,
        adopt: bool = False,
    ) -> AuditReport:
        """Asks the provider again for settled sessions and compares bar by bar; changes nothing unless ``adopt``.

        ``sample`` is the share of the sessions to take, "2%" or 0.02; other ones on another day. With ``adopt`` the new
        word replaces the old, which is kept as a revision. Raises ``ConfigurationError`` where nothing narrows it down:
        it would ask for the whole store again.
        """
        if symbols is None and start is None and end is None and sample is None:
            raise ConfigurationError("an audit of everything asks for it all again: give a sample, symbols or dates")
        share = None if sample is None else SampleShare.of(sample)
        with self._asking:
            scope = evolve(self._scope(symbols, start, end), session_kind=self._session())
            self._check(scope)
            self._run.reset()
            started = self._parts.clock.monotonic()
            found = self._parts.auditor.audit(scope, share)
            days = [found.compared[day] for day in sorted(found.compared)]
            report = AuditReport(
                found.compared,
                found.failures,
                self._adjustments(days),
                self._run.requests,
                self._parts.clock.monotonic() - started,
            )
            return evolve(report, adopted=self._adopt(scope, adoptable(days))) if adopt else report

    def _serving_metrics(self) -> AbstractContextManager[object]:
        settings = self._config.metrics
        if not settings.enabled:
            return nullcontext()
        return MetricsServer(self._metrics.registry, settings.host, settings.port)

    def _check(self, scope: IngestionScope, capabilities: ProviderCapabilities | None = None) -> None:
        """All that can be refused is refused before a file is made: keys too, unless ``capabilities`` are known."""
        self._parts.calendar.sessions(scope.first, scope.last)
        self._parts.stored_identity.check((capabilities or self._parts.provider.capabilities).identity)

    def _update_scope(self, state: IngestionState, symbols: Symbols | None) -> IngestionScope:
        newest = self._parts.planner(state).latest_final()
        scope = update_scope(self._parts.ingestion_config, newest, state.checkpoints.latest_settled(), symbols)
        self._check(scope)
        return scope

    def _suspect_days(self, scope: IngestionScope) -> frozenset[SymbolDay]:
        return self._parts.assessor(self._parts.known_state).suspect(scope)

    def _ingest(
        self, scope: IngestionScope, carry_out: Callable[[IngestionCoordinator], IngestionJob]
    ) -> IngestionReport:
        self._run.reset()
        self._parts.scanned_years.forget()
        started = self._parts.clock.monotonic()
        with self._serving_metrics():
            job = carry_out(self._parts.coordinator)
        return IngestionReport(
            job.job_id,
            str(job.state),
            job.planned,
            job.settled,
            job.not_begun,
            self._run.requests,
            self._parts.clock.monotonic() - started,
            job.outcomes,
            self._run.warnings,
            self._aggregate(scope.symbols, scope.first, scope.last, nothing_came=not job.planned),
            job.estimate,
            job.left,
        )

    def _adopt(self, scope: IngestionScope, dates: Mapping[Symbol, frozenset[TradingDate]]) -> IngestionReport | None:
        """None where there is nothing to adopt."""
        if not dates:
            return None
        narrow = evolve(scope, symbols=tuple(dates))
        return self._ingest(narrow, lambda coordinator: coordinator.ingest_again(narrow, dates))

    def _adjustments(self, days: Sequence[DayComparison]) -> tuple[SymbolAdjustment, ...]:
        """Raw prices are never adjusted: what looks like it there is a correction of single days."""
        if self._parts.capabilities.adjustment == UNADJUSTED:
            return ()
        return adjustments(days, self._parts.state.checkpoints.requested_spans())
