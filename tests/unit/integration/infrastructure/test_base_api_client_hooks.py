"""What a new provider may override, on a provider that overrides all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData, SymbolRun
from marketpipe.integration.infrastructure.base_api_client import BaseApiClient
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import RateLimiter, RateLimitReport
from marketpipe.integration.infrastructure.retry import classify_status
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    CredentialsError,
    EntitlementError,
    ProviderError,
    ProviderUnavailableError,
    SymbolRefusedError,
)
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import READERS, FakeClock, bar, bar_table, bars_request, read_pages
from tests.support.clients import exchange
from tests.support.scripted_transport import Answer, ScriptedTransport

ASKED = bars_request(("AAPL", "MSFT"), "2024-03-11", "2024-03-11")
READ = pytest.mark.parametrize("reader", READERS, ids=["sync", "async"])
Reader = Callable[[MarketDataProvider, BarsRequest], list[RawMarketData]]


class PageNumberClient(BaseApiClient):
    """A body is a digit, the number of bars of the first symbol. A page that is not full is the last."""

    def endpoint_path(self, request: BarsRequest) -> str:
        return f"/bars/{request.symbols[0]}"

    def build_request_params(self, request: BarsRequest, cursor: str | None) -> Mapping[str, str]:
        return {"page": cursor or "1"}

    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        bars = [bar(f"2024-03-11T13:3{minute}:00Z") for minute in range(int(body))]
        return RawMarketData(bar_table(bars), (SymbolRun(request.symbols[0], len(bars)),), next_cursor=None)

    def next_cursor(self, page: RawMarketData) -> str | None:
        return None if page.num_rows < 3 else f"{page.num_rows} more"

    def classify_failure(self, status: int, body: bytes, limit: RateLimitReport) -> ProviderError:
        if status == 418:
            return SymbolRefusedError("a teapot")
        return CredentialsError("odd") if status == 500 else classify_status("pages", status, body, limit)

    def should_retry(self, error: BaseException) -> bool:
        return isinstance(error, EntitlementError)


def pages(*answers: Answer) -> tuple[PageNumberClient, ScriptedTransport]:
    transport, clock = ScriptedTransport(*answers), FakeClock()
    capabilities = ProviderCapabilities("pages", DataFeed("none"))
    return PageNumberClient(
        capabilities, exchange("http://pages.test", transport), RateLimiter([], clock), clock
    ), transport


@READ
def test_next_cursor_decides_on_paging(reader: Reader) -> None:
    client, transport = pages(Answer(body=b"3"), Answer(body=b"2"))
    found = reader(client, ASKED)
    assert [(page.num_rows, page.next_cursor) for page in found] == [(3, "3 more"), (2, None)]
    assert [query["page"] for query in transport.queries] == ["1", "3 more"]


def test_the_path_is_below_the_base_url_and_may_name_symbols() -> None:
    client, transport = pages(Answer(body=b"0"))
    read_pages(client, ASKED)
    assert str(transport.requests[0].url) == "http://pages.test/bars/AAPL?page=1"


@READ
def test_classify_failure_and_should_retry_belong_to_the_provider(reader: Reader) -> None:
    client, transport = pages(Answer(403), Answer(403), Answer(body=b"1"))
    assert [page.num_rows for page in reader(client, ASKED)] == [1]
    assert len(transport.requests) == 3
    client, transport = pages(Answer(500))
    with pytest.raises(CredentialsError, match="odd"):
        reader(client, ASKED)
    client, transport = pages(Answer(503))
    with pytest.raises(ProviderUnavailableError, match="pages answered 503"):
        reader(client, ASKED)
    assert len(transport.requests) == 1


@READ
def test_a_refused_symbol_is_a_page_of_its_own(reader: Reader) -> None:
    client, transport = pages(Answer(418), Answer(418), Answer(body=b"2"))
    found = reader(client, ASKED)
    assert [(page.num_rows, [str(out.symbol) for out in page.refused]) for page in found] == [
        (0, []),
        (0, ["AAPL"]),
        (2, []),
    ]
    assert [asked.url.path for asked in transport.requests] == ["/bars/AAPL", "/bars/AAPL", "/bars/MSFT"]
    assert found[0].columns.schema.equals(BAR_SCHEMA)


def test_by_default_the_page_has_the_cursor_and_the_status_decides_the_error() -> None:
    client, _ = pages()
    page = RawMarketData(BAR_SCHEMA.empty_table(), next_cursor="b")
    assert BaseApiClient.next_cursor(client, page) == "b"
    refused = BaseApiClient.classify_failure(client, 403, b"not yours", RateLimitReport())
    assert (type(refused), str(refused)) == (EntitlementError, "pages answered 403: not yours")
    assert BaseApiClient.should_retry(client, ProviderUnavailableError("x"))
    assert not BaseApiClient.should_retry(client, refused)
