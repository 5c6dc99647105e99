"""How Alpaca can be asked: a plan, and a run that finds nothing missing, need this and no HTTP client."""

from __future__ import annotations

from datetime import timedelta

from marketpipe.integration.domain.data_feed import AT_THE_CLOSE, DataFeed, ProviderCapabilities
from marketpipe.shared_kernel.domain.store_inventory import NO_MAPPING

BARS_PER_PAGE = 10_000
"""The largest ``limit`` that Alpaca takes; it counts bars over all symbols."""
SYMBOLS_PER_REQUEST = 200
SYMBOLS_PER_OFFICIAL_REQUEST = 2_000
"""Their last five sessions fill one page; 10 kB of URL at most. A proxy that refuses such a URL gets shorter ones."""
NOTICES = {
    "iex": "feed iex has the trades of one exchange only, about a twenty-eighth of the volume of the whole tape: "
    "minutes without a trade there have no bar, and prices and volumes are not the market's. Feed sip has all trades, "
    "and is free for history older than 15 minutes"
}


def alpaca_capabilities(
    feed: str, adjustment: str, requests_per_minute: int | None = None, asof: str = NO_MAPPING
) -> ProviderCapabilities:
    """Feeds are sip, iex and otc; adjustments raw, split, dividend, spin-off and all; ``asof`` is a date or "-".

    Free plans may request history of the feed sip once it is 15 minutes old.
    """
    delayed = DataFeed(feed, timedelta(minutes=15), NOTICES.get(feed, ""))
    return ProviderCapabilities(
        "alpaca",
        delayed,
        adjustment,
        BARS_PER_PAGE,
        SYMBOLS_PER_REQUEST,
        requests_per_minute,
        official_days=True,
        symbols_per_official_request=SYMBOLS_PER_OFFICIAL_REQUEST,
        asof=asof,
        closing_auction=AT_THE_CLOSE,
    )
