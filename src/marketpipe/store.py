"""``Store``: everything that can be done with stored bars and their state without asking a market data provider."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from marketpipe.config import DASK, Credentials, PipelineConfig, StoreConfig, is_on_disk
from marketpipe.config.classes import FORMER
from marketpipe.imported_stores import imported_spans, recorded_spans, refuse_other_import
from marketpipe.ingestion.application.ingestion_planner import present_summaries, with_official_days
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.measuring import labels_of
from marketpipe.metrics import MetricsObserver, Registry, RunTotals, metrics_in
from marketpipe.monitoring import StoreMonitor
from marketpipe.observers import IngestionCounter, ReviewCollector, log_event
from marketpipe.parts import NewWorkerPool, Parts, check_platform, with_cluster
from marketpipe.reports import CoverageReport, StatusReport, ValidationReport
from marketpipe.run_recording import RunRecorder
from marketpipe.runs import Runs
from marketpipe.scoping import (
    Symbols,
    chosen_symbols,
    configured_scope,
    extended_to_the_last,
    recorded_scope,
    refuse_unknown,
    resolved,
)
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StateError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import (
    DISTANT_FUTURE,
    DISTANT_PAST,
    AnyDate,
    SessionKind,
    TradingDate,
)
from marketpipe.shared_kernel.events import Event
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.storage.application.aggregate_refresher import STOPPED
from marketpipe.storage.domain.integrity import repaired_by
from marketpipe.storage.domain.storage_metadata import AggregationReport

from . import (
    collecting,
    compacting,
    composition,
    derived,
    dropping,
    exports,
    monitoring,
    place_parts,
    publishing,
    reading,
    recovering,
    reporting,
    side_rings,
    state_copying,
    verifying,
)
from .coverage_parts import assessor

if TYPE_CHECKING:
    import pyarrow as pa

    from marketpipe.ingestion.application.coverage_assessor import Watch

E = TypeVar("E", bound=Event)
JOBS_IN_STATUS, EVERY_JOB = 10, 1_000_000


class Store:
    """What is stored, what is missing and whether it is good. ``Pipeline`` adds what asks a market data provider."""

    _machine: Machine = HERE
    """The computer that a store runs on; a subclass may have another one."""
    _new_worker_pool: NewWorkerPool | None = None
    """How the subclass that ingests makes worker processes."""
    _new_object_store: Callable[[str], Any] | None = None
    """How a subclass makes what holds the objects of a store in a bucket, given its URL; else it is the bucket."""

    def __init__(
        self,
        config: StoreConfig,
        *,
        credentials: Credentials | None = None,
        registry: Registry | None = None,
        new_executor: Callable[[], Executor] | None = None,
        market_data_provider: MarketDataProvider | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Check the configuration; nothing on the disk is touched before it is needed.

        Raises ``ConfigurationError`` for a provider or a validation rule that does not exist, and on Windows.
        """
        check_platform(sys.platform)
        self._config = config = with_cluster(_where_it_is(config), new_executor)
        is_clustered = isinstance(config, PipelineConfig) and config.executor == DASK
        parts = Parts(
            config,
            credentials,
            clock,
            new_executor=None if is_clustered else new_executor,
            new_cluster=new_executor if is_clustered else None,
            market_data_provider=market_data_provider,
            new_worker_pool=self._new_worker_pool,
            new_object_store=self._new_object_store,
            machine=self._machine,
        )
        self._runs, self._run = Runs(parts, type(self).__name__), IngestionCounter(parts.clock.monotonic)
        self._review, self._reviewing = ReviewCollector(), self._machine.threads.lock()
        self._run.observe(self._parts.bus)
        self._review.observe(self._parts.bus)
        self._metrics = metrics_in(registry)
        totals = RunTotals()
        self._observer, self._recorder = (
            MetricsObserver(lambda: labels_of(self), self._metrics, totals),
            RunRecorder(parts, totals, lambda assess: monitoring.deliver(self, assess=assess)),
        )
        self._monitor = StoreMonitor(self)
        monitoring.begin(self)
        self._observer.observe(self._parts.bus)
        self._parts.bus.observe(Event, log_event)

    @property
    def config(self) -> StoreConfig:
        return self._config

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._runs.close_on_a_thread()

    def close(self) -> None:
        """Close the provider's connections, the state file and the worker processes, as far as they were opened.

        What runs is stopped, as by ``stop``, and waited for: a request that was sent is, and at most for 90 s. In an
        observer, and in a signal handler on the thread of a run, it does not wait: the run closes everything as it
        ends. A second call does nothing. Methods that are called after it raise ``PipelineClosedError``.
        """
        self._runs.close()

    @property
    def _parts(self) -> Parts:
        return self._runs.parts

    def subscribe(self, event_type: type[E], observer: Callable[[E], None]) -> None:
        """Call ``observer`` with every event of this type, or with every event if the type is ``Event``.

        It is called on the thread that publishes the event, often a worker thread, and several threads may call it at
        once. What it raises is logged under ``marketpipe.observers`` and changes nothing. Subscribe before ``ingest``.
        """
        self._parts.bus.observe(event_type, observer)

    def coverage(
        self, symbols: Symbols | None = None, start: AnyDate | None = None, end: AnyDate | None = None
    ) -> CoverageReport:
        """Return a verdict with its evidence for every symbol in every session of the range.

        ``start`` and ``end`` are trading dates (New York), both inclusive; either may be "latest", the newest final
        session. Without arguments the range is the configured one, extended to the last date that was ever asked for;
        without a configured provider it is everything that was ever asked for, and of imported bars, all that lies
        between the first and the last of each symbol. Asks no provider and changes nothing.
        Raises ``ConfigurationError`` if nothing was ever ingested and the arguments do not name the range, and
        ``DatasetMismatchError`` if other imported bars are stored than the configured ones.
        """
        refuse_other_import(self._parts)
        return self._covered(symbols, start, end)

    def _covered(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None, *watch: Watch
    ) -> CoverageReport:
        """Return the coverage; ``watch`` receives what each symbol is judged by."""
        scope = self._known_scope(symbols, start, end)
        if symbols is not None:
            refuse_unknown(scope.symbols, self._named_symbols(), self._config.output_path)
        assessed = assessor(self._parts, place_parts.known_state(self._parts)).assess(
            scope, imported_spans(self._parts, has_start=start is not None, has_end=end is not None), *watch
        )
        recorded = side_rings.new_recorded_files(self._parts, composition.new_stored_files(self._parts))
        lost = recorded.lost(scope.symbols, scope.first, scope.last)
        identity = composition.known_identity(self._parts)
        report = CoverageReport(scope.first, scope.last, scope.session_kind, assessed, lost, identity)
        if not report.dates:
            raise ConfigurationError(
                f"no session between {scope.first} and {scope.last} has begun: nothing was checked"
            )
        return report

    def validate(
        self, symbols: Symbols | None = None, start: AnyDate | None = None, end: AnyDate | None = None
    ) -> ValidationReport:
        """Check the stored minute bars against the validation rules in force. Changes nothing.

        ``start`` and ``end`` are trading dates, both inclusive; without arguments everything stored is checked.
        Findings come by symbol, then date. A file that cannot be read is in the report; it raises nothing.
        """
        chosen, first, last = self._stored_range(symbols, start, end)
        stored = composition.stored_bars(self._parts).symbols()
        refuse_unknown(chosen, stored or self._known_symbols(), self._config.output_path)
        with self._reviewing:
            self._review.reset()
            side_rings.reviewer(self._parts).review(chosen, first, last)
            report = self._review.report()
        if not report.symbol_days and not report.damaged:
            raise ConfigurationError("nothing was validated: no minute bars of these symbols and dates are stored here")
        return report

    def aggregate(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        timeframes: Sequence[str | Timeframe] | None = None,
    ) -> AggregationReport:
        """Bring the aggregate files up to date with the minute bars; a file that agrees is not written again.

        ``start`` and ``end`` are trading dates, both inclusive; a file that overlaps the range is rebuilt as a whole.
        Without ``timeframes`` ("2m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "1d") these are the configured
        ones and all that were made before, and the read copies if they are configured. "1m" stands for the read copies,
        in the configured format, or else that of the copies that exist, or Parquet. "1w" and "1mo" have no files: for
        them, "1d" is brought up to date. A symbol that cannot be aggregated is among the report's ``failures``.
        """
        chosen, first, last = self._stored_range(symbols, start, end)
        refuse_unknown(chosen, self._known_symbols(), self._config.output_path)
        wanted = None if timeframes is None else tuple(Timeframe.parse(t) for t in timeframes)
        with self._recorder.run("aggregate") as ended:
            return ended(self._aggregate(chosen, first, last, wanted))

    def query(self, sql: str) -> pa.Table:
        """Run one SELECT in DuckDB's dialect over the views ``bars``, ``bars_2m`` … ``bars_1d``, ``bars_1w``,
        ``bars_1mo``; what has no file is made of the minutes.

        The last three have the column source, as ``load`` describes it; the others have session: "early", "regular" or
        "late", null outside of the exchange's sessions. Timestamps are UTC, the left edge of the bar. Rows come in the
        order that the query asks for. Raises ``QueryError`` for anything but one SELECT and for one that fails, and
        ``ConfigurationError`` for a view of which there are no bars.
        """
        return derived.query(self._parts).run(sql)

    load, export, export_query, drop = reading.load, exports.export, exports.export_query, dropping.drop
    recover, copy_state = recovering.recover, state_copying.copy_state
    verify, freeze = verifying.verify, verifying.freeze
    compact, gc, publish_delta = compacting.compact, collecting.gc, publishing.publish_delta
    report = reporting.report
    health, metrics_registry, expose_store = monitoring.health, monitoring.metrics_registry, monitoring.expose_store
    serve_metrics, write_metrics = monitoring.serve_metrics, monitoring.write_metrics
    push_metrics = monitoring.push_metrics
    """Methods like the others: what they need is in a module of its own."""

    def dataset(self) -> tuple[DatasetIdentity, SessionKind] | None:
        """Return the dataset that the store holds, and for which hours; None before anything was ingested."""
        return place_parts.known_state(self._parts).dataset()

    def status(self) -> StatusReport:
        """Return what is stored and what is missing. Lists the files, and opens none but one for the dataset.

        A recorded file that is gone counts as missing. Writes nothing.
        """
        state = place_parts.known_state(self._parts)
        present = present_summaries(state.statistics, state.checkpoints, composition.inventory(self._parts))
        official = composition.stored_official_days(self._parts, state)
        return StatusReport(
            composition.known_identity(self._parts),
            tuple(with_official_days(present, state.official_years.symbols(), official)),
            tuple(state.jobs.latest(JOBS_IN_STATUS)),
            self._recorded_session(),
            derived.copies_freshness(self._parts),
            derived.copy_files(self._parts),
        )

    def _named_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...] | None, TradingDate, TradingDate]:
        """Return no symbols for all of them, also those that no record names."""
        return None if symbols is None else self._chosen(symbols), *self._dates(start, end)

    def _remove_leftovers(self) -> None:
        files = composition.new_stored_files(self._parts)
        side_rings.new_recorded_files(self._parts, files).remove_leftovers()

    def _known_symbols(self) -> frozenset[Symbol]:
        """Return the symbols that have a file, or a record."""
        recorded = place_parts.known_state(self._parts).checkpoints.requested_spans()
        return composition.new_stored_files(self._parts).symbols() | frozenset(recorded)

    def _named_symbols(self) -> frozenset[Symbol]:
        """Return the symbols that have a file, a record, or a place in the configuration."""
        configured = self._chosen(self._config.symbols) if isinstance(self._config, PipelineConfig) else ()
        return self._known_symbols() | frozenset(configured)

    def _loadable_symbols(self) -> frozenset[Symbol]:
        """Return none if there is no store: what is only configured is then no empty table."""
        return self._named_symbols() if self._known_symbols() else frozenset()

    def _known_scope(self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None) -> IngestionScope:
        """Reach to the last date ever asked for, even if that is after the configured end."""
        state = place_parts.known_state(self._parts)
        if isinstance(self._config, PipelineConfig):
            scope = self._scope(symbols, start, end)
            return scope if end is not None else extended_to_the_last(scope, state.checkpoints.requested_spans())
        spans, jobs = recorded_spans(self._parts), state.jobs.latest(EVERY_JOB)
        named, place = None if symbols is None else self._chosen(symbols), self._config.output_path
        return recorded_scope(spans, jobs, self._session(), self._latest_final, named, start, end, place)

    def _latest_final(self) -> TradingDate:
        return composition.latest_final(self._parts)

    def _recorded_session(self) -> SessionKind | None:
        dataset = self.dataset()
        return dataset[1] if dataset else None

    def _session(self) -> SessionKind:
        """Return the hours that the store holds, or the configured ones before anything was ingested."""
        return self._recorded_session() or self._config.session

    def _scope(self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None) -> IngestionScope:
        config = self._parts.pipeline_config
        chosen = self._chosen(config.symbols if symbols is None else symbols)
        return configured_scope(config, self._latest_final, chosen, start, end)

    def _chosen(self, symbols: Symbols) -> tuple[Symbol, ...]:
        return chosen_symbols(symbols, self._config, self._stored_symbols)

    def _stored_symbols(self) -> tuple[Symbol, ...]:
        """Return the symbols with minute bars or official days, ascending."""
        layout = place_parts.layout(self._parts)
        return tuple(sorted({*layout.symbols(), *layout.official_symbols()}))

    def _stored_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...], TradingDate, TradingDate]:
        chosen = composition.stored_bars(self._parts).symbols() if symbols is None else self._chosen(symbols)
        return chosen, *self._dates(start, end)

    def _dates(self, start: AnyDate | None, end: AnyDate | None) -> tuple[TradingDate, TradingDate]:
        first = DISTANT_PAST if start is None else resolved(start, self._latest_final)
        return first, DISTANT_FUTURE if end is None else resolved(end, self._latest_final)

    def _aggregate(
        self,
        symbols: Sequence[Symbol],
        first: TradingDate,
        last: TradingDate,
        timeframes: Sequence[Timeframe] | None = None,
        *,
        files_just_scanned: bool = False,
    ) -> AggregationReport:
        """``files_just_scanned``: a plan has seen all day files a moment ago, and nothing was written since."""
        parts = self._parts
        if timeframes is None:
            made = [*place_parts.layout(parts).timeframes(), *side_rings.recorded_timeframes(parts)]
            copies = [Timeframe.MINUTE_1] if derived.makes_copies(parts) else []
            timeframes = tuple(dict.fromkeys([*self._config.timeframes, *made, *copies]))
        stored = composition.stored_identity(parts)
        if not timeframes:
            return AggregationReport(0, 0)
        if (identity := stored.read()) is None:
            unreadable = f"{self._config.output_path}: no file of bars can be read; {repaired_by(None)}"
            return AggregationReport(0, 0, (unreadable,) if any(place_parts.layout(parts).any_day_files()) else ())
        stored.check(identity)
        if parts.is_stopped:  # without a wait for the lock, which another process may have
            return AggregationReport(0, 0, (STOPPED,))
        try:
            with place_parts.aggregation_lock(parts).acquired():
                refresher = derived.new_refresher(parts, files_just_scanned=files_just_scanned)
                return refresher.refresh(symbols, timeframes, first, last)
        except StateError as error:  # an ingestion that went well is still to be reported
            return AggregationReport(0, 0, (str(error),))


def _where_it_is(config: StoreConfig) -> StoreConfig:
    """Return the configuration of a store of an earlier version, which had what was not named in the current folder.

    Such a store has its records there and none beside its ``output_path``.
    """
    records = config.root / FORMER.state_path
    is_beyond = not is_on_disk(config.output_path) or not is_on_disk(config.state_path)
    if is_beyond or config.state_path == records or not os.path.isfile(records):  # so it is of nearly all
        return config
    former = config.in_former_places()
    if former == config or config.state_path == former.state_path or place_parts.has_records(config):
        return config
    return former if place_parts.has_records(former) else config
