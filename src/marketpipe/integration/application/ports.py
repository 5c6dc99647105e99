"""What the integration context needs from its adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Protocol

from marketpipe.integration.domain.data_feed import ProviderCapabilities
from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.integration.domain.table_import import ImportPreview
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate


class MarketDataProvider(Protocol):
    """A source of minute bars, and of official daily bars if its capabilities say so. Threads may share one.

    The pages of a request are ordered by symbol, then by time, both ascending; a symbol-day may continue on the next
    page. A request without bars is answered with an empty page and is not an error.
    """

    @property
    def capabilities(self) -> ProviderCapabilities: ...

    def fetch_batch(self, request: BarsRequest) -> Iterator[RawMarketData]:
        """Yield the pages that answer ``request``. Raises ``ProviderError``.

        No bar is outside ``request.window``; bars in the closed hours between its sessions are left out later.
        """

    def async_fetch_batch(self, request: BarsRequest) -> AsyncIterator[RawMarketData]:
        """Yield the same pages as ``fetch_batch``. Raises ``ProviderError``.

        The pipeline calls ``fetch_batch`` only; this is for callers that use a provider by itself.
        """

    def close(self) -> None:
        """Release connections and files. It may be called twice."""


class OwnBars(Protocol):
    """A user's own table of bars, read and ready to be requested from."""

    @property
    def preview(self) -> ImportPreview: ...

    def dates(self) -> Mapping[Symbol, Mapping[TradingDate, int]]:
        """Return the number of bars of each symbol on each of its dates; both ascend. No symbol is without bars."""

    @property
    def newest(self) -> Timestamp | None:
        """The time of the newest bar; None if there are no bars."""

    def provider(self) -> MarketDataProvider:
        """Return a provider whose bars these are."""


class SymbolDayAssembler(Protocol):
    """Turns the pages of one request into complete symbol-days, in whatever order the provider sends them.

    A port, although it has one adapter, because cutting columns needs Arrow and the application layer stays free of it.
    """

    def add(self, page: RawMarketData) -> ColumnarBars | None:
        """Return the symbol-days that ``page`` completes, None if there are none.

        What a later page may continue is kept if more pages follow. Raises ``WrongAnswerError`` for a page of another
        timeframe.
        """

    def close(self) -> ColumnarBars | None:
        """Return the symbol-days that were kept, None if there are none. Call it only when all pages have come."""

    def check_answered(self, refused: Collection[Symbol]) -> None:
        """Raise ``WrongAnswerError`` if other bars came in place of the bars of a requested symbol-day.

        Such a symbol-day must not be taken for empty. Call it after ``close``; ``refused`` symbols need no answer.
        """

    @property
    def unrequested(self) -> int:
        """The number of bars dropped so far because their symbol or date was not requested."""


class AnswerAssembler(Protocol):
    """Turns all pages of one request into its symbol-days at once; for official days, of which a page has thousands."""

    def add(self, page: RawMarketData) -> None: ...

    def close(self) -> ColumnarBars:
        """Return the symbol-days that have bars. Raises ``WrongAnswerError`` as ``SymbolDayAssembler`` does."""


class RateLimitBackend(Protocol):
    """One rate limit of many requests: sliding windows, and the pauses that the provider demands.

    Adapters differ in who shares them: the threads of one client (in memory), the processes of a machine (a file), or
    those of all machines (a database).
    Callers may be threads. ``tests/contract/test_rate_limit_backends.py`` holds for every adapter.
    """

    def reserve(self) -> float:
        """Reserve one request and return 0, or reserve none and return the seconds (above 0) to wait first.

        Raises ``StateError`` if a shared limit cannot be read or written.
        """

    def answered(self) -> None:
        """Note that one reserved request has ended: the server counted it no later than now, and perhaps only now.

        A window is counted from here on, so that a request that was long on its way does not share a window of the
        server with more requests than the limit. Raises as ``reserve`` does.
        """

    def pause(self, seconds: float) -> None:
        """Let no request through for so long. The later end of two pauses holds. Raises as ``reserve`` does."""

    def close(self) -> None:
        """Release what is open. It may be called twice; a later ``reserve`` opens it again."""
