from __future__ import annotations

from collections import deque

from attrs import evolve, frozen

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.errors import EndlessPagingError, MalformedResponseError, SymbolRefusedError
from marketpipe.shared_kernel.events import RefusedSymbol

IDLE_PAGES_IN_A_ROW = 25
BARS_PER_SYMBOL_DAY = 2 * 1440  # twice what a day of minutes can hold


@frozen
class PageCall:
    """What the next request asks for; ``cursor`` is None for a first page. ``again``: the answer to it was silence."""

    request: BarsRequest
    cursor: str | None = None
    again: bool = False


class PageWalk:
    """The way through the pages of one request, without any I/O, so that sync and async clients share it.

    A provider that refuses one symbol fails the whole group: the walk leaves that symbol out and goes on with the rest.
    Silence is believed when it is said twice: a last page without bars is asked for once more, as a server in trouble
    may well answer with nothing instead of an error.
    """

    def __init__(self, request: BarsRequest) -> None:
        self._calls = deque([PageCall(request)])
        self._seen: set[str] = set()
        self._idle_in_a_row = 0
        self._bars_left = len(request.symbols) * len(request.sessions) * BARS_PER_SYMBOL_DAY

    def next_call(self) -> PageCall | None:
        return self._calls[0] if self._calls else None

    @staticmethod
    def check_progress(call: PageCall, page: RawMarketData) -> None:
        """A page that points to itself is worth asking for once more. Raises ``MalformedResponseError``."""
        if page.next_cursor is not None and page.next_cursor == call.cursor:
            raise MalformedResponseError(f"the page after {call.cursor!r} pointed to itself")

    def accept(self, page: RawMarketData, *, news: bool = True) -> None:
        """``news``: it says what no page before it said.

        Raises ``EndlessPagingError`` where the pages lead in a circle, or say nothing new for ever.
        """
        call = self._calls.popleft()
        self._bars_left -= page.num_rows
        self._idle_in_a_row = 0 if page.num_rows and news else self._idle_in_a_row + 1
        if _is_silence(page) and not call.again:
            self._calls.appendleft(evolve(call, again=True))
        elif page.next_cursor is None:
            self._start_over()
        else:
            self._refuse_to_run_for_ever(call, page.next_cursor)
            self._seen.add(page.next_cursor)
            self._calls.appendleft(PageCall(call.request, page.next_cursor))

    def refuse(self, error: SymbolRefusedError) -> tuple[RefusedSymbol, ...]:
        """The symbols that are out for good; where the provider named none, the group is halved to find it."""
        request = self._calls.popleft().request
        self._start_over()
        named = [symbol for symbol in request.symbols if str(symbol) == error.symbol]
        out = named or (request.symbols if len(request.symbols) == 1 else ())
        if out:
            groups = [tuple(symbol for symbol in request.symbols if symbol not in out)]
        else:
            middle = len(request.symbols) // 2
            groups = [request.symbols[:middle], request.symbols[middle:]]
        self._calls.extendleft(PageCall(evolve(request, symbols=group)) for group in reversed(groups) if group)
        return tuple(RefusedSymbol(symbol, str(error)) for symbol in out)

    def _start_over(self) -> None:
        """Another group may get the same cursors as the one before it."""
        self._seen.clear()
        self._idle_in_a_row = 0

    def _refuse_to_run_for_ever(self, call: PageCall, cursor: str) -> None:
        if cursor in self._seen:
            raise EndlessPagingError(f"the pages of {call.request} lead in a circle: {cursor!r} came twice")
        if self._idle_in_a_row >= IDLE_PAGES_IN_A_ROW:
            raise EndlessPagingError(f"{IDLE_PAGES_IN_A_ROW} pages in a row without a new bar for {call.request}")
        if self._bars_left < 0:
            raise EndlessPagingError(f"more bars than minutes for {call.request}")


def _is_silence(page: RawMarketData) -> bool:
    return not page.num_rows and not page.unrequested and page.next_cursor is None
