"""Alpaca's Market Data API v2: its paths, parameters, limits and errors. ``ResponseParser`` reads its pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta

from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import BARS_PER_PAGE
from marketpipe.integration.infrastructure.alpaca.fast_pages import FastPages
from marketpipe.integration.infrastructure.alpaca.response_parser import ResponseParser
from marketpipe.integration.infrastructure.auth import HeaderTokenAuth
from marketpipe.integration.infrastructure.base_api_client import BaseApiClient
from marketpipe.integration.infrastructure.http_exchange import HttpExchange
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateLimitReport
from marketpipe.integration.infrastructure.retry import RetryPolicy, classify_status, provider_message
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    CredentialsError,
    EntitlementError,
    ProviderError,
    SymbolRefusedError,
)
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.events import Event

TIMEFRAMES = {Timeframe.MINUTE_1: "1Min", Timeframe.DAY_1: "1Day"}
LONGEST_END = 512
"""Bytes behind the bars of a page that are searched for the token."""
_TOKEN_AT_THE_END = re.compile(rb'"next_page_token"\s*:\s*"([\w+/=|:.-]+)"\s*}\s*\Z', re.ASCII)
_REFUSED_SYMBOL = re.compile(r"invalid symbol(?:[^:]*:\s*(\S+))?", re.IGNORECASE)


def alpaca_auth(key: str, secret: str) -> HeaderTokenAuth:
    return HeaderTokenAuth({"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret})


class AlpacaClient(BaseApiClient):
    """Fetches historical minute bars and official daily bars from Alpaca's endpoint for many symbols."""

    def __init__(
        self,
        capabilities: ProviderCapabilities,
        http: HttpExchange,
        limiter: RateLimiter,
        clock: Clock,
        *,
        retry: RetryPolicy | None = None,
        publish: Callable[[Event], None] = lambda _: None,
        fast_pages: FastPages | None = None,
        new_executor: Callable[[int, str], Executor] = ThreadPoolExecutor,
    ) -> None:
        """``fast_pages`` reads usual pages in less time; None: all pages are read in the usual way."""
        super().__init__(capabilities, http, limiter, clock, retry=retry, publish=publish, new_executor=new_executor)
        self._fast_pages = fast_pages

    def endpoint_path(self, request: BarsRequest) -> str:  # noqa: ARG002 - one path for every request
        return "/v2/stocks/bars"

    def build_request_params(self, request: BarsRequest, cursor: str | None) -> Mapping[str, str]:
        # Alpaca includes both ends of a window, and bars are stamped with whole minutes: a second earlier excludes it.
        last_second = request.window.end.plus(timedelta(seconds=-1))
        if request.timeframe is Timeframe.DAY_1:
            # Stamped New York midnight. Not until the midnight after it: a free plan refuses an ``end`` of the feed sip
            # that is not 15 minutes old, so that on the evening of a session its official day could not be requested.
            last_second = request.sessions[-1].session.closes
        params = {
            "symbols": ",".join(map(str, request.symbols)),
            "timeframe": TIMEFRAMES[request.timeframe],
            "start": _rfc3339(request.window.start),
            "end": _rfc3339(max(last_second, request.window.start)),
            # Always sent: the default limit is a tenth of this, and the default feed depends on the user's plan.
            "limit": str(BARS_PER_PAGE),
            "adjustment": self.capabilities.adjustment,
            "feed": self.capabilities.feed.name,
            # Always sent: the default is the day of the request, so the same request would change its meaning.
            "asof": self.capabilities.asof,
            "sort": "asc",
        }
        return params if cursor is None else {**params, "page_token": cursor}

    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        return ResponseParser(request.symbols, request.timeframe, self._fast_pages).parse(body)

    def peek_next_cursor(self, body: bytes) -> str | None:
        """Return the token if it ends the body, where Alpaca writes it, and has none but its usual characters."""
        found = _TOKEN_AT_THE_END.search(body, max(0, len(body) - LONGEST_END))
        return None if found is None else found[1].decode()

    def classify_failure(self, status: int, body: bytes, limit: RateLimitReport) -> ProviderError:
        message = provider_message(body)
        error = classify_status(self.capabilities.name, status, body, limit)
        if status in (401, 403, 422) and "subscription" in message.lower():
            return EntitlementError(f"{error}. {self._missing_entitlement()}")
        if status == 403:  # Alpaca's FAQ says that wrong keys are a 403, its OpenAPI file that they are a 401
            return CredentialsError(f"{error}. Check ALPACA_KEY and ALPACA_SECRET")
        if status in (400, 422) and (refused := _REFUSED_SYMBOL.search(message)):
            return SymbolRefusedError(str(error), refused[1])
        return error

    def _missing_entitlement(self) -> str:
        if self.capabilities.feed.name != "sip":
            return f"Feed {self.capabilities.feed.name} needs another plan; feed sip is free for history (a new store)"
        return (
            "Without a paid plan, feed sip is open once it is 15 minutes old, and by the clock of this machine nothing "
            "younger was requested: check that clock, then run again; or use feed iex in a store of its own"
        )


def _rfc3339(moment: Timestamp) -> str:
    return moment.moment.strftime("%Y-%m-%dT%H:%M:%SZ")
