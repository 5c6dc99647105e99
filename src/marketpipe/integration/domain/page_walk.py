"""The order in which the pages of one request are fetched, and when to stop: rules without any I/O.

A server decides how many pages there are, so a faulty one could keep a client busy for ever, or end early and let a
client believe that there are no bars. ``PageWalk`` is the one place that decides which pages are trusted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import (
    EndlessPagingError,
    MalformedResponseError,
    SymbolRefusedError,
    ValidationError,
    WrongAnswerError,
    count_of,
)
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.events import RefusedSymbol

IDLE_PAGES_IN_A_ROW = 25
"""Pages without a new bar that are tolerated in a row. Honest servers send a few empty pages between symbols."""
BARS_PER_SYMBOL_DAY = 2 * 1440
"""Twice the minutes of a day: a bound that no correct response reaches, duplicates included."""

TimeSpan = tuple[int, int]
"""The first and the last timestamp of a symbol's bars, in microseconds since 1970-01-01 UTC, both inclusive."""


SymbolSpan = tuple[Symbol, TimeSpan]


def check_timeframe(request: BarsRequest, spans: Sequence[SymbolSpan]) -> None:
    """Raise ``WrongAnswerError`` for a page of daily bars instead of minutes, or the reverse.

    Daily bars are stamped New York midnight, when no session is open.
    """
    minutes = request.timeframe is Timeframe.MINUTE_1
    # the first span decides nearly always
    if spans and all((is_daily(low) and is_daily(high)) is minutes for _, (low, high) in spans):
        raise WrongAnswerError(f"the response has bars of another timeframe than {request.timeframe}")


def is_daily(epoch_micros: int) -> bool:
    """Return whether a timestamp is New York midnight, as those of daily bars are."""
    date = _date_of(epoch_micros)
    return date is not None and date.midnight.epoch_micros == epoch_micros


def _date_of(epoch_micros: int) -> TradingDate | None:
    """Return the date in New York; None outside the years 1 to 9999."""
    try:
        return TradingDate.of(Timestamp.from_epoch_micros(epoch_micros))
    except (OverflowError, ValidationError):
        return None


@frozen
class PageCall:
    """One page to request. ``cursor`` is None for the first page; ``again`` marks the repetition of an empty one."""

    request: BarsRequest
    cursor: str | None = None
    again: bool = False


