"""One page of a provider's response, before validation."""

from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import ArrowStream
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.events import RefusedSymbol


@frozen
class SymbolRun:
    """``length`` consecutive rows that belong to one symbol."""

    symbol: Symbol
    length: int


@frozen
class RawMarketData:
    """One page of bars in the canonical columns (``BAR_SCHEMA``), as the provider sent it and not yet validated.

    ``columns`` is anything that ``pyarrow.table`` reads; an extra column ``raw`` may hold the provider's own text of
    a record that could not be read. ``runs`` cover the rows of ``columns`` in order, from the first to the last.
    ``next_cursor`` requests the following page; None marks the last page. ``refused`` lists symbols that the provider
    rejected. ``unrequested`` counts bars of symbols that were not requested and have been left out of ``columns``.
    ``begins_again``: the pages that follow begin again, without a refused symbol or with a part of the group, so that
    symbol-days of which the pages before have brought a part come again as a whole, or not at all.
    """

    columns: ArrowStream = field(repr=False)
    runs: tuple[SymbolRun, ...] = ()
    next_cursor: str | None = None
    refused: tuple[RefusedSymbol, ...] = ()
    unrequested: int = 0
    begins_again: bool = field(default=False, repr=False)

    @property
    def num_rows(self) -> int:
        return sum(run.length for run in self.runs)
