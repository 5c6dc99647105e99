from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define

from marketpipe.bootstrap.shared_parts import SharedParts
from marketpipe.config import ClientConfig, Credentials, PipelineConfig, find_credentials
from marketpipe.provider_registry import registered_factory
from marketpipe.shared_kernel.events import RateLimitWaited

if TYPE_CHECKING:
    from marketpipe.integration.application.ports import MarketDataProvider
    from marketpipe.integration.domain.data_feed import ProviderCapabilities


@define(slots=False)
class ProviderParts(SharedParts):
    """The configured market data provider."""

    @cached_property
    def provider(self) -> MarketDataProvider:
        return self.market_data_provider or self._make_provider(self.ingestion_config)

    @property
    def capabilities(self) -> ProviderCapabilities:
        """How the provider speaks, for which Alpaca needs no keys."""
        config = self.ingestion_config
        if self.market_data_provider is None and config.provider == "alpaca":
            return _alpaca_capabilities(config.alpaca)
        return self.provider.capabilities

    @property
    def alpaca_credentials(self) -> Credentials:
        return self.credentials or find_credentials(os.environ)

    def _make_provider(self, config: PipelineConfig) -> MarketDataProvider:
        from marketpipe.integration.application.provider_context import ProviderContext

        if config.provider == "alpaca":
            return self._alpaca(config.alpaca)
        if config.provider == "synthetic":
            from marketpipe.integration.infrastructure.synthetic.synthetic_client import SyntheticClient

            return SyntheticClient(config.synthetic.seed)
        context = ProviderContext(config.provider_options, self.clock, self.bus.publish)
        return registered_factory(config.provider)(context)

    def _alpaca(self, config: ClientConfig) -> MarketDataProvider:
        from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient, alpaca_auth
        from marketpipe.integration.infrastructure.http_exchange import HttpExchange
        from marketpipe.integration.infrastructure.rate_limiter import RateLimiter, RateWindow

        credentials = self.alpaca_credentials
        http = HttpExchange(config.base_url, alpaca_auth(credentials.key, credentials.secret))
        limiter = RateLimiter(
            [RateWindow(config.rate_limit_per_min)],
            self.clock,
            lambda seconds: self.bus.publish(RateLimitWaited("alpaca", seconds)),
            shared_in=self._rate_limit_file("alpaca", config.base_url, credentials.key),
        )
        return AlpacaClient(_alpaca_capabilities(config), http, limiter, self.clock, publish=self.bus.publish)

    def _rate_limit_file(self, provider: str, base_url: str, key: str) -> Path:
        """One for each account. Nobody learns the key from its name."""
        account = hashlib.sha256("\n".join((base_url, key)).encode()).hexdigest()
        return self.config.state_path.with_name(f"rate-limit-{provider}-{account[:32]}")


def _alpaca_capabilities(config: ClientConfig) -> ProviderCapabilities:
    from marketpipe.integration.infrastructure.alpaca.alpaca_client import alpaca_capabilities

    return alpaca_capabilities(config.feed, config.adjustment, config.rate_limit_per_min)
