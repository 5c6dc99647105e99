"""MarketPipe keeps a local store of OHLCV bars true. These are its public names; each is imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketpipe.config import (
        ClientConfig as ClientConfig,
    )
    from marketpipe.config import (
        Credentials as Credentials,
    )
    from marketpipe.config import (
        MetricsConfig as MetricsConfig,
    )
    from marketpipe.config import (
        PipelineConfig as PipelineConfig,
    )
    from marketpipe.config import (
        StoreConfig as StoreConfig,
    )
    from marketpipe.config import (
        SyntheticConfig as SyntheticConfig,
    )
    from marketpipe.config import (
        ValidationConfig as ValidationConfig,
    )
    from marketpipe.config import (
        load_config as load_config,
    )
    from marketpipe.loader import load_ohlcv as load_ohlcv
    from marketpipe.pipeline import Pipeline as Pipeline
    from marketpipe.provider_kit import (
        BAR_SCHEMA as BAR_SCHEMA,
    )
    from marketpipe.provider_kit import (
        AskedSession as AskedSession,
    )
    from marketpipe.provider_kit import (
        AuthStrategy as AuthStrategy,
    )
    from marketpipe.provider_kit import (
        BarsRequest as BarsRequest,
    )
    from marketpipe.provider_kit import (
        BaseApiClient as BaseApiClient,
    )
    from marketpipe.provider_kit import (
        DataFeed as DataFeed,
    )
    from marketpipe.provider_kit import (
        HeaderTokenAuth as HeaderTokenAuth,
    )
    from marketpipe.provider_kit import (
        HttpExchange as HttpExchange,
    )
    from marketpipe.provider_kit import (
        MarketDataProvider as MarketDataProvider,
    )
    from marketpipe.provider_kit import (
        ProviderContext as ProviderContext,
    )
    from marketpipe.provider_kit import (
        ProviderTraits as ProviderTraits,
    )
    from marketpipe.provider_kit import (
        RateLimiter as RateLimiter,
    )
    from marketpipe.provider_kit import (
        RateLimitReport as RateLimitReport,
    )
    from marketpipe.provider_kit import (
        RateWindow as RateWindow,
    )
    from marketpipe.provider_kit import (
        RawMarketData as RawMarketData,
    )
    from marketpipe.provider_kit import (
        RetryPolicy as RetryPolicy,
    )
    from marketpipe.provider_kit import (
        SymbolRun as SymbolRun,
    )
    from marketpipe.reports import (
        AggregationReport as AggregationReport,
    )
    from marketpipe.reports import (
        IngestionReport as IngestionReport,
    )
    from marketpipe.reports import (
        StatusReport as StatusReport,
    )
    from marketpipe.reports import (
        ValidationReport as ValidationReport,
    )
    from marketpipe.shared_kernel.domain.dataset import DatasetIdentity as DatasetIdentity
    from marketpipe.shared_kernel.domain.errors import (
        BadRequestError as BadRequestError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        ConfigurationError as ConfigurationError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        CredentialsError as CredentialsError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        DatasetMismatchError as DatasetMismatchError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        EndlessPagingError as EndlessPagingError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        EntitlementError as EntitlementError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        IngestionInterrupted as IngestionInterrupted,
    )
    from marketpipe.shared_kernel.domain.errors import (
        MalformedResponseError as MalformedResponseError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        MarketPipeError as MarketPipeError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        PartitionUnreadableError as PartitionUnreadableError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        ProviderError as ProviderError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        ProviderTimeoutError as ProviderTimeoutError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        ProviderUnavailableError as ProviderUnavailableError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        QueryError as QueryError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        RateLimitedError as RateLimitedError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        StateError as StateError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        StorageError as StorageError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        SymbolRefusedError as SymbolRefusedError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        TerminalProviderError as TerminalProviderError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        TransientProviderError as TransientProviderError,
    )
    from marketpipe.shared_kernel.domain.errors import (
        ValidationError as ValidationError,
    )
    from marketpipe.shared_kernel.domain.ohlcv_bar import OHLCVBar as OHLCVBar
    from marketpipe.shared_kernel.domain.price import Price as Price
    from marketpipe.shared_kernel.domain.severity import Severity as Severity
    from marketpipe.shared_kernel.domain.symbol import Symbol as Symbol
    from marketpipe.shared_kernel.domain.symbol_day import SymbolDay as SymbolDay
    from marketpipe.shared_kernel.domain.symbol_day_outcome import (
        Outcome as Outcome,
    )
    from marketpipe.shared_kernel.domain.symbol_day_outcome import (
        SymbolDayOutcome as SymbolDayOutcome,
    )
    from marketpipe.shared_kernel.domain.time_window import TimeWindow as TimeWindow
    from marketpipe.shared_kernel.domain.timeframe import Timeframe as Timeframe
    from marketpipe.shared_kernel.domain.timestamp import Timestamp as Timestamp
    from marketpipe.shared_kernel.domain.trading_date import TradingDate as TradingDate
    from marketpipe.shared_kernel.domain.trading_session import (
        SessionKind as SessionKind,
    )
    from marketpipe.shared_kernel.domain.trading_session import (
        TradingSession as TradingSession,
    )
    from marketpipe.shared_kernel.events.aggregate_events import AggregatesRefreshed as AggregatesRefreshed
    from marketpipe.shared_kernel.events.bar_events import (
        BarsExhausted as BarsExhausted,
    )
    from marketpipe.shared_kernel.events.bar_events import (
        BarsFetched as BarsFetched,
    )
    from marketpipe.shared_kernel.events.bar_events import (
        BarsRequested as BarsRequested,
    )
    from marketpipe.shared_kernel.events.bar_events import (
        BarsStored as BarsStored,
    )
    from marketpipe.shared_kernel.events.bar_events import (
        BarsValidated as BarsValidated,
    )
    from marketpipe.shared_kernel.events.bar_events import (
        RuleFinding as RuleFinding,
    )
    from marketpipe.shared_kernel.events.bar_events import (
        StoredSymbolDay as StoredSymbolDay,
    )
    from marketpipe.shared_kernel.events.event import Event as Event
    from marketpipe.shared_kernel.events.job_events import (
        JobFinished as JobFinished,
    )
    from marketpipe.shared_kernel.events.job_events import (
        JobStarted as JobStarted,
    )
    from marketpipe.shared_kernel.events.job_events import (
        SymbolDaysRecorded as SymbolDaysRecorded,
    )
    from marketpipe.shared_kernel.events.provider_events import (
        RateLimitWaited as RateLimitWaited,
    )
    from marketpipe.shared_kernel.events.provider_events import (
        RequestCompleted as RequestCompleted,
    )
    from marketpipe.shared_kernel.events.provider_events import (
        RequestRetried as RequestRetried,
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
