"""What an author of a market data provider needs to test it. Everything else of MarketPipe works without pytest.

    class TestAcme(HttpProviderContract):     # tests of every provider over HTTP, for yours
        def new_provider(self, url, context): ...
        def respond(self, request, market, page_size): ...

``HttpProviderContract`` runs your provider against a server in this process, which answers with ``respond`` and also
fails. ``MarketDataProviderContract`` is for any other provider. See docs/how-to/write-a-provider.md.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("marketpipe.testing needs pytest: pip install 'marketpipe[testing]'") from error

# Before they are imported: a failed assertion then shows the values, as in a module of tests.
pytest.register_assert_rewrite("marketpipe.testing.provider_contract", "marketpipe.testing.http_contract")

from marketpipe.testing.bars import BarRow, bar, bar_table, bars_request, sessions  # noqa: E402
from marketpipe.testing.clock import FakeClock  # noqa: E402
from marketpipe.testing.http_contract import Connection, HttpProviderContract  # noqa: E402
from marketpipe.testing.loopback import (  # noqa: E402
    Answer,
    Fault,
    LoopbackRequest,
    LoopbackServer,
    RecordedExchange,
    Response,
    cut_body,
    dropped,
    malformed_body,
    rate_limited,
    server_error,
    slow_body,
)
from marketpipe.testing.market import Market, invented_market, official_day  # noqa: E402
from marketpipe.testing.pages import READERS, bars_in, page_rows, read_pages, read_pages_async, row_symbols  # noqa: E402
from marketpipe.testing.provider_contract import MarketDataProviderContract  # noqa: E402
from marketpipe.testing.recording import forwarded_to, replayed, save_recording  # noqa: E402

__all__ = [
    "READERS",
    "Answer",
    "BarRow",
    "Connection",
    "FakeClock",
    "Fault",
    "HttpProviderContract",
    "LoopbackRequest",
    "LoopbackServer",
    "Market",
    "MarketDataProviderContract",
    "RecordedExchange",
    "Response",
    "bar",
    "bar_table",
    "bars_in",
    "bars_request",
    "cut_body",
    "dropped",
    "forwarded_to",
    "invented_market",
    "malformed_body",
    "official_day",
    "page_rows",
    "rate_limited",
    "read_pages",
    "read_pages_async",
    "replayed",
    "row_symbols",
    "save_recording",
    "server_error",
    "sessions",
    "slow_body",
]
