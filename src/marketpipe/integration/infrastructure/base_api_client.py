from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
from attrs import evolve

from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.page_walk import PageCall, PageWalk
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.http_exchange import HttpExchange, HttpReply
from marketpipe.integration.infrastructure.prefetcher import RequestAhead, Tally
from marketpipe.integration.infrastructure.rate_limiter import RateLimiter, RateLimitReport, read_rate_limit
from marketpipe.integration.infrastructure.retry import RetryPolicy, classify_status
from marketpipe.integration.infrastructure.whole_day_assembler import PageReach
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import ProviderError, SymbolRefusedError, TransientProviderError
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.events import Event, RequestCompleted, RequestRetried
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA


class BaseApiClient(ABC):
    """A market data provider over HTTP. A new provider says how it speaks; paging, pace and patience are here.

    To write one, override ``endpoint_path``, ``build_request_params`` and ``parse_response``, and where the provider
    differs ``classify_failure``, ``next_cursor``, ``cursor_in`` and ``should_retry``. All of these are pure: no I/O.
    """

    def __init__(
        self,
        capabilities: ProviderCapabilities,
        http: HttpExchange,
        limiter: RateLimiter,
        clock: Clock,
        *,
        retry: RetryPolicy | None = None,
        publish: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._capabilities, self._http, self._limiter, self._clock = capabilities, http, limiter, clock
        self._publish = publish
        policy = retry or RetryPolicy()
        self._retrying, self._probing = (
            made.sync(clock, self.should_retry, self._report_retry) for made in (policy, policy.probing)
        )
        self._async_retrying, self._async_probing = (
            made.asynchronous(clock, self.should_retry, self._report_retry) for made in (policy, policy.probing)
        )

    @property
    def capabilities(self) -> ProviderCapabilities:
        return self._capabilities

    @abstractmethod
    def endpoint_path(self, request: BarsRequest) -> str:
        """Below the base URL."""

    @abstractmethod
    def build_request_params(self, request: BarsRequest, cursor: str | None) -> Mapping[str, str]:
        """The query of one page. The window is half-open: convert it where the provider's end is inclusive."""

    @abstractmethod
    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        """Raises ``MalformedResponseError`` for anything but the promised shape, the shapes of nothing included."""

    def next_cursor(self, page: RawMarketData) -> str | None:
        """None after the last page."""
        return page.next_cursor

    def cursor_in(self, body: bytes) -> str | None:  # noqa: ARG002 - nothing can be told of a body that was not read
        """Where the next page is, if that can be told without reading this one: then it is asked for meanwhile.

        A guess may be wrong: what was asked for in vain is thrown away. ``next_cursor`` has the last word.
        """
        return None

    def classify_failure(self, status: int, body: bytes, limit: RateLimitReport) -> ProviderError:
        """What an answer other than 200 means."""
        return classify_status(self._capabilities.name, status, body, limit)

    def should_retry(self, error: BaseException) -> bool:
        return isinstance(error, TransientProviderError)

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        walk, reach = PageWalk(request), PageReach()
        retrying = self._retrying if not request.probing else self._probing
        with ThreadPoolExecutor(1, "marketpipe-ahead") as asker, RequestAhead(self._answer, asker) as ahead:
            while (call := walk.next_call()) is not None:
                try:
                    page: RawMarketData = retrying(self._ask, call, ahead)
                except SymbolRefusedError as error:
                    reach = PageReach()
                    yield _nothing_but_refused(walk, error)
                else:
                    walk.accept(page, news=reach.grows(page))
                    yield page

    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        walk, reach = PageWalk(request), PageReach()
        retrying = self._async_retrying if not request.probing else self._async_probing
        while (call := walk.next_call()) is not None:
            try:
                page: RawMarketData = await retrying(self._ask_async, call)
            except SymbolRefusedError as error:
                reach = PageReach()
                yield _nothing_but_refused(walk, error)
            else:
                walk.accept(page, news=reach.grows(page))
                yield page

    def close(self) -> None:
        self._limiter.close()
        self._http.close()

    async def aclose(self) -> None:
        self._limiter.close()
        await self._http.aclose()

    def _ask(self, call: PageCall, ahead: RequestAhead) -> RawMarketData:
        sent = ahead.take(call)
        with self._reported(sent.tally):
            reply = sent.reply()
            limit = self._heeded(reply, sent.tally)
            if reply.status == 200 and (cursor := self.cursor_in(reply.body)) not in (None, call.cursor):
                ahead.begin(PageCall(call.request, cursor))
            return self._read(call, reply, limit, sent.tally)

    async def _ask_async(self, call: PageCall) -> RawMarketData:
        await self._limiter.acquire_async()
        with self._reported(Tally()) as tally:
            with self._timed(tally):
                reply = await self._http.get_async(*self._target(call))
            return self._read(call, reply, self._heeded(reply, tally), tally)

    def _answer(self, call: PageCall, tally: Tally) -> HttpReply:
        self._limiter.acquire()
        with self._timed(tally):
            return self._http.get(*self._target(call))

    @contextmanager
    def _timed(self, tally: Tally) -> Iterator[None]:
        tally.sent, started = True, self._clock.monotonic()
        try:
            yield
        finally:
            tally.seconds = self._clock.monotonic() - started

    def _target(self, call: PageCall) -> tuple[str, Mapping[str, str]]:
        return self.endpoint_path(call.request), self.build_request_params(call.request, call.cursor)

    def _heeded(self, reply: HttpReply, tally: Tally) -> RateLimitReport:
        """What the provider says of its rate limit is obeyed from here on."""
        limit = read_rate_limit(reply.headers, self._clock.now())
        tally.remaining, wait = limit.remaining, limit.seconds_to_wait
        if wait is not None and (reply.status == 429 or limit.remaining == 0 or limit.retry_after is not None):
            self._limiter.pause(wait)
        return limit

    def _read(self, call: PageCall, reply: HttpReply, limit: RateLimitReport, tally: Tally) -> RawMarketData:
        if reply.status != 200:
            raise self.classify_failure(reply.status, reply.body, limit)
        page = self.parse_response(call.request, reply.body)
        page = evolve(page, columns=pa.table(page.columns), next_cursor=self.next_cursor(page))
        PageWalk.check_progress(call, page)
        tally.bars = page.num_rows
        return page

    @contextmanager
    def _reported(self, tally: Tally) -> Iterator[Tally]:
        try:
            yield tally
            tally.error_kind = None
        except ProviderError as error:
            tally.error_kind = error.kind
            raise
        finally:
            if tally.sent:
                done = tally.seconds, tally.bars, tally.error_kind, tally.remaining
                self._publish(RequestCompleted(self._capabilities.name, *done))

    def _report_retry(self, attempt: int, wait: float, reason: str) -> None:
        self._publish(RequestRetried(self._capabilities.name, attempt, wait, reason))


def _nothing_but_refused(walk: PageWalk, error: SymbolRefusedError) -> RawMarketData:
    return RawMarketData(BAR_SCHEMA.empty_table(), refused=walk.refuse(error), next_cursor=None)
