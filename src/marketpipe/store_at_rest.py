from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from marketpipe.bootstrap import Bootstrap
from marketpipe.config import Credentials, PipelineConfig, StoreConfig
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
from marketpipe.ingestion.domain.store_status import RecoveryReport
from marketpipe.metrics import MetricsObserver, Registry, metrics_in
from marketpipe.observers import LogObserver, ReviewTally, RunTally
from marketpipe.reports import AggregationReport, CoverageReport, StatusReport, ValidationReport
from marketpipe.scoping import AnyDate, AnyEnd, Symbols, configured_scope, reaching_to_the_last, recorded_scope
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StateError
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbols
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import AnyMoment, Clock, as_timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate, as_trading_date
from marketpipe.shared_kernel.events import Event
from marketpipe.storage.domain.dataset_lock import DatasetLock
from marketpipe.storage.domain.integrity import IntegrityReport

if TYPE_CHECKING:
    import pyarrow as pa

    from marketpipe.integration.application.ports import MarketDataProvider

E = TypeVar("E", bound=Event)
LATEST_JOBS, EVERY_JOB = 10, 1_000_000
FIRST_DATE, LAST_DATE = TradingDate.parse("1900-01-01"), TradingDate.parse("9000-01-01")


class StoreAtRest:
    """The half of a pipeline that asks no provider: what is stored, what is missing, and whether it is good."""

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
        """Raises ``ConfigurationError``. Nothing on disk is touched before it is needed."""
        self._config = config
        self._parts = Bootstrap(
            config,
            credentials,
            clock,
            new_executor=new_executor,
            market_data_provider=market_data_provider,
        )
        self._run, self._asking = RunTally(), threading.Lock()
        self._review, self._reviewing = ReviewTally(), threading.Lock()
        self._run.listen(self._parts.bus)
        self._review.listen(self._parts.bus)
        self._metrics = metrics_in(registry)
        if isinstance(config, PipelineConfig):
            MetricsObserver(config.provider, self._metrics).observe(self._parts.bus)
        LogObserver().observe(self._parts.bus)

    @property
    def config(self) -> StoreConfig:
        return self._config

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._parts.close()

    def subscribe(self, event_type: type[E], observer: Callable[[E], None]) -> None:
        """``observer`` hears of every such event, on the thread on which it came about. Its errors are logged only."""
        self._parts.bus.observe(event_type, observer)

    def coverage(
        self, symbols: Symbols | None = None, start: AnyDate | None = None, end: AnyEnd | None = None
    ) -> CoverageReport:
        """A verdict, with its evidence, on every symbol in every session of the range; asks no provider.

        Without arguments it is the range of the configuration, or where there is none all that was ever asked for.
        """
        scope = self._known_scope(symbols, start, end)
        assessed = self._parts.assessor(self._parts.known_state).assess(scope)
        return CoverageReport(scope.first, scope.last, scope.session_kind, assessed)

    def validate(
        self, symbols: Symbols | None = None, start: AnyDate | None = None, end: AnyDate | None = None
    ) -> ValidationReport:
        """Judges what is on disk by the rules in force; without arguments, all of it. Changes nothing."""
        chosen, first, last = self._stored_range(symbols, start, end)
        with self._reviewing:
            self._review.reset()
            self._parts.reviewer.review(chosen, first, last)
            return self._review.report()

    def aggregate(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        timeframes: Sequence[str | Timeframe] | None = None,
    ) -> AggregationReport:
        """Brings aggregates up to date with the minutes; what agrees with them already is not written again.

        Without ``timeframes`` those of the configuration, and every other that was ever made.
        """
        chosen, first, last = self._stored_range(symbols, start, end)
        wanted = None if timeframes is None else tuple(Timeframe.parse(t) for t in timeframes)
        return self._aggregate(chosen, first, last, wanted)

    def query(self, sql: str) -> pa.Table:
        """One SELECT over the views ``bars``, ``bars_5m`` … ``bars_1d``. Raises ``QueryError``."""
        return self._parts.query.run(sql)

    def load(
        self,
        symbols: Symbols,
        start: AnyDate,
        end: AnyDate,
        timeframe: str | Timeframe = Timeframe.MINUTE_1,
        *,
        as_of: AnyMoment | None = None,
    ) -> pa.Table:
        """Stored bars by symbol, then time; ``start`` and ``end`` are trading dates, both inclusive.

        ``as_of`` is a moment with its time zone, as a ``Timestamp``, an aware datetime or RFC 3339 text: the bars are
        then those that this store held at that moment, whatever was restated since.
        """
        first, last = as_trading_date(start), as_trading_date(end)
        moment = None if as_of is None else as_timestamp(as_of)
        return self._parts.loader.load(as_symbols(symbols), first, last, Timeframe.parse(timeframe), moment)

    def status(self) -> StatusReport:
        """What the store has and lacks, as its checkpoints say. Creates nothing."""
        state = self._parts.known_state
        dataset = state.dataset()
        return StatusReport(
            self._parts.stored_identity.read(),
            tuple(state.statistics.summaries()),
            tuple(state.jobs.latest(LATEST_JOBS)),
            dataset[1] if dataset else None,
        )

    def verify(
        self,
        symbols: Symbols | None = None,
        start: AnyDate | None = None,
        end: AnyDate | None = None,
        *,
        lock: DatasetLock | None = None,
    ) -> IntegrityReport:
        """Reads every byte and says what is damaged, lost, unknown or foreign; without arguments, of all that is there.

        Changes no bar. Where a damaged file looks well from outside, word is left for the next ``ingest`` to ask for it
        again. With a ``lock`` it is the frozen files alone that are held against what was frozen.
        """
        chosen, first, last = self._named_range(symbols, start, end)
        if lock is None:
            return self._parts.integrity.check(chosen, first, last)
        if (symbols, start, end) != (None, None, None):
            raise ConfigurationError("a lock says itself what is frozen: leave symbols and dates out")
        return self._parts.lock_comparer.compare(lock)

    def freeze(
        self, symbols: Symbols | None = None, start: AnyDate | None = None, end: AnyDate | None = None
    ) -> DatasetLock:
        """The hash of every file that a backtest of these symbols and dates reads; ``.text()`` is to be kept.

        Raises ``StorageError`` for a damaged store.
        """
        chosen, first, last = self._named_range(symbols, start, end)
        dataset = self._parts.known_state.dataset()
        return self._parts.freezer.freeze(chosen, first, last, dataset[1] if dataset else None)

    def recover(self, *, force: bool = False) -> RecoveryReport:
        """Builds a new state from the files, where the old one is lost or damaged; ``force`` sets a good one aside.

        Days without bars leave no file: they will be asked for once more. Raises ``ConfigurationError`` where there is
        a state that can be read, and ``StoreBusyError`` where an ingestion is at work.
        """
        self._parts.recoverer.has_to_make_room(force)  # what is refused is refused before a lock is made
        with self._asking, self._parts.update_lock.held():
            recoverer, files, identity = self._parts.recoverer, self._parts.stored_files, self._parts.stored_identity
            set_aside, found = recoverer.make_room(force), identity.prevailing()
            symbols = sorted(files.symbols()) if found else []
            days = ((symbol, files.stored_days(symbol, found)) for symbol in symbols if found)
            return recoverer.recover(found, days, set_aside)

    def _named_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...] | None, TradingDate, TradingDate]:
        """``symbols``: None for all, the unknown ones too."""
        _, first, last = self._stored_range((), start, end)
        return None if symbols is None else as_symbols(symbols), first, last

    def _known_scope(self, symbols: Symbols | None, start: AnyDate | None, end: AnyEnd | None) -> IngestionScope:
        """Nothing that was ever asked for may hide behind the end of the configuration."""
        state, newest = self._parts.known_state, self._parts.assessor(self._parts.known_state).latest_final
        if isinstance(self._config, PipelineConfig):
            scope = self._scope(symbols, start, end)
            return scope if end is not None else reaching_to_the_last(scope, state.checkpoints.requested_spans())
        return recorded_scope(
            state.checkpoints.requested_spans(),
            state.jobs.latest(EVERY_JOB),
            self._session(),
            newest,
            symbols,
            start,
            end,
        )

    def _session(self) -> SessionKind:
        """What the store holds; what is configured while nobody has ingested."""
        dataset = self._parts.known_state.dataset()
        return dataset[1] if dataset else self._config.session

    def _scope(self, symbols: Symbols | None, start: AnyDate | None, end: AnyEnd | None) -> IngestionScope:
        config, state = self._parts.ingestion_config, self._parts.known_state
        return configured_scope(config, self._parts.planner(state).latest_final, symbols, start, end)

    def _stored_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...], TradingDate, TradingDate]:
        chosen = self._parts.stored_bars.symbols() if symbols is None else as_symbols(symbols)
        first = FIRST_DATE if start is None else as_trading_date(start)
        return chosen, first, LAST_DATE if end is None else as_trading_date(end)

    def _aggregate(
        self,
        symbols: Sequence[Symbol],
        first: TradingDate,
        last: TradingDate,
        timeframes: Sequence[Timeframe] | None = None,
        *,
        nothing_came: bool = False,
    ) -> AggregationReport:
        """``nothing_came``: the day files are as a plan has just seen them."""
        if timeframes is None:
            timeframes = tuple(dict.fromkeys([*self._config.timeframes, *self._parts.layout.timeframes()]))
        if not timeframes or self._parts.stored_identity.read() is None:
            return AggregationReport(0, 0)
        try:
            with self._parts.aggregation_lock.held():
                refresher = self._parts.refresher_after_a_plan if nothing_came else self._parts.refresher
                count = refresher.refresh(symbols, timeframes, first, last)
        except StateError as error:  # what was ingested before is to be reported all the same
            return AggregationReport(0, 0, (str(error),))
        return AggregationReport(count.written, count.unchanged, count.failures)
