"""MarketPipe keeps a local store of OHLCV bars true. These are its public names; each is imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketpipe.config import (
        ClientConfig,
        Credentials,
        MetricsConfig,
        PipelineConfig,
        StoreConfig,
        SyntheticConfig,
        ValidationConfig,
        load_config,
    )
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
    from marketpipe.reports import (
        AggregationReport,
        IngestionReport,
        StatusReport,
        ValidationReport,
    )
    from marketpipe.shared_kernel.domain.dataset import DatasetIdentity
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
        SymbolRefusedError,
        TerminalProviderError,
        TransientProviderError,
        ValidationError,
    )
    from marketpipe.shared_kernel.domain.ohlcv_bar import OHLCVBar
    from marketpipe.shared_kernel.domain.price import Price
    from marketpipe.shared_kernel.domain.severity import Severity
    from marketpipe.shared_kernel.domain.symbol import Symbol
    from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
    from marketpipe.shared_kernel.domain.symbol_day_outcome import (
        Outcome,
        SymbolDayOutcome,
    )
    from marketpipe.shared_kernel.domain.time_window import TimeWindow
    from marketpipe.shared_kernel.domain.timeframe import Timeframe
    from marketpipe.shared_kernel.domain.timestamp import Timestamp
    from marketpipe.shared_kernel.domain.trading_date import TradingDate
    from marketpipe.shared_kernel.domain.trading_session import (
        SessionKind,
        TradingSession,
    )
    from marketpipe.shared_kernel.events.aggregate_events import AggregatesRefreshed
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
    from marketpipe.shared_kernel.events.job_events import (
        JobFinished,
        JobStarted,
        SymbolDaysRecorded,
    )
    from marketpipe.shared_kernel.events.provider_events import (
        RateLimitWaited,
        RequestCompleted,
        RequestRetried,
    )

_HOMES = {
    "marketpipe.config": (
        "ClientConfig",
        "Credentials",
        "MetricsConfig",
        "PipelineConfig",
        "StoreConfig",
        "SyntheticConfig",
        "ValidationConfig",
        "load_config",
    ),
    "marketpipe.loader": ("load_ohlcv",),
    "marketpipe.pipeline": ("Pipeline",),
    "marketpipe.provider_kit": (
        "AskedSession",
        "AuthStrategy",
        "BAR_SCHEMA",
        "BarsRequest",
        "BaseApiClient",
        "Clock",
        "DataFeed",
        "HeaderTokenAuth",
        "HttpExchange",
        "MarketDataProvider",
        "ProviderContext",
        "ProviderTraits",
        "RateLimitReport",
        "RateLimiter",
        "RateWindow",
        "RawMarketData",
        "RefusedSymbol",
        "RetryPolicy",
        "SymbolRun",
    ),
    "marketpipe.reports": ("AggregationReport", "IngestionReport", "StatusReport", "ValidationReport"),
    "marketpipe.shared_kernel.domain.dataset": ("DatasetIdentity",),
    "marketpipe.shared_kernel.domain.errors": (
        "BadRequestError",
        "ConfigurationError",
        "CredentialsError",
        "DatasetMismatchError",
        "EndlessPagingError",
        "EntitlementError",
        "IngestionInterrupted",
        "MalformedResponseError",
        "MarketPipeError",
        "PartitionUnreadableError",
        "ProviderError",
        "ProviderTimeoutError",
        "ProviderUnavailableError",
        "QueryError",
        "RateLimitedError",
        "StateError",
        "StorageError",
        "SymbolRefusedError",
        "TerminalProviderError",
        "TransientProviderError",
        "ValidationError",
    ),
    "marketpipe.shared_kernel.domain.ohlcv_bar": ("OHLCVBar",),
    "marketpipe.shared_kernel.domain.price": ("Price",),
    "marketpipe.shared_kernel.domain.severity": ("Severity",),
    "marketpipe.shared_kernel.domain.symbol": ("Symbol",),
    "marketpipe.shared_kernel.domain.symbol_day": ("SymbolDay",),
    "marketpipe.shared_kernel.domain.symbol_day_outcome": ("Outcome", "SymbolDayOutcome"),
    "marketpipe.shared_kernel.domain.time_window": ("TimeWindow",),
    "marketpipe.shared_kernel.domain.timeframe": ("Timeframe",),
    "marketpipe.shared_kernel.domain.timestamp": ("Timestamp",),
    "marketpipe.shared_kernel.domain.trading_date": ("TradingDate",),
    "marketpipe.shared_kernel.domain.trading_session": ("SessionKind", "TradingSession"),
    "marketpipe.shared_kernel.events.aggregate_events": ("AggregatesRefreshed",),
    "marketpipe.shared_kernel.events.bar_events": (
        "BarsExhausted",
        "BarsFetched",
        "BarsRequested",
        "BarsStored",
        "BarsValidated",
        "RuleFinding",
        "StoredSymbolDay",
    ),
    "marketpipe.shared_kernel.events.event": ("Event",),
    "marketpipe.shared_kernel.events.job_events": ("JobFinished", "JobStarted", "SymbolDaysRecorded"),
    "marketpipe.shared_kernel.events.provider_events": ("RateLimitWaited", "RequestCompleted", "RequestRetried"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BAR_SCHEMA",
    "AggregatesRefreshed",
    "AggregationReport",
    "AskedSession",
    "AuthStrategy",
    "BadRequestError",
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
    "Credentials",
    "CredentialsError",
    "DataFeed",
    "DatasetIdentity",
    "DatasetMismatchError",
    "EndlessPagingError",
    "EntitlementError",
    "Event",
    "HeaderTokenAuth",
    "HttpExchange",
    "IngestionInterrupted",
    "IngestionReport",
    "JobFinished",
    "JobStarted",
    "MalformedResponseError",
    "MarketDataProvider",
    "MarketPipeError",
    "MetricsConfig",
    "OHLCVBar",
    "Outcome",
    "PartitionUnreadableError",
    "Pipeline",
    "PipelineConfig",
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
    "RefusedSymbol",
    "RequestCompleted",
    "RequestRetried",
    "RetryPolicy",
    "RuleFinding",
    "SessionKind",
    "Severity",
    "StateError",
    "StatusReport",
    "StorageError",
    "StoreConfig",
    "StoredSymbolDay",
    "Symbol",
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
    "TradingDate",
    "TradingSession",
    "TransientProviderError",
    "ValidationConfig",
    "ValidationError",
    "ValidationReport",
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
