"""What an author of a market data provider imports: these names and no others.

A provider over HTTP extends ``BaseApiClient``, which pages, keeps the rate limit and retries. Any other provider
implements ``MarketDataProvider``. An entry point of the group ``marketpipe.providers`` names a callable that takes a
``ProviderContext`` and returns the provider. See docs/how-to/write-a-provider.md.
"""

from __future__ import annotations

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities, ProviderContext
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.auth import AuthStrategy, HeaderTokenAuth
from marketpipe.integration.infrastructure.base_api_client import BaseApiClient
from marketpipe.integration.infrastructure.http_exchange import HttpExchange
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateLimitReport, RateWindow
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.events import RefusedSymbol
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA

ProviderTraits = ProviderCapabilities
"""Former name of ``ProviderCapabilities``; it still works."""

__all__ = [
    "BAR_SCHEMA",
    "AskedSession",
    "AuthStrategy",
    "BarsRequest",
    "BaseApiClient",
    "Clock",
    "DataFeed",
    "HeaderTokenAuth",
    "HttpExchange",
    "MarketDataProvider",
    "ProviderCapabilities",
    "ProviderContext",
    "ProviderTraits",
    "RateLimitReport",
    "RateLimiter",
    "RateWindow",
    "RawMarketData",
    "RefusedSymbol",
    "RetryPolicy",
    "SymbolRun",
]
