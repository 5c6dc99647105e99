"""``Pipeline``, the library's façade: what a store can do, and what asks a market data provider."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from marketpipe.completeness import WARN, Complete
from marketpipe.config import DASK, LATEST, Credentials, StoreConfig, load_config
from marketpipe.config.arguments import with_known_arguments
from marketpipe.imported_stores import refuse_other_import, refuse_requests
from marketpipe.importing import ImportingStore
from marketpipe.ingestion.application.audit_coordinator import ScaleKeeper, ScaleReport
from marketpipe.ingestion.application.ingestion_planner import unconfirmed_ends
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_checkpoint import CLOCKS_DIFFER
from marketpipe.ingestion.domain.ingestion_job import IngestionJob, JobState, worst_state
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.domain.official_days import NO_OFFICIAL_DAYS
from marketpipe.ingestion.domain.restatement import SampleShare, SymbolAdjustment, adjustments, adoptable, readjustments
from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.table_import import is_imported
from marketpipe.metrics import Registry
from marketpipe.metrics_server import metrics_served
from marketpipe.parts import Parts, WorkerProcesses
from marketpipe.provider_registry import refuse_imported, settings_of, with_known_provider
from marketpipe.reading import checked_form
from marketpipe.reports import AuditReport, IngestionReport, PlanReport
from marketpipe.scoping import Symbols, extended_back_to, recent_sessions, refuse_unknown, resolved, update_scope
from marketpipe.shared_kernel.domain.errors import ConfigurationError, DatasetMismatchError
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timeframe import DaySource, Timeframe
from marketpipe.shared_kernel.domain.trading_date import AnyDate, SessionKind, TradingDate

from . import completeness, composition, coverage_parts, derived, monitoring, place_parts, side_rings

if TYPE_CHECKING:
    import pyarrow as pa

UNADJUSTED = "raw"


def _new_worker_pool(parts: Parts) -> WorkerProcesses:
    if parts.pipeline_config.executor == DASK:
        from marketpipe.dask_pool import new_dask_pool

        return new_dask_pool(parts)
    from marketpipe.worker_pool import new_process_pool

    return new_process_pool(parts)


class Pipeline(ImportingStore):
    """Plan, ingest, import, validate, aggregate, query and load one store. A context manager: ``close`` it at the end.

    It holds no global state: several pipelines may run in one process. ``registry`` takes the metrics (None:
    prometheus_client's default registry); ``new_executor`` makes the executor that batches run on (None: a
    ThreadPoolExecutor of ``workers`` threads), and ``get_executor`` of a Dask client makes that client's cluster carry
    them out; ``market_data_provider`` replaces the configured one, and ``clock`` the machine's.
    """

    _new_worker_pool = staticmethod(_new_worker_pool)

    @classmethod
    def from_config(
        cls,
        config: str | Path | StoreConfig,
        *,
        credentials: Credentials | None = None,
        registry: Registry | None = None,
    ) -> Pipeline:
        """Make a pipeline from the path of a YAML file or from a configuration object.

        Relative paths in the file are relative to the working directory. Without ``credentials`` they are read from
        ALPACA_KEY and ALPACA_SECRET, in the environment or in .env, when the provider is first asked. Raises
        ``ConfigurationError`` for a file that cannot be read and for a value that is not valid.
        """
        ready = config if isinstance(config, StoreConfig) else with_known_provider(load_config(Path(config)), config)
        return cls(ready, credentials=credentials, registry=registry)

    def stop(self) -> None:
        """Ask every ``ingest``, ``update`` and ``audit`` that was called by now to end soon, whatever it is doing.

        To be called from another thread, from an observer or from a signal handler. Workers finish the symbol-days in
        progress; what has a checkpoint stays, and the state in the report is "interrupted". Aggregates are left to the
        next run. Harmless if nothing runs, and no run that is called later notices it.
        """
        self._runs.stop()

    def plan(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        *,
        retry_suspect: bool = False,
    ) -> PlanReport:
        """Return what ``ingest`` with these arguments would ask for, and what that is expected to cost.

        Asks no provider, needs no credentials for Alpaca, and creates nothing on the disk.
        """
        refuse_requests(self._parts)
        scope = self._scope(symbols, start, end)
        provided = composition.capabilities(self._parts)
        self._check(scope, provided)
        state = place_parts.known_state(self._parts)
        suspect = self._suspect_days(scope) if retry_suspect else ()
        plan, pages, wanted = composition.planner(self._parts, state).plan(scope, suspect), 0, 0
        if provided.official_days:
            official = side_rings.official_planner(self._parts, state).plan(scope, again=suspect)
            pages, wanted = official.pages, official.wanted
        minutes = plan.estimate.minutes_at(provided.requests_per_minute, pages)
        notices = (*completeness.notices_of_state(self._parts), *_notices(provided))
        return PlanReport(plan.planned, plan.settled, plan.not_begun, plan.estimate, minutes, notices, wanted, pages)

    def ingest(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        *,
        retry_suspect: bool = False,
    ) -> IngestionReport:
        """Ask the provider for what is missing between ``start`` and ``end``, and store it.

        ``start`` and ``end`` are trading dates (New York), both inclusive; either may be "latest", the newest final
        session. Arguments that are left out are the configured ones. A complete symbol-day is not asked for again;
        ``retry_suspect`` asks again for those that ``coverage`` finds suspect. Aggregates are refreshed at the end. If
        the configuration enables metrics, they are served over HTTP while this runs.

        A symbol-day that fails is in the report's ``failures`` and fails no other. Raises ``ConfigurationError`` before
        anything is touched, ``DatasetMismatchError`` if the store holds another provider's bars, and
        ``CredentialsError`` if the provider refuses the keys.
        """
        with self._runs.run(), self._recorder.run("ingest") as ended:
            refuse_requests(self._parts)
            scope = self._scope(symbols, start, end)
            self._check(scope)
            is_first = composition.stored_identity(self._parts).read() is None
            report = self._ingest(scope, suspect=self._suspect_days(scope) if retry_suspect else ())
            of_feed = _notices(composition.capabilities(self._parts)) if is_first else ()
            return ended(evolve(report, notices=(*of_feed, *report.notices)))

    @with_known_arguments
    def get(
        self,
        symbols: Symbols,
        start: AnyDate,
        end: AnyDate = LATEST,
        timeframe: str | Timeframe = Timeframe.MINUTE_1,
        *,
        source: str | DaySource | None = None,
        complete: Complete = WARN,
        session: str | SessionKind | None = None,
        columns: str | Iterable[str] | None = None,
        tz: str | tzinfo | None = None,
        trading_date: bool = False,
    ) -> pa.Table:
        """Ingest the minutes that are missing from this range, then return what ``load`` with these arguments returns.

        If nothing is missing, no request is sent, and no credentials for Alpaca are needed. Sessions that are not final
        yet are requested each time; none of them is in a range whose ``end`` is "latest". A symbol-day that fails is
        warned of or refused, as ``complete`` says. A symbol of which the provider has never had a bar is warned of too.
        Of imported bars nothing can be requested: what is stored is loaded.
        """
        length = Timeframe.parse(timeframe)
        form = checked_form(length, source, complete, session, columns, tz, trading_date=trading_date)
        if form["session"] is SessionKind.EXTENDED:
            completeness.refuse_hours(self._session(), self._config.output_path)
        wanted = self._scope(symbols, start, end)
        last = derived.last_day_of(wanted.first, wanted.last, length)
        if is_imported(self._parts.pipeline_config.provider):
            refuse_other_import(self._parts)
            refuse_unknown(wanted.symbols, self._known_symbols(), self._config.output_path)
        else:
            plan = self.plan(wanted.symbols, wanted.first, last)
            if plan.planned or plan.official_days:
                self.ingest(wanted.symbols, wanted.first, last)
        bars = self.load(wanted.symbols, wanted.first, wanted.last, length, **form)
        completeness.check_names(self._parts, wanted, form["complete"])
        return bars

    def update(self, symbols: Symbols | None = None) -> IngestionReport:
        """Ingest from each symbol's last settled session to the newest final one, whatever the configured end.

        A symbol without a settled session begins at the configured start. The official days of the last five sessions
        are requested again; if one has changed, or disagrees with the minutes, the minutes are requested again too. So
        are the first sessions without bars of a symbol that fell silent, until the answer came on two dates.
        Raises ``StoreBusyError`` if another update of this store runs: nothing was done then. Other errors as for
        ``ingest``.
        """
        with self._runs.run(), self._recorder.run("update") as ended, self._updating(symbols):
            state, coverage = place_parts.state(self._parts), self._config.coverage
            scope = self._update_scope(state, symbols)
            silent = unconfirmed_ends(
                scope.symbols, state.checkpoints, coverage.unlisted_sessions, coverage.confirmations
            )
            scope = extended_back_to(scope, silent)
            return ended(self._ingest(scope, suspect=silent, recheck=self._recheck(scope.last)))

    def audit(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        *,
        sample: str | float | None = None,
        adopt: bool = False,
    ) -> AuditReport:
        """Ask the provider again for settled sessions and compare bar by bar; change nothing unless ``adopt``.

        ``sample`` is the share of the sessions to take, "2%" or 0.02: other sessions on another day. With ``adopt`` the
        provider's new bars replace the stored ones, which are kept as a revision. Raises ``ConfigurationError`` if no
        argument narrows the audit down: it would ask for the whole store again. Other errors as for ``ingest``.
        """
        refuse_requests(self._parts)
        if symbols is None and start is None and end is None and sample is None:
            raise ConfigurationError("this audit would request the whole store again: give a sample, symbols or dates")
        share = None if sample is None else SampleShare.of(sample)
        with self._runs.run(), self._recorder.run("audit") as ended:
            scope = evolve(self._scope(symbols, start, end), session_kind=self._session())
            self._check(scope)
            refuse_unknown(() if symbols is None else scope.symbols, self._known_symbols(), self._config.output_path)
            self._run.reset()
            started = self._parts.clock.monotonic()
            found = side_rings.auditor(self._parts).audit(scope, share)
            if not found.compared and not found.failures:
                raise ConfigurationError(
                    "nothing was compared: no session of these symbols and dates is settled here. "
                    "'marketpipe ingest' requests those that are missing or have failed"
                )
            days = [found.compared[day] for day in sorted(found.compared)]
            report = AuditReport(
                found.compared,
                found.failures,
                self._adjustments(days),
                self._run.requests,
                self._parts.clock.monotonic() - started,
                retries=self._run.retries,
                faults=self._run.faults,
                rate_limit_seconds=self._run.rate_limit_seconds,
            )
            if adopt:
                side_rings.auditor(self._parts).mark_withdrawn(found)
                report = evolve(report, adopted=self._adopt(scope, days))
            return ended(report)

    async def aingest(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        *,
        retry_suspect: bool = False,
    ) -> IngestionReport:
        """Do the same as ``ingest`` on a thread of its own, so that the event loop goes on.

        If the task is cancelled, the run is stopped, as by ``stop``, and ``CancelledError`` is raised when it has
        ended: what was stored stays, and no lease does.
        """
        return await self._runs.on_a_thread(partial(self.ingest, symbols, start, end, retry_suspect=retry_suspect))

    async def aupdate(self, symbols: Symbols | None = None) -> IngestionReport:
        """Do the same as ``update`` on a thread of its own; for a cancellation see ``aingest``."""
        return await self._runs.on_a_thread(partial(self.update, symbols))

    async def aaudit(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        *,
        sample: str | float | None = None,
        adopt: bool = False,
    ) -> AuditReport:
        """Do the same as ``audit`` on a thread of its own; for a cancellation see ``aingest``."""
        return await self._runs.on_a_thread(partial(self.audit, symbols, start, end, sample=sample, adopt=adopt))

    def _adopt(self, scope: IngestionScope, days: Sequence[DayComparison]) -> IngestionReport | None:
        """Ingest the days that differ again, and the whole history of symbols whose prices were adjusted again."""
        spans = place_parts.state(self._parts).checkpoints.stored_spans()
        changed = {} if self._is_raw else readjustments(days, spans)
        dates = adoptable(days, renewed=changed)
        if not dates and not changed:
            return None
        adopted = evolve(scope, symbols=tuple(dict.fromkeys((*dates, *changed))))
        if not changed:
            return self._ingest(adopted, again=dates)
        renewed = {symbol: spans[symbol] for symbol in changed}
        return self._ingest(adopted, again=dates, renew=lambda keeper: keeper.renew(renewed, scope, changed))

    def _check(self, scope: IngestionScope, provided: ProviderCapabilities | None = None) -> None:
        """Raise what can be raised before a file is made: for missing keys too, unless ``provided`` is known."""
        composition.calendar(self._parts).sessions(scope.first, scope.last)
        if provided is None:
            self._parts.check_keys()
            provided = composition.capabilities(self._parts)
        refuse_imported(provided.name)
        stored = composition.stored_identity(self._parts)
        try:
            stored.check(provided.identity)
        except DatasetMismatchError as error:
            known = stored.read()
            settings = None if known is None else settings_of(known, provided.identity)
            advice = f". To go on with what is stored, configure {settings}" if settings else ""
            raise DatasetMismatchError(f"{error}{advice}") from error

    @contextmanager
    def _updating(self, symbols: Symbols | None) -> Iterator[None]:
        refuse_requests(self._parts)
        self._update_scope(place_parts.known_state(self._parts), symbols)  # refused before a lock file is made
        with place_parts.update_lock(self._parts).acquired():
            yield

    def _update_scope(self, state: IngestionState, symbols: Symbols | None) -> IngestionScope:
        config = self._parts.pipeline_config
        newest = self._latest_final()
        settled = dict(state.checkpoints.latest_settled())
        for day in state.checkpoints.premature(self._parts.clock.now().plus(CLOCKS_DIFFER)):
            settled[day.symbol] = min(settled[day.symbol], day.trading_date)
        chosen = self._chosen(config.symbols if symbols is None else symbols)
        scope = update_scope(config, newest, settled, chosen, self._recheck(newest))
        self._check(scope)
        return scope

    def _recheck(self, newest: TradingDate) -> TradingDate | None:
        """Return from which date on an update requests official days again; None if the provider has none."""
        if not composition.capabilities(self._parts).official_days:
            return None
        start = resolved(self._parts.pipeline_config.start, lambda: newest)
        return recent_sessions(composition.calendar(self._parts), start, newest)

    def _suspect_days(self, scope: IngestionScope) -> frozenset[SymbolDay]:
        return coverage_parts.assessor(self._parts, place_parts.known_state(self._parts)).suspect(scope)

    def _ingest(
        self,
        scope: IngestionScope,
        *,
        suspect: Collection[SymbolDay] = (),
        again: Mapping[Symbol, frozenset[TradingDate]] | None = None,
        recheck: TradingDate | None = None,
        renew: Callable[[ScaleKeeper], ScaleReport] | None = None,
    ) -> IngestionReport:
        """Ingest what is missing and the ``suspect`` days, and check official days again from ``recheck`` on.

        Or only the dates to ask for ``again``. First ``renew`` histories; by default those that the provider has
        re-adjusted.
        """
        self._run.reset()
        composition.scanned_years(self._parts).forget()
        self._remove_leftovers()
        started = self._parts.clock.monotonic()
        with self._metrics_served() as notices:
            coordinator = composition.coordinator(self._parts, side_rings.official_days)
            derived.subscribe_aggregates_ahead(self._parts)
            self._observer.limit_is(composition.capabilities(self._parts).requests_per_minute)
            jobs = list[IngestionJob]()
            if renew is None and again is None and not self._is_raw:
                compare_all = recheck is not None or self._lacks_official_days(scope)
                renew = partial(ScaleKeeper.keep, scope=scope, suspect=suspect, all_symbols=compare_all)
            scale = ScaleReport() if renew is None else renew(side_rings.scale_keeper(self._parts))
            growing = scale.growing(scope)
            if growing is not None and again is None:
                jobs.append(coordinator.ingest(growing, suspect, recheck))
            elif growing is not None and again and (some := {s: again[s] for s in growing.symbols if s in again}):
                jobs.append(coordinator.ingest_restated(growing, some))
        return evolve(self._report(scope, scale, [*scale.jobs, *jobs], started), notices=notices)

    @contextmanager
    def _metrics_served(self) -> Iterator[tuple[str, ...]]:
        wanted, publish = self._config.metrics, self._parts.bus.publish
        if not wanted.enabled:
            yield ()
            return
        place = self._metrics.registry, wanted.host, wanted.port
        readiness = partial(monitoring.readiness_during_a_run, self)
        with monitoring.exposed_during_a_run(self), metrics_served(*place, publish, readiness) as notices:
            yield notices

    def _report(
        self, scope: IngestionScope, scale: ScaleReport, jobs: Sequence[IngestionJob], started: float
    ) -> IngestionReport:
        """Sum up the jobs of one run: nearly always there is one."""
        seconds = self._parts.clock.monotonic() - started
        for job in jobs:
            scope = scope.including(job.scope)
        planned = sum(job.planned for job in jobs)
        refreshed = self._aggregate(scope.symbols, scope.first, scope.last, files_just_scanned=not planned)
        blocked = {day: SymbolDayOutcome(day, Outcome.FAILED, error=why) for day, why in scale.blocked.items()}
        return IngestionReport(
            max((job.job_id for job in jobs), default=0),
            str(JobState.INTERRUPTED if scale.stopped else JobState.FAILED if blocked else worst_state(jobs)),
            planned + len(blocked),
            sum(job.settled for job in jobs),
            sum(job.not_begun for job in jobs),
            self._run.requests,
            seconds,
            jobs[0].outcomes if len(jobs) == 1 and not blocked else _merged(jobs, blocked),
            self._run.warnings,
            refreshed.with_prepared(self._run.prepared, self._run.prepared_copies),
            jobs[-1].estimate if jobs else None,
            sum(job.left for job in jobs),
            official=jobs[-1].official if jobs else NO_OFFICIAL_DAYS,
            readjusted=scale.readjusted,
            retries=self._run.retries,
            faults=self._run.faults,
            rate_limit_seconds=self._run.rate_limit_seconds,
            without_bars=completeness.symbols_without_bars(self._parts, scope.symbols),
            rejected_without_session=self._run.rejected_without_session,
        )

    def _lacks_official_days(self, scope: IngestionScope) -> bool:
        if not composition.capabilities(self._parts).official_days:
            return False
        planner = side_rings.official_planner(self._parts, place_parts.state(self._parts))
        return bool(planner.plan(scope).requests)

    @property
    def _is_raw(self) -> bool:
        return composition.capabilities(self._parts).adjustment == UNADJUSTED

    def _adjustments(self, days: Sequence[DayComparison]) -> tuple[SymbolAdjustment, ...]:
        """Return none for raw prices, which are never adjusted: what looks like it is a correction of single days."""
        if self._is_raw:
            return ()
        spans = place_parts.state(self._parts).checkpoints.requested_spans()
        found = {**readjustments(days, spans), **{each.symbol: each for each in adjustments(days, spans)}}
        return tuple(found[symbol] for symbol in sorted(found))


def _merged(
    jobs: Sequence[IngestionJob], blocked: Mapping[SymbolDay, SymbolDayOutcome]
) -> Mapping[SymbolDay, SymbolDayOutcome]:
    """Return the outcomes of several jobs, by symbol, then date; those of a later job count."""
    outcomes = dict(blocked)
    for job in jobs:
        outcomes.update(job.outcomes)
    return {day: outcomes[day] for day in sorted(outcomes)}


def _notices(provided: ProviderCapabilities) -> tuple[str, ...]:
    return (provided.feed.notice,) if provided.feed.notice else ()
