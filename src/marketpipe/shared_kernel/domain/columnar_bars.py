"""Bulk data travels by reference: these protocols let domain and application carry columns they never open."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.time_window import TimeWindow


class ArrowStream(Protocol):
    """The Arrow C stream interface: infrastructure turns it into a table with ``pa.table(stream)``, without a copy."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@frozen
class SymbolDaySlice:
    """Rows ``offset`` to ``offset + length`` are what the provider said of one symbol-day.

    ``whole`` is the window for which these rows are the provider's complete and final word; None where more may come.
    """

    symbol_day: SymbolDay
    offset: int
    length: int
    whole: TimeWindow | None = None


class ColumnarBars(ArrowStream, Protocol):
    """Canonical columns: timestamp[us, UTC], open, high, low, close, volume, trade_count, vwap (see ADR 0004)."""

    @property
    def num_rows(self) -> int: ...

    @property
    def slices(self) -> tuple[SymbolDaySlice, ...]:
        """Which rows belong to which symbol-day; together they cover all rows. A slice may be empty."""
        ...
