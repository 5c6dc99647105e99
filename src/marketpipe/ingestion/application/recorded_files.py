from __future__ import annotations

from collections.abc import Mapping

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.shared_kernel.domain.store_inventory import RecordedFile
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate


class RecordedFiles:
    """The kernel's ``FileRegister`` over the state."""

    def __init__(self, state: IngestionState) -> None:
        self._state = state

    def symbols(self) -> frozenset[Symbol]:
        return frozenset(self._state.spans())

    def files(self, symbol: Symbol, first: TradingDate, last: TradingDate) -> Mapping[TradingDate, RecordedFile]:
        records = self._state.records(symbol, first, last)
        return {date: record.file for date, record in records.items() if record.file is not None}

    def doubt(self, symbol: Symbol, reasons: Mapping[TradingDate, str]) -> None:
        """The file stays recorded, so that what heals it is known to be what it was."""
        self._state.doubt(symbol, reasons)
