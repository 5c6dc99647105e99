from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from marketpipe.bootstrap import Bootstrap
from marketpipe.config import Credentials, PipelineConfig, StoreConfig, load_config
from marketpipe.ingestion.domain.ingestion_job import IngestionJob
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.log_observer import LogObserver
from marketpipe.metrics import MetricsObserver, Registry, metrics_in
from marketpipe.metrics_server import MetricsServer
from marketpipe.reports import AggregationReport, IngestionReport, StatusReport, ValidationReport
from marketpipe.run_tally import ReviewTally, RunTally
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbols
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate, as_trading_date
from marketpipe.shared_kernel.events.event import Event

if TYPE_CHECKING:
    import pyarrow as pa

    from marketpipe.integration.application.ports import MarketDataProvider

E = TypeVar("E", bound=Event)
Symbols = str | Symbol | Iterable[str | Symbol]
AnyDate = TradingDate | date | str
LATEST_JOBS = 10
FIRST_DATE, LAST_DATE = TradingDate.parse("1900-01-01"), TradingDate.parse("9000-01-01")


class Pipeline:
    """The library's front door: plan, ingest, validate, aggregate, query and load one store.

    A context manager. It holds no global state: several pipelines may run in one process. ``registry`` takes the
    metrics (None: prometheus_client's default one); ``new_executor`` makes the executor that batches run on (None: a
    ThreadPoolExecutor of ``workers`` threads); ``market_data_provider`` stands in for the configured one, ``clock`` for
    the machine's.
    """

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
        self._run, self._ingesting = RunTally(), threading.Lock()
        self._review, self._reviewing = ReviewTally(), threading.Lock()
        self._run.listen(self._parts.bus)
        self._review.listen(self._parts.bus)
        self._metrics = metrics_in(registry)
        if isinstance(config, PipelineConfig):
            MetricsObserver(config.provider, self._metrics).observe(self._parts.bus)
        LogObserver().observe(self._parts.bus)

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

    @property
    def config(self) -> StoreConfig:
        return self._config

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._parts.close()

    def subscribe(self, event_type: type[E], observer: Callable[[E], None]) -> None:
        """``observer`` hears of every such event, on the thread on which it came about. Its errors are logged only."""
        self._parts.bus.observe(event_type, observer)

    def stop(self) -> None:
        """Ends a running ``ingest`` soon: from another thread or an observer. What is checkpointed stays."""
        self._parts.stop()

    def ingest(
        self, symbols: Symbols | None = None, start: AnyDate | None = None, end: AnyDate | None = None
    ) -> IngestionReport:
        """Asks the provider for what is missing between ``start`` and ``end``, both inclusive, and stores it.

        Nothing that is complete is asked for again. Failures of single symbol-days are in the report. Where the
        configuration enables metrics they are served over HTTP for as long as this runs. Raises
        ``ConfigurationError`` before anything is touched, and ``CredentialsError`` where the provider refuses the keys.
        """
        with self._ingesting:
            scope = self._scope(symbols, start, end)
            self._check(scope)
            self._run.reset()
            started = self._parts.clock.monotonic()
            with self._serving_metrics():
                job = self._parts.coordinator.ingest(scope)
            aggregates = self._aggregate(scope.symbols, scope.first, scope.last, self._config.timeframes)
            return self._report(job, aggregates, self._parts.clock.monotonic() - started)

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
        """Brings aggregates up to date with the minutes; what agrees with them already is not written again."""
        chosen, first, last = self._stored_range(symbols, start, end)
        wanted = self._config.timeframes if timeframes is None else tuple(Timeframe.parse(t) for t in timeframes)
        return self._aggregate(chosen, first, last, wanted)

    def query(self, sql: str) -> pa.Table:
        """One SELECT over the views ``bars``, ``bars_5m`` … ``bars_1d``. Raises ``QueryError``."""
        return self._parts.query.run(sql)

    def load(
        self, symbols: Symbols, start: AnyDate, end: AnyDate, timeframe: str | Timeframe = Timeframe.MINUTE_1
    ) -> pa.Table:
        """Stored bars by symbol, then time; ``start`` and ``end`` are trading dates, both inclusive."""
        first, last = as_trading_date(start), as_trading_date(end)
        return self._parts.loader.load(as_symbols(symbols), first, last, Timeframe.parse(timeframe))

    def status(self) -> StatusReport:
        """What the store has and lacks, as its checkpoints say. Creates nothing."""
        if not self._config.state_path.exists():
            return StatusReport(self._parts.stored_identity.read(), (), ())
        state = self._parts.state
        return StatusReport(
            self._parts.stored_identity.read(), tuple(state.summaries()), tuple(state.jobs(LATEST_JOBS))
        )

    def _serving_metrics(self) -> AbstractContextManager[object]:
        settings = self._config.metrics
        if not settings.enabled:
            return nullcontext()
        return MetricsServer(self._metrics.registry, settings.host, settings.port)

    def _check(self, scope: IngestionScope) -> None:
        """All that can be refused is refused before the first file is made."""
        self._parts.calendar.sessions(scope.first, scope.last)
        self._parts.stored_identity.check(self._parts.provider.traits.identity)

    def _scope(self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None) -> IngestionScope:
        config = self._parts.ingestion_config
        return IngestionScope(
            config.symbols if symbols is None else as_symbols(symbols),
            config.start if start is None else as_trading_date(start),
            config.end if end is None else as_trading_date(end),
            config.session,
        )

    def _stored_range(
        self, symbols: Symbols | None, start: AnyDate | None, end: AnyDate | None
    ) -> tuple[tuple[Symbol, ...], TradingDate, TradingDate]:
        chosen = self._parts.stored_bars.symbols() if symbols is None else as_symbols(symbols)
        first = FIRST_DATE if start is None else as_trading_date(start)
        return chosen, first, LAST_DATE if end is None else as_trading_date(end)

    def _aggregate(
        self, symbols: Sequence[Symbol], first: TradingDate, last: TradingDate, timeframes: Sequence[Timeframe]
    ) -> AggregationReport:
        if not timeframes or self._parts.stored_identity.read() is None:
            return AggregationReport(0, 0)
        count = self._parts.refresher.refresh(symbols, timeframes, first, last)
        return AggregationReport(count.written, count.unchanged, count.failures)

    def _report(self, job: IngestionJob, aggregates: AggregationReport, seconds: float) -> IngestionReport:
        return IngestionReport(
            job.job_id,
            str(job.state),
            job.planned,
            job.settled,
            job.not_begun,
            self._run.requests,
            seconds,
            job.outcomes,
            self._run.warnings,
            aggregates,
        )
