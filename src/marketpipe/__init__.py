"""MarketPipe keeps a local store of OHLCV bars true. These are its public names; each is imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from marketpipe.public_names import HOMES

if TYPE_CHECKING:
    from marketpipe.audit_report import AuditReport, SymbolAdjustment
    from marketpipe.config import (
        ClientConfig,
        CoverageConfig,
        Credentials,
        MetricsConfig,
        PipelineConfig,
        StoreConfig,
        SyntheticConfig,
        ValidationConfig,
        load_config,
    )
    from marketpipe.coverage_report import CoverageReport
    from marketpipe.ingestion.domain.coverage.symbol_coverage import Gap, SymbolCoverage
    from marketpipe.ingestion.domain.coverage.verdict import Finding, SessionVerdict, Suspicion, Verdict
    from marketpipe.ingestion.domain.plan_estimate import PlanEstimate
    from marketpipe.ingestion.domain.recovery import RecoveryReport
    from marketpipe.ingestion.domain.restatement import Restatement, RestatementKind
    from marketpipe.loader import load_ohlcv
    from marketpipe.pipeline import Pipeline
    from marketpipe.provider_kit import (
        BAR_SCHEMA,
        AskedSession,
        AuthStrategy,
        BarsRequest,
        BaseApiClient,
        Clock,
        DataFeed,
        HeaderTokenAuth,
        HttpExchange,
        MarketDataProvider,
        ProviderContext,
        ProviderTraits,
        RateLimiter,
        RateLimitReport,
        RateWindow,
        RawMarketData,
        RefusedSymbol,
        RetryPolicy,
        SymbolRun,
    )
    from marketpipe.reports import AggregationReport, IngestionReport, PlanReport, StatusReport, ValidationReport
    from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
    from marketpipe.shared_kernel.domain.day_comparison import DayComparison
    from marketpipe.shared_kernel.domain.errors import (
        BadRequestError,
        ConfigurationError,
        CredentialsError,
        DatasetMismatchError,
        EndlessPagingError,
        EntitlementError,
        IngestionInterrupted,
        MalformedResponseError,
        MarketPipeError,
        PartitionUnreadableError,
        ProviderError,
        ProviderTimeoutError,
        ProviderUnavailableError,
        QueryError,
        RateLimitedError,
        StateError,
        StorageError,
        StoreBusyError,
        SymbolRefusedError,
        TerminalProviderError,
        TransientProviderError,
        ValidationError,
        WorkerLostError,
    )
    from marketpipe.shared_kernel.domain.ohlcv_bar import OHLCVBar
    from marketpipe.shared_kernel.domain.price import Price
    from marketpipe.shared_kernel.domain.severity import Severity
    from marketpipe.shared_kernel.domain.symbol import Symbol
    from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
    from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
    from marketpipe.shared_kernel.domain.time_window import TimeWindow
    from marketpipe.shared_kernel.domain.timeframe import Timeframe
    from marketpipe.shared_kernel.domain.timestamp import Timestamp
    from marketpipe.shared_kernel.domain.traded_minutes import TradedMinutes
    from marketpipe.shared_kernel.domain.trading_date import TradingDate
    from marketpipe.shared_kernel.domain.trading_session import SessionHours, SessionKind, TradingSession
    from marketpipe.shared_kernel.events.aggregate_events import AggregatesRefreshed
    from marketpipe.shared_kernel.events.audit_events import AuditFinished, AuditStarted, BarsCompared
    from marketpipe.shared_kernel.events.bar_events import (
        BarsExhausted,
        BarsFetched,
        BarsRequested,
        BarsStored,
        BarsValidated,
        RuleFinding,
        StoredSymbolDay,
    )
    from marketpipe.shared_kernel.events.event import Event
    from marketpipe.shared_kernel.events.job_events import JobFinished, JobStarted, SymbolDaysRecorded
    from marketpipe.shared_kernel.events.provider_events import RateLimitWaited, RequestCompleted, RequestRetried
    from marketpipe.storage.domain.dataset_lock import DatasetLock, LockedFile
    from marketpipe.storage.domain.integrity import Damage, IntegrityProblem, IntegrityReport

_HOME_OF = {name: home for home, names in HOMES.items() for name in names}

__all__ = [
    "BAR_SCHEMA",
    "AggregatesRefreshed",
    "AggregationReport",
    "AskedSession",
    "AuditFinished",
    "AuditReport",
    "AuditStarted",
    "AuthStrategy",
    "BadRequestError",
    "BarsCompared",
    "BarsExhausted",
    "BarsFetched",
    "BarsRequest",
    "BarsRequested",
    "BarsStored",
    "BarsValidated",
    "BaseApiClient",
    "ClientConfig",
    "Clock",
    "ConfigurationError",
    "CoverageConfig",
    "CoverageReport",
    "Credentials",
    "CredentialsError",
    "Damage",
    "DataFeed",
    "DatasetIdentity",
    "DatasetLock",
    "DatasetMismatchError",
    "DayComparison",
    "EndlessPagingError",
    "EntitlementError",
    "Event",
    "Finding",
    "Gap",
    "HeaderTokenAuth",
    "HttpExchange",
    "IngestionInterrupted",
    "IngestionReport",
    "IntegrityProblem",
    "IntegrityReport",
    "JobFinished",
    "JobStarted",
    "LockedFile",
    "MalformedResponseError",
    "MarketDataProvider",
    "MarketPipeError",
    "MetricsConfig",
    "OHLCVBar",
    "Outcome",
    "PartitionUnreadableError",
    "Pipeline",
    "PipelineConfig",
    "PlanEstimate",
    "PlanReport",
    "Price",
    "ProviderContext",
    "ProviderError",
    "ProviderTimeoutError",
    "ProviderTraits",
    "ProviderUnavailableError",
    "QueryError",
    "RateLimitReport",
    "RateLimitWaited",
    "RateLimitedError",
    "RateLimiter",
    "RateWindow",
    "RawMarketData",
    "RecoveryReport",
    "RefusedSymbol",
    "RequestCompleted",
    "RequestRetried",
    "Restatement",
    "RestatementKind",
    "RetryPolicy",
    "RuleFinding",
    "SessionHours",
    "SessionKind",
    "SessionVerdict",
    "Severity",
    "StateError",
    "StatusReport",
    "StorageError",
    "StoreBusyError",
    "StoreConfig",
    "StoredSymbolDay",
    "Suspicion",
    "Symbol",
    "SymbolAdjustment",
    "SymbolCoverage",
    "SymbolDay",
    "SymbolDayOutcome",
    "SymbolDaysRecorded",
    "SymbolRefusedError",
    "SymbolRun",
    "SyntheticConfig",
    "TerminalProviderError",
    "TimeWindow",
    "Timeframe",
    "Timestamp",
    "TradedMinutes",
    "TradingDate",
    "TradingSession",
    "TransientProviderError",
    "ValidationConfig",
    "ValidationError",
    "ValidationReport",
    "Verdict",
    "WorkerLostError",
    "load_config",
    "load_ohlcv",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
