from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import TracebackType

from attrs import define, field, frozen

from marketpipe.integration.application.ports import MarketDataProvider
from marketpipe.integration.domain.page_walk import PageCall
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.http_exchange import HttpReply
from marketpipe.shared_kernel.domain.bars_request import BarsRequest


@define
class Tally:
    """What is told of a request. ``sent`` is False until it has had its turn; ``seconds`` is how long it took then."""

    sent: bool = False
    seconds: float = 0.0
    bars: int = 0
    remaining: int | None = None
    error_kind: str | None = "unfinished"


Ask = Callable[[PageCall, Tally], HttpReply]


@frozen
class Sent:
    """A request that is on its way, or will be once somebody wants its ``reply``."""

    call: PageCall
    tally: Tally
    reply: Callable[[], HttpReply] = field(repr=False)
    """Raises what asking raises."""


class RequestAhead:
    """A context manager. While one page is read, the next one is on its way, where it can be told which that is.

    For the pages of one request, which come one after the other: at most one is on its way that nobody waits for.
    """

    def __init__(self, ask: Ask, executor: Executor) -> None:
        self._ask, self._executor = ask, executor
        self._coming: tuple[Sent, Future[HttpReply]] | None = None

    def begin(self, call: PageCall) -> None:
        if self._coming is None:
            future = self._executor.submit(self._ask, call, tally := Tally())
            self._coming = Sent(call, tally, future.result), future

    def take(self, call: PageCall) -> Sent:
        """What was begun, if that was this very call; a new request otherwise, and when it is asked for again."""
        if self._coming is not None and self._coming[0].call == call:
            (sent, _), self._coming = self._coming, None
            return sent
        tally = Tally()
        return Sent(call, tally, lambda: self._ask(call, tally))

    def __enter__(self) -> RequestAhead:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Returns when nothing is on its way any more; whatever came of it, nobody wants it."""
        if self._coming is not None:
            coming, self._coming = self._coming[1], None
            if not coming.cancel():
                wait([coming])


class PagesAhead:
    """While one page is validated and stored, the next one is asked for already: a provider's latency costs nothing
    as long as that takes longer.
    """

    def __init__(self, provider: MarketDataProvider) -> None:
        self._provider = provider

    @contextmanager
    def pages(self, request: BarsRequest) -> Iterator[Iterator[RawMarketData]]:
        with ThreadPoolExecutor(1, "marketpipe-ahead") as ahead:
            yield _one_ahead(self._provider.fetch_batch(request), ahead)


def _one_ahead(pages: Iterator[RawMarketData], ahead: Executor) -> Iterator[RawMarketData]:
    """Errors are raised in the place of the page that they kept from coming."""
    coming = ahead.submit(next, pages, None)
    while (page := coming.result()) is not None:
        coming = ahead.submit(next, pages, None)
        yield page
