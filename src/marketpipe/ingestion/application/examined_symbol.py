from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.day_record import DayRecord
from marketpipe.shared_kernel.domain.store_inventory import FileCondition, StoreInventory
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import TradingDate

MOST_LOOKS = 5


@frozen
class ExaminedSymbol:
    """What is recorded of a symbol's days, and where the files differ from that."""

    records: Mapping[TradingDate, DayRecord]
    conditions: Mapping[TradingDate, FileCondition]


def examine(
    symbol: Symbol, first: TradingDate, last: TradingDate, state: IngestionState, inventory: StoreInventory
) -> ExaminedSymbol:
    """Between the dates, both inclusive.

    Somebody may be ingesting meanwhile: a file that differs is believed to differ only when its record has not changed
    by then.
    """
    records = state.records(symbol, first, last)
    for _ in range(MOST_LOOKS):
        files = {date: record.file for date, record in records.items() if record.file is not None}
        conditions = inventory.conditions(symbol, first, last, files)
        if not conditions or (again := state.records(symbol, first, last)) == records:
            break
        records = again
    return ExaminedSymbol(records, conditions)
