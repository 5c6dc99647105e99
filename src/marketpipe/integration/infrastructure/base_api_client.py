"""A market data provider over HTTP: everything but the dialect of one provider.

What happens on a 429, or on any other failure, can be read here from top to bottom:

1. ``_obey_rate_limit`` pauses the rate limiter for as long as the response demands (``Retry-After``, else
   ``X-RateLimit-Reset``), but at most 300 seconds. All threads, and all processes that share the limiter, wait with it.
   Any other response that allows no further request, or has a ``Retry-After``, causes the same pause.
2. ``classify_failure`` turns the response into an error: ``RateLimitedError`` for a 429, which is transient.
3. ``RetryPolicy`` decides whether and when to try again: transient errors are, after a backoff, up to 8 times (3 times
   for a probing request, while the provider answers nothing, and if it was never reached). After a 429 the backoff is
   0 if the pause of step 1 is at least as long: the pause does the waiting.
4. The next attempt waits in ``RateLimiter.acquire`` until the pause ends. After the last one the error is raised; if no
   connection was made, as ``ProviderUnreachableError``, which ends the job.

Every attempt publishes ``RequestCompleted``, every retry ``RequestRetried``, every wait ``RateLimitWaited``.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

from attrs import define, evolve

from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.page_walk import PageCall, PageWalk
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.infrastructure.http_exchange import HttpExchange, HttpReply
from marketpipe.integration.infrastructure.rate_limits.rate_limiter import (
    RateLimiter,
    RateLimitReport,
    read_rate_limit,
    read_server_time,
)
from marketpipe.integration.infrastructure.retry import RetryPolicy, classify_status
from marketpipe.integration.infrastructure.whole_day_assembler import canonical, time_spans
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    ClockError,
    ConnectionFailedError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ProviderUnreachableError,
    SymbolRefusedError,
    TransientProviderError,
)
from marketpipe.shared_kernel.domain.timestamp import Clock, Timestamp
from marketpipe.shared_kernel.events import Event, RefusedSymbol, RequestCompleted, RequestRetried
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA

MOST_AHEAD = timedelta(minutes=2)
"""Clocks that are set by NTP differ by less than a second; a ``Date`` has whole seconds."""


@define
class _Exchange:
    """One request for one page, and what ``RequestCompleted`` reports about it.

    ``coming`` is the reply of a request that was sent ahead. ``sent`` is when the request had its turn, None until
    then; ``seconds`` are those from then to the end of the reply.
    """

    call: PageCall
    coming: Future[HttpReply] | None = None
    sent: Timestamp | None = None
    seconds: float = 0.0
    bars: int = 0
    remaining: int | None = None
    error_kind: str | None = "unfinished"


class BaseApiClient(ABC):
    """A market data provider over HTTP. It pages, keeps the rate limit and retries; a subclass translates.

    To add a provider, override ``endpoint_path``, ``build_request_params`` and ``parse_response``; and
    ``classify_failure``, ``next_cursor``, ``peek_next_cursor`` and ``should_retry`` if the provider differs there. All
    of them are pure: no I/O, no state. Make it with its ``ProviderCapabilities``, an ``HttpExchange``, a
    ``RateLimiter`` and the clock of the ``ProviderContext``. ``publish`` takes the events about requests.
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
        new_executor: Callable[[int, str], Executor] = ThreadPoolExecutor,
    ) -> None:
        self._capabilities, self._http, self._limiter, self._clock = capabilities, http, limiter, clock
        self._retry_policy, self._publish = retry or RetryPolicy(), publish
        self._new_executor = new_executor
        self._unanswered = 0

    @property
    def capabilities(self) -> ProviderCapabilities:
        return self._capabilities

    @property
    def traits(self) -> ProviderCapabilities:
        """The former name of ``capabilities``, kept for clients that were written before it changed."""
        warnings.warn("BaseApiClient.traits is now called capabilities", DeprecationWarning, stacklevel=2)
        return self._capabilities

    @abstractmethod
    def endpoint_path(self, request: BarsRequest) -> str:
        """Return the path below the base URL."""

    @abstractmethod
    def build_request_params(self, request: BarsRequest, cursor: str | None) -> Mapping[str, str]:
        """Return the query of one page; ``cursor`` is None for the first.

        ``request.window`` is half-open, in UTC: convert its end if the provider's is inclusive.
        """

    @abstractmethod
    def parse_response(self, request: BarsRequest, body: bytes) -> RawMarketData:
        """Return the page that a response with status 200 holds.

        Raises ``MalformedResponseError`` for a body that is not a page. Every documented form of "no bars" is a page.
        """

    def next_cursor(self, page: RawMarketData) -> str | None:
        """Return what requests the page after ``page``, None after the last one."""
        return page.next_cursor

    def peek_next_cursor(self, body: bytes) -> str | None:
        """Return the next cursor if it can be found without parsing ``body``: that page is then requested meanwhile.

        It may be wrong: ``next_cursor`` decides, and the response to a wrong cursor is thrown away. ``cursor_in`` is
        the former name of this hook; an override of it still works.
        """
        return self.cursor_in(body)

    def cursor_in(self, body: bytes) -> str | None:  # noqa: ARG002 - a hook
        """Former name of ``peek_next_cursor``. Override that one instead."""
        return None

    def classify_failure(self, status: int, body: bytes, limit: RateLimitReport) -> ProviderError:
        """Return the error that a response with a status other than 200 stands for."""
        return classify_status(self._capabilities.name, status, body, limit)

    def should_retry(self, error: BaseException) -> bool:
        """Return whether the same request may succeed later."""
        return isinstance(error, TransientProviderError)

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        """Yield the pages of ``request``. While one is parsed, the next request is on its way if its cursor is known.

        Closing the iterator waits for a request that was sent ahead, so no thread is left behind. Raises
        ``ProviderError`` after the last attempt, and ``IngestionInterrupted`` if the clock is interrupted.
        """
        walk, ahead = PageWalk(request), None
        with self._new_executor(1, "marketpipe-ahead-request") as thread:
            while (call := walk.next_call()) is not None:
                try:
                    for attempt in self._policy(request).sync(self._clock, self.should_retry, self._report_retry):
                        exchange, ahead = (ahead, None) if ahead and ahead.call == call else (_Exchange(call), ahead)
                        with attempt, self._reported(exchange):
                            reply = exchange.coming.result() if exchange.coming else self._send(exchange)
                            limit = self._obey_rate_limit(exchange, reply)
                            # Before parsing, so that the provider works meanwhile; after the pause, which must hold for
                            # it. A request for a wrong cursor is never used and stays "ahead": it is the last one.
                            if ahead is None and (cursor := self._peeked_cursor(call, reply)) is not None:
                                ahead = _Exchange(PageCall(call.request, cursor))
                                ahead.coming = thread.submit(self._send, ahead)
                            page = self._page(exchange, reply, limit)
                            walk.check_answer(page, spans := time_spans(page))
                except ConnectionFailedError as error:
                    raise ProviderUnreachableError(str(error)) from error
                except SymbolRefusedError as error:
                    page = _refusal(walk.refuse(error))
                else:
                    walk.accept(page, spans)
                yield page

    async def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        """Yield the same pages as ``fetch_batch``, one request at a time. Raises what ``fetch_batch`` raises."""
        walk = PageWalk(request)
        while (call := walk.next_call()) is not None:
            retries = self._policy(request).asynchronous(self._clock, self.should_retry, self._report_retry)
            try:
                async for attempt in retries:
                    with attempt, self._reported(_Exchange(call)) as exchange:
                        await self._limiter.acquire_async()
                        with self._timed(exchange):
                            reply = await self._http.get_async(*self._target(call))
                        page = self._page(exchange, reply, self._obey_rate_limit(exchange, reply))
                        walk.check_answer(page, spans := time_spans(page))
            except ConnectionFailedError as error:
                raise ProviderUnreachableError(str(error)) from error
            except SymbolRefusedError as error:
                page = _refusal(walk.refuse(error))
            else:
                walk.accept(page, spans)
            yield page

    def close(self) -> None:
        self._limiter.close()
        self._http.close()

    async def aclose(self) -> None:
        self._limiter.close()
        await self._http.aclose()

    def _policy(self, request: BarsRequest) -> RetryPolicy:
        # A request has had its full retries in vain, and nothing was answered since: to wait a minute for each of the
        # others as well would not help them.
        is_down = self._unanswered >= self._retry_policy.attempts
        return self._retry_policy.probing if request.probing or is_down else self._retry_policy

    def _send(self, exchange: _Exchange) -> HttpReply:
        """Wait for a turn, then send. Runs on the caller's thread, or ahead of it on the prefetch thread."""
        self._limiter.acquire()
        with self._timed(exchange):
            return self._http.get(*self._target(exchange.call))

    def _target(self, call: PageCall) -> tuple[str, Mapping[str, str]]:
        return self.endpoint_path(call.request), self.build_request_params(call.request, call.cursor)

    def _obey_rate_limit(self, exchange: _Exchange, reply: HttpReply) -> RateLimitReport:
        """Pause every request under the rate limit if the response asks for it, whatever its status."""
        # The moments that a response names are those of the server's clock: one that is behind would wait too long.
        limit = read_rate_limit(reply.headers, read_server_time(reply.headers) or self._clock.now())
        exchange.remaining, wait = limit.remaining, limit.seconds_to_wait
        if wait is not None and (reply.status == 429 or limit.remaining == 0 or limit.retry_after is not None):
            self._limiter.pause(wait)
        return limit

    def _peeked_cursor(self, call: PageCall, reply: HttpReply) -> str | None:
        cursor = self.peek_next_cursor(reply.body) if reply.status == 200 else None
        return None if cursor == call.cursor else cursor  # a page that points to itself is an error, see PageWalk

    def _page(self, exchange: _Exchange, reply: HttpReply, limit: RateLimitReport) -> RawMarketData:
        if reply.status != 200:
            raise self.classify_failure(reply.status, reply.body, limit)
        self._check_clock(exchange, reply)
        page = self.parse_response(exchange.call.request, reply.body)
        page = evolve(page, columns=canonical(page.columns), next_cursor=self.next_cursor(page))
        PageWalk.check_progress(exchange.call, page)
        exchange.bars = page.num_rows
        return page

    def _check_clock(self, exchange: _Exchange, reply: HttpReply) -> None:
        """Raise ``ClockError`` if this machine's clock was ahead of the provider's when the request was sent.

        A session that has not ended would be taken for final, and never requested again. A clock that is behind is
        harmless: it only waits too long.
        """
        theirs, ours = read_server_time(reply.headers), exchange.sent
        if theirs is not None and ours is not None and ours > theirs.plus(MOST_AHEAD):
            raise ClockError(
                f"the clock of this machine shows {ours}, that of {self._capabilities.name} {theirs}: sessions would "
                "be taken for final before they are. Set the clock, then run again"
            )

    @contextmanager
    def _timed(self, exchange: _Exchange) -> Iterator[None]:
        exchange.sent, started = self._clock.now(), self._clock.monotonic()
        try:
            yield
        finally:
            exchange.seconds = self._clock.monotonic() - started
            self._limiter.answered()

    @contextmanager
    def _reported(self, exchange: _Exchange) -> Iterator[_Exchange]:
        """Publish ``RequestCompleted`` at the end, unless the request never had its turn."""
        try:
            yield exchange
            exchange.error_kind, self._unanswered = None, 0
        except ProviderError as error:
            exchange.error_kind = error.kind
            is_answer = not isinstance(error, ProviderUnavailableError | ProviderTimeoutError)
            self._unanswered = 0 if is_answer else self._unanswered + 1
            raise
        finally:
            if exchange.sent is not None:
                done = exchange.seconds, exchange.bars, exchange.error_kind, exchange.remaining
                self._publish(RequestCompleted(self._capabilities.name, *done))

    def _report_retry(self, attempt: int, wait: float, reason: str) -> None:
        self._publish(RequestRetried(self._capabilities.name, attempt, wait, reason))


def _refusal(refused: tuple[RefusedSymbol, ...]) -> RawMarketData:
    return RawMarketData(BAR_SCHEMA.empty_table(), refused=refused, begins_again=True)
