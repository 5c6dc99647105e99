"""The handlers of ``BarsRequested`` and ``OfficialDaysRequested``: from a request to events with what was fetched.

Fetching runs ahead of storing, so that a provider's latency costs nothing if it is shorter than the work on a page.
Three pages of one request are in work at the same time, each on its own thread:

    page n      is validated and stored   on the caller's thread, which publishes the events
    page n + 1  is fetched                on the prefetch thread of this handler, with any provider
    page n + 2  is on its way             on the prefetch thread of ``BaseApiClient``, which sends the request as soon
                                          as the next cursor can be peeked, before page n + 1 is parsed

Both prefetch threads work in the same way: an executor of one thread, which lives as long as the request and gets one
task at a time. A task that fails raises its error when its result is used, so errors arrive in the order of the pages.
Leaving early waits for the one task that is running, so no thread outlives its request.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from marketpipe.integration.application.ports import AnswerAssembler, MarketDataProvider, SymbolDayAssembler
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import IngestionInterrupted
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    OfficialDaysFetched,
    OfficialDaysRequested,
    RefusedSymbol,
)


class BarsFetcher:
    """Fetches the pages of a request and publishes their symbol-days, page by page, then ``BarsExhausted``."""

    def __init__(
        self,
        provider: MarketDataProvider,
        assembler_for: Callable[[BarsRequest], SymbolDayAssembler],
        bus: EventBus,
        new_prefetch_thread: Callable[[], Executor],
    ) -> None:
        """``new_prefetch_thread`` makes an executor of one thread; each request gets its own and closes it."""
        self._provider, self._assembler_for, self._bus = provider, assembler_for, bus
        self._new_prefetch_thread = new_prefetch_thread

    def on_bars_requested(self, event: BarsRequested) -> None:
        """Return when every bar of the request has been handled. Raises ``ProviderError`` and what handlers raise."""
        request, refused = event.request, list[RefusedSymbol]()
        assembler = self._assembler_for(request)
        with self._new_prefetch_thread() as thread:
            pages = self._provider.fetch_batch(request)
            coming = thread.submit(next, pages, None)
            while (page := coming.result()) is not None:
                coming = thread.submit(next, pages, None)  # before the handlers of this page run: see above
                refused.extend(page.refused)
                if (bars := assembler.add(page)) is not None:
                    self._bus.publish(BarsFetched(request, bars))
        if (bars := assembler.close()) is not None:
            self._bus.publish(BarsFetched(request, bars))
        assembler.check_answered([symbol.symbol for symbol in refused])
        self._bus.publish(BarsExhausted(request, tuple(refused), assembler.unrequested))


class OfficialDaysFetcher:
    """Fetches official days and publishes the complete answer to a request at once.

    A page has thousands of symbol-days, so there is nothing to gain from handling one while the next is fetched; and
    that a day has no official bar is known only when the last page has come.
    """

    def __init__(
        self,
        provider: MarketDataProvider,
        assembler_for: Callable[[BarsRequest], AnswerAssembler],
        bus: EventBus,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._provider, self._assembler_for, self._bus = provider, assembler_for, bus
        self._is_stopped = is_stopped

    def on_official_days_requested(self, event: OfficialDaysRequested) -> None:
        """Return when the answer has been handled. Raises ``ProviderError`` and what handlers raise.

        Raises ``IngestionInterrupted`` after the page in work if the run is to stop: nothing of the answer is stored.
        """
        refused, assembler = list[RefusedSymbol](), self._assembler_for(event.request)
        for page in self._provider.fetch_batch(event.request):
            if page.next_cursor is not None and self._is_stopped():
                raise IngestionInterrupted("stopped between two pages of official days")
            refused.extend(page.refused)
            assembler.add(page)
        self._bus.publish(OfficialDaysFetched(event.request, assembler.close(), tuple(refused)))
