"""A complete market data provider that uses only public names of ``marketpipe``.

Acme does not exist. It takes ``from`` (inclusive) and ``until`` (exclusive) in milliseconds since 1970, answers with
one flat list over all symbols, omits ``results`` if there are none, and gives the URL of the next page if there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import groupby
from urllib.parse import parse_qs, urlsplit

import msgspec
import pyarrow as pa

from marketpipe import (
    BAR_SCHEMA,
    BarsRequest,
    BaseApiClient,
    ConfigurationError,
    DataFeed,
    HeaderTokenAuth,
    HttpExchange,
    MalformedResponseError,
    ProviderCapabilities,
    ProviderContext,
    RateLimiter,
    RateLimitWaited,
    RateWindow,
    RawMarketData,
    Symbol,
    SymbolRun,
)

CAPABILITIES = ProviderCapabilities(
    "acme", DataFeed("consolidated", timedelta(minutes=20)), bars_per_page=5000, requests_per_minute=100
)


class _Bar(msgspec.Struct):
    symbol: str
    t: int
    o: float
    h: float
    l: float  # noqa: E741 - Acme's own name
    c: float
    v: float
    n: int | None = None
    vw: float | None = None


class _Page(msgspec.Struct):
    results: list[_Bar] = []
    next_url: str | None = None


class AcmeClient(BaseApiClient):
    def endpoint_path(self, request: BarsRequest) -> str:
        return "/v3/minutes"

    def build_request_params(self, request: BarsRequest, cursor: str | None) -> Mapping[str, str]:
        params = {
            "symbols": ",".join(map(str, request.symbols)),
            "from": str(request.window.start.epoch_micros // 1000),
            "until": str(request.window.end.epoch_micros // 1000),
            "limit": str(self.capabilities.bars_per_page),
        }
        return params if cursor is None else {**params, "cursor": cursor}

    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        try:
            page = msgspec.json.decode(body, type=_Page)
            bars = [bar for bar in page.results if bar.symbol in {str(symbol) for symbol in request.symbols}]
            columns = _columns(bars)
        except (msgspec.DecodeError, pa.ArrowInvalid, OverflowError, RecursionError) as error:
            raise MalformedResponseError(f"not a page of Acme's bars: {error}") from error
        runs = tuple(SymbolRun(Symbol(name), len(list(group))) for name, group in groupby(bars, lambda bar: bar.symbol))
        return RawMarketData(columns, runs, _cursor(page.next_url), unrequested=len(page.results) - len(bars))


def make_acme(context: ProviderContext) -> AcmeClient:
    """Make the provider, for the entry point. ``options`` is the section ``acme:`` of the configuration."""
    if "token" not in context.options:
        raise ConfigurationError("acme: token: Acme needs one; write `token: …` under `acme:`")
    auth = HeaderTokenAuth({"Authorization": f"Bearer {context.options['token']}"})
    http = HttpExchange(context.options.get("base_url", "https://api.acme.example"), auth)
    return connect(context, http)


def connect(context: ProviderContext, http: HttpExchange) -> AcmeClient:
    limiter = RateLimiter(
        [RateWindow(5, seconds=1), RateWindow(100)],
        context.clock,
        lambda seconds: context.publish(RateLimitWaited(CAPABILITIES.name, seconds)),
    )
    return AcmeClient(CAPABILITIES, http, limiter, context.clock, publish=context.publish)


def _columns(bars: list[_Bar]) -> pa.Table:
    stamps = pa.array([bar.t for bar in bars], pa.timestamp("ms", tz="UTC")).cast(BAR_SCHEMA.field("timestamp").type)
    numbers = ([getattr(bar, name) for bar in bars] for name in ("o", "h", "l", "c", "v", "n", "vw"))
    return pa.table([stamps, *numbers], schema=BAR_SCHEMA)


def _cursor(next_url: str | None) -> str | None:
    return None if next_url is None else parse_qs(urlsplit(next_url).query).get("cursor", [None])[0]
