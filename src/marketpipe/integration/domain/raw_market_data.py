from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import ArrowStream
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.events import RefusedSymbol


@frozen
class SymbolRun:
    """``length`` rows that follow one another and belong to one symbol."""

    symbol: Symbol
    length: int


@frozen
class RawMarketData:
    """One page as the provider gave it, in canonical columns but not yet judged.

    ``runs`` cover the rows of ``columns`` from the first to the last. ``next_cursor`` asks for the page after this one;
    None: this was the last. ``unrequested`` counts bars of symbols nobody had asked for, which were left out.
    """

    columns: ArrowStream = field(repr=False)
    runs: tuple[SymbolRun, ...] = ()
    next_cursor: str | None = None
    refused: tuple[RefusedSymbol, ...] = ()
    unrequested: int = 0

    @property
    def num_rows(self) -> int:
        return sum(run.length for run in self.runs)