class PageWalk:
    """The sequence of page calls that answers one request; sync and async clients share it.

    A provider that refuses one symbol fails the request for the whole group: the walk drops that symbol and starts
    again with the others. If the provider does not name the symbol, the group is bisected to find it.

    A last page without bars is requested once more before it is trusted: a server in trouble may answer with an empty
    page instead of an error, and a checkpoint written from it would hide the missing bars for good.
    """

    def __init__(self, request: BarsRequest) -> None:
        self._calls = deque([PageCall(request)])
        self._cursors: set[str] = set()
        self._spans: dict[Symbol, TimeSpan] = {}
        self._idle_in_a_row, self._has_requested = 0, False
        self._bars_left = len(request.symbols) * len(request.sessions) * BARS_PER_SYMBOL_DAY

    def next_call(self) -> PageCall | None:
        """Return the page to request now, or None at the end. It stays the same until ``accept`` or ``refuse``."""
        return self._calls[0] if self._calls else None

    @staticmethod
    def check_progress(call: PageCall, page: RawMarketData) -> None:
        """Raise ``MalformedResponseError``, which is retried, if a page points to itself."""
        if page.next_cursor is not None and page.next_cursor == call.cursor:
            raise MalformedResponseError(f"the page after {call.cursor!r} pointed to itself")

    def check_answer(self, page: RawMarketData, spans: Sequence[SymbolSpan]) -> None:
        """Raise ``WrongAnswerError``, which is retried, if a page answers another question than the present call.

        That is a page of other symbols or dates, if no requested bar has come before it, and one of another timeframe.
        Dates are those of New York, so a bar exactly at the end of a window is no reason. ``spans`` are the time spans
        of the page's runs.
        """
        request = self._calls[0].request
        if (spans or page.unrequested) and not self._has_requested and not _some_requested(request, spans):
            foreign = _spans_as_text(spans) if spans else f"{count_of(page.unrequested, 'bar')} of other symbols"
            raise WrongAnswerError(f"the response has no bar of {request}, which was requested, but {foreign}")
        check_timeframe(request, spans)

    def accept(self, page: RawMarketData, spans: Sequence[SymbolSpan]) -> None:
        """Take the page of the present call and move on. ``spans`` are the time spans of the page's runs.

        Raises ``EndlessPagingError`` if the cursors form a circle, if too many pages in a row bring no new bar, or if
        there are more bars than the request can have.
        """
        call = self._calls.popleft()
        self._bars_left -= page.num_rows
        self._has_requested = self._has_requested or _some_requested(call.request, spans)
        self._idle_in_a_row = 0 if self._extend_spans(spans) else self._idle_in_a_row + 1
        if _is_empty(page) and page.next_cursor is None and not call.again:
            self._calls.appendleft(evolve(call, again=True))
        elif page.next_cursor is None:
            self._forget_pages()
        else:
            self._check_end(call, page.next_cursor)
            self._cursors.add(page.next_cursor)
            self._calls.appendleft(PageCall(call.request, page.next_cursor))

    def refuse(self, error: SymbolRefusedError) -> tuple[RefusedSymbol, ...]:
        """Drop the refused symbol, or bisect the group if none of its symbols was named; return what was dropped."""
        request = self._calls.popleft().request
        self._forget_pages()
        named = [symbol for symbol in request.symbols if str(symbol) == error.symbol]
        refused = named or (request.symbols if len(request.symbols) == 1 else ())
        if refused:
            groups = [tuple(symbol for symbol in request.symbols if symbol not in refused)]
        else:
            middle = len(request.symbols) // 2
            groups = [request.symbols[:middle], request.symbols[middle:]]
        self._calls.extendleft(PageCall(evolve(request, symbols=group)) for group in reversed(groups) if group)
        return tuple(RefusedSymbol(symbol, str(error)) for symbol in refused)

    def _forget_pages(self) -> None:
        """Another group may get the same cursors (page numbers, for example), and a restarted one the same bars."""
        self._cursors.clear()
        self._spans.clear()
        self._idle_in_a_row, self._has_requested = 0, False

    def _extend_spans(self, spans: Iterable[tuple[Symbol, TimeSpan]]) -> bool:
        """Return whether a symbol got a bar before or after all that it had.

        Repeated bars do not count as progress: a server may send the same bars under ever new cursors.
        """
        extended = False
        for symbol, (first, last) in spans:
            before = self._spans.get(symbol)
            after = (first, last) if before is None else (min(before[0], first), max(before[1], last))
            self._spans[symbol] = after
            extended |= after != before
        return extended

    def _check_end(self, call: PageCall, cursor: str) -> None:
        if cursor in self._cursors:
            raise EndlessPagingError(f"the pages of {call.request} repeat: the cursor {cursor!r} came twice")
        if self._idle_in_a_row >= IDLE_PAGES_IN_A_ROW:
            raise EndlessPagingError(f"{IDLE_PAGES_IN_A_ROW} pages in a row without a new bar for {call.request}")
        if self._bars_left < 0:
            raise EndlessPagingError(f"more bars than minutes for {call.request}")


def _is_empty(page: RawMarketData) -> bool:
    return not page.num_rows and not page.unrequested


def _some_requested(request: BarsRequest, spans: Sequence[SymbolSpan]) -> bool:
    """Return whether a requested symbol has a bar between the midnights around the requested dates in New York."""
    start, end = request.sessions[0].trading_date.midnight, request.sessions[-1].trading_date.plus_days(1).midnight
    first, after, wanted = start.epoch_micros, end.epoch_micros, frozenset(request.symbols)
    return any(symbol in wanted and low < after and high >= first for symbol, (low, high) in spans)


def _spans_as_text(spans: Sequence[SymbolSpan]) -> str:
    symbol, span = spans[0]
    first, last = (_date_of(moment) or "an impossible date" for moment in span)
    return f"bars of {symbol} from {first} to {last}"
