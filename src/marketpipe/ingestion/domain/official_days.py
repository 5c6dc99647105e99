"""Which official days are requested, in as few requests as possible, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from marketpipe.ingestion.domain.batch_packing import Rectangle, rectangles
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import TimeWindow
from marketpipe.shared_kernel.domain.trading_date import TradingSession

PAGES_PER_REQUEST: Final = 16
"""A process that is killed loses at most so many pages: the answer to a request is stored as a whole."""
RECENT_SESSIONS: Final = 5
"""An update requests the official days of so many sessions again: providers correct them for some days."""


@frozen
class OfficialPlan:
    """The requests for official days of a job. ``wanted`` are the symbol-days that lack one or are checked again.

    Some requests have further symbol-days, whose official days are stored already, where that makes fewer requests.
    ``pages`` is how many requests to the provider they take.
    """

    requests: tuple[BarsRequest, ...] = field(default=(), repr=lambda requests: f"<{len(requests)} requests>")
    wanted: int = 0
    pages: int = 0


def _read_only(failures: Mapping[SymbolDay, str]) -> Mapping[SymbolDay, str]:
    return MappingProxyType(dict(failures))  # attrs.asdict would make dictionaries of the keys of a plain dictionary


@frozen
class OfficialDaysReport:
    """What became of the official days that a job requested; counts are symbol-days.

    ``answered`` have a bar, or the provider has none. ``changed`` are those whose stored bar is another now; their
    minutes were requested again. ``left`` were not requested, because the job was stopped before.
    """

    requested: int = 0
    answered: int = 0
    left: int = 0
    changed: tuple[SymbolDay, ...] = field(default=(), repr=lambda days: f"<{len(days)} symbol-days>")
    failures: Mapping[SymbolDay, str] = field(
        factory=dict,
        converter=_read_only,
        repr=lambda days: f"<{len(days)} symbol-days>",
    )

    @property
    def ok(self) -> bool:
        return not self.failures and not self.left


NO_OFFICIAL_DAYS: Final = OfficialDaysReport()


@frozen
class OfficialLimits:
    """The bars in a page of the provider, and the symbols that one request for official days may name."""

    bars_per_page: int
    symbols_per_request: int

    def bundles(self, missing: Mapping[Symbol, Sequence[int]]) -> Iterator[tuple[Rectangle, int]]:
        """Yield rectangles of symbols and sessions that cover what is missing, each with its number of pages.

        Days are small: rectangles are joined, with days that are not missing, as long as no page is added.
        """
        joined = list[Rectangle]()
        for rectangle in rectangles(missing):
            both = _joined(joined[-1], rectangle) if joined else None
            if both and self._pages(both) <= self._pages(joined[-1]) + self._pages(rectangle):
                joined[-1] = both
            else:
                joined.append(rectangle)
        for rectangle in joined:
            for part in self._parts(rectangle):
                yield part, self._pages_of(part)

    def exact(self, wanted: Mapping[Symbol, Sequence[int]]) -> Iterator[tuple[Rectangle, int]]:
        """Yield rectangles of just these symbols and sessions, each with its number of pages."""
        for rectangle in rectangles(wanted):
            for part in self._parts(rectangle):
                yield part, self._pages_of(part)

    def _pages(self, rectangle: Rectangle) -> int:
        return sum(map(self._pages_of, self._parts(rectangle)))

    def _pages_of(self, part: Rectangle) -> int:
        symbols, (first, last) = part
        return ceil(len(symbols) * (last - first + 1) / self.bars_per_page)

    def _parts(self, rectangle: Rectangle) -> Iterator[Rectangle]:
        symbols, (first, last) = rectangle
        width = min(self.symbols_per_request, max(1, PAGES_PER_REQUEST * self.bars_per_page // (last - first + 1)))
        return ((symbols[start : start + width], (first, last)) for start in range(0, len(symbols), width))


def _joined(one: Rectangle, other: Rectangle) -> Rectangle:
    symbols = tuple(sorted({*one[0], *other[0]}, key=str))
    return symbols, (min(one[1][0], other[1][0]), max(one[1][1], other[1][1]))


def official_day_of(session: TradingSession) -> AskedSession:
    """Return what is requested of a final session: its calendar day in New York, at whose start the bar is stamped."""
    date = session.trading_date
    return AskedSession(session, TimeWindow(date.midnight, date.plus_days(1).midnight), final=True)
