"""Clients of market data providers for tests: they do not really wait, and they record every event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from marketpipe.integration.infrastructure.alpaca.alpaca_capabilities import alpaca_capabilities
from marketpipe.integration.infrastructure.alpaca.alpaca_client import AlpacaClient, alpaca_auth
from marketpipe.integration.infrastructure.http_exchange import LARGEST_BODY, LONGEST_SECONDS, HttpExchange
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateWindow
from marketpipe.integration.infrastructure.retry import RetryPolicy
from marketpipe.shared_kernel.events import Event, RateLimitWaited
from marketpipe.testing import FakeClock
from tests.support.scripted_transport import Answer, ScriptedTransport

KEY, SECRET = "AKTESTKEY7QJ2XVD", "s3cr3t/Value+With=Chars"


def exchange(
    url: str,
    transport: httpx.MockTransport | None = None,
    *,
    seconds: float = 5.0,
    largest_body: int = LARGEST_BODY,
    longest_body_seconds: float = LONGEST_SECONDS,
) -> HttpExchange:
    return HttpExchange(
        url,
        alpaca_auth(KEY, SECRET),
        timeout=httpx.Timeout(seconds),
        largest_body=largest_body,
        longest_body_seconds=longest_body_seconds,
        transport=transport,
        async_transport=transport,
    )


class AlpacaSetting:
    """An ``AlpacaClient`` with its clock and its events, which a test checks afterwards."""

    def __init__(
        self,
        http: HttpExchange,
        *,
        retry: RetryPolicy | None = None,
        windows: Sequence[RateWindow] = (),
        feed: str = "sip",
        adjustment: str = "raw",
        client_class: type[AlpacaClient] = AlpacaClient,
        **options: Any,
    ) -> None:
        self.clock, self.events = FakeClock(), list[Event]()
        limiter = RateLimiter(windows, self.clock, lambda s: self.events.append(RateLimitWaited("alpaca", s)))
        capabilities = alpaca_capabilities(feed, adjustment)
        publish = self.events.append
        self.client = client_class(capabilities, http, limiter, self.clock, retry=retry, publish=publish, **options)


def scripted_alpaca(*answers: Answer | Exception, **setting: Any) -> tuple[AlpacaSetting, ScriptedTransport]:
    transport = ScriptedTransport(*answers)
    return AlpacaSetting(exchange("http://alpaca.test", transport), **setting), transport
