from __future__ import annotations

import pyarrow as pa

from marketpipe.integration.domain.raw_market_data import RawMarketData
from marketpipe.shared_kernel.domain.symbol import Symbol

Span = tuple[int, int]


class PageReach:
    """How far the pages of a walk have come: from the first to the last minute of every symbol."""

    def __init__(self) -> None:
        self._spans: dict[Symbol, Span] = {}

    def grows(self, page: RawMarketData) -> bool:
        """Whether the page has a bar before or after all that its symbol had until then."""
        import pyarrow.compute as pc

        times, start, grown = pa.table(page.columns)["timestamp"].cast(pa.int64()), 0, False
        for run in page.runs:
            grown |= self._stretch(run.symbol, pc.min_max(times.slice(start, run.length)).as_py())
            start += run.length
        return grown

    def _stretch(self, symbol: Symbol, found: dict[str, int | None]) -> bool:
        first, last = found["min"], found["max"]
        if first is None or last is None:
            return False
        known = self._spans.get(symbol, (last + 1, first - 1))
        self._spans[symbol] = min(known[0], first), max(known[1], last)
        return self._spans[symbol] != known
