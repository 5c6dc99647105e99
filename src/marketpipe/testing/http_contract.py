"""What a provider over HTTP has to do besides: survive the faults of a server, and report its requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Final

import pytest
from attrs import field, frozen

from marketpipe.provider_kit import BarsRequest, MarketDataProvider, ProviderContext
from marketpipe.shared_kernel.domain.errors import (
    CredentialsError,
    IngestionInterrupted,
    TerminalProviderError,
    TransientProviderError,
)
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.events import Event, RequestCompleted
from marketpipe.testing.bars import bars_request
from marketpipe.testing.clock import FakeClock
from marketpipe.testing.loopback import (
    Fault,
    LoopbackRequest,
    LoopbackServer,
    Response,
    cut_body,
    dropped,
    malformed_body,
    rate_limited,
    server_error,
    slow_body,
)
from marketpipe.testing.market import Market
from marketpipe.testing.pages import Reader, assert_same_bars, bars_in, read_pages
from marketpipe.testing.provider_contract import EACH_READER, LARGEST_PAGE, ONE_DAY, MarketDataProviderContract

WAIT: Final = 7.0
"""Seconds that the server asks for with ``Retry-After``."""
MINUTE: Final = 60.0
ROUNDING: Final = 0.01
MOST_ATTEMPTS: Final = 50
MOST_REQUESTS: Final = 1000
"""A rate limit above this is not tried."""
SMALL_PAGE: Final = 50
FAULTS: Final[dict[str, Fault]] = {
    "500": server_error(500),
    "503": server_error(503),
    "429": rate_limited(WAIT),
    "dropped": dropped(),
    "cut": cut_body(),
    "malformed": malformed_body(),
    "slow": slow_body(0.02),
}
LASTING: Final = ("500", "429", "dropped", "malformed")


@frozen
class Connection:
    """A provider that is connected to a loopback server, with the clock and the events of its context."""

    provider: MarketDataProvider
    server: LoopbackServer
    clock: FakeClock
    events: list[Event] = field(repr=False)


class HttpProviderContract(MarketDataProviderContract):
    """The contract of a provider over HTTP: a subclass makes the provider, and says what its server answers.

    No test waits: give the clock of the context to your provider, as ``BaseApiClient`` and ``RateLimiter`` take it.
    ``secrets`` are what ``context.secret`` returns, by name.
    """

    secrets: ClassVar[Mapping[str, str]] = {}

    def new_provider(self, url: str, context: ProviderContext) -> MarketDataProvider:
        """Return your provider for a server at ``url``. The options of ``context`` are empty."""
        raise NotImplementedError(f"{type(self).__name__} needs a method new_provider(url, context)")

    def respond(self, request: LoopbackRequest, market: Market, page_size: int) -> Response:
        """Answer as the provider's server does if it has the bars of ``market``; see ``connect`` for ``page_size``."""
        raise NotImplementedError(f"{type(self).__name__} needs a method respond(request, market, page_size)")

    @contextmanager
    def connect(self, market: Market, page_size: int) -> Iterator[MarketDataProvider]:
        """Make the provider for a loopback server that answers with ``respond``, and close both at the end."""
        with self.connection(market, page_size) as made:
            yield made.provider

    @contextmanager
    def connection(self, market: Market, page_size: int) -> Iterator[Connection]:
        """Do the same, and show the server, the clock and the events too."""
        clock, events = FakeClock(), list[Event]()
        with LoopbackServer(lambda request: self.respond(request, market, page_size)) as server:
            provider = self.new_provider(server.url, ProviderContext({}, clock, events.append, self.secrets.get))
            try:
                yield Connection(provider, server, clock, events)
            finally:
                provider.close()

    @EACH_READER
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_is_survived(self, fault: str, reader: Reader) -> None:
        request = self._one_day()
        with self.connection(self.market(), LARGEST_PAGE) as made:
            made.server.fail_next(FAULTS[fault])
            assert_same_bars(bars_in(reader(made.provider, request)), self.market().answer(request))

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_between_two_pages_loses_no_bar_and_repeats_none(self, fault: str) -> None:
        if not self.has_pages:
            pytest.skip("every response of this provider is complete (has_pages is False)")
        request = self._one_day()
        with self.connection(self.market(), SMALL_PAGE) as made:
            made.server.fail_next(None, FAULTS[fault])
            assert_same_bars(bars_in(read_pages(made.provider, request)), self.market().answer(request))

    @pytest.mark.parametrize("fault", LASTING)
    def test_a_lasting_fault_ends_with_an_error_that_may_pass(self, fault: str) -> None:
        with self.connection(self.market(), LARGEST_PAGE) as made:
            made.server.fail_always(FAULTS[fault])
            with pytest.raises(TransientProviderError):
                read_pages(made.provider, self._one_day())
            assert len(made.server.exchanges) <= MOST_ATTEMPTS

    def test_retry_after_is_obeyed(self) -> None:
        with self.connection(self.market(), LARGEST_PAGE) as made:
            made.server.fail_next(rate_limited(WAIT))
            read_pages(made.provider, self._one_day())
            assert made.clock.monotonic() >= WAIT - ROUNDING

    def test_a_wait_ends_when_the_clock_is_interrupted(self) -> None:
        """``Pipeline.stop`` interrupts it."""
        with self.connection(self.market(), LARGEST_PAGE) as made:
            made.server.fail_next(rate_limited(WAIT))
            made.clock.interrupt()
            with pytest.raises(IngestionInterrupted):
                read_pages(made.provider, self._one_day())

    def test_refused_keys_stop_the_job_and_are_not_tried_again(self) -> None:
        with self.connection(self.market(), LARGEST_PAGE) as made:
            made.server.fail_always(server_error(401))
            with pytest.raises(CredentialsError):
                read_pages(made.provider, self._one_day())
            assert len(made.server.exchanges) == 1

    def test_a_refused_request_is_not_sent_again(self) -> None:
        with self.connection(self.market(), LARGEST_PAGE) as made:
            made.server.fail_always(server_error(400))
            with pytest.raises(TerminalProviderError):
                read_pages(made.provider, self._one_day())
            assert len(made.server.exchanges) == 1

    def test_requests_keep_the_rate_limit(self) -> None:
        with self.connection(self.market(), LARGEST_PAGE) as made:
            limit = made.provider.capabilities.requests_per_minute
            if limit is None:
                pytest.skip("this provider has no rate limit (capabilities.requests_per_minute is None)")
            if limit > MOST_REQUESTS:
                pytest.skip(f"{limit:,} requests a minute are too many to be tried")
            while len(made.server.exchanges) <= limit:
                read_pages(made.provider, self._one_day())
            assert made.clock.monotonic() >= MINUTE - ROUNDING, f"{limit + 1} requests were sent within a minute"

    def test_every_request_is_reported(self) -> None:
        """Progress and metrics are made of these events."""
        request = self._one_day()
        with self.connection(self.market(), LARGEST_PAGE) as made:
            made.server.fail_next(server_error(500))
            read_pages(made.provider, request)
            reported = [event for event in made.events if isinstance(event, RequestCompleted)]
            assert len(reported) == len(made.server.exchanges)
            assert sum(event.bars for event in reported) == len(self.market().answer(request))
            assert [event.provider for event in reported] == [made.provider.capabilities.name] * len(reported)

    def _one_day(self) -> BarsRequest:
        timeframe = Timeframe.MINUTE_1 if self.has_minutes else Timeframe.DAY_1
        return bars_request(self.symbols[:1], ONE_DAY, ONE_DAY, timeframe=timeframe)
