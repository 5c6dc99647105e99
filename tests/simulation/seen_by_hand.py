"""Builders of what an oracle sees: answers, stored files and steps made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.symbol import Outcome as DayOutcome
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from tests.simulation.exchange import all_sessions
from tests.simulation.ledger import Asked, Delivered, Ledger
from tests.simulation.oracle.files import StoreFiles, data_path, quarantine_path
from tests.simulation.oracle.memory import Memory, Seen
from tests.simulation.oracle.subject import Findings
from tests.simulation.outcome import Outcome
from tests.simulation.rows import Day, Row
from tests.simulation.story import Step

DAY: Day = ("AAA", "2024-03-05")
EVENING = Timestamp.parse("2024-03-06T02:00:00Z")


def row(minute: int, price: float = 100.0, date: str = DAY[1]) -> Row:
    """Return a bar so many minutes after the open."""
    at = all_sessions()[date].opens.epoch_micros + minute * 60_000_000
    return (at, price, price + 1, price - 1, price, 500.0, 7, price)


def bars_file(rows: Iterable[Row]) -> bytes:
    columns = [*zip(*rows, strict=True)] or [()] * 8
    arrays = [pa.array(column, pa.int64()) if i == 0 else column for i, column in enumerate(columns)]
    arrays[0] = arrays[0].cast(BAR_SCHEMA.field("timestamp").type)
    out = BytesIO()
    pq.write_table(pa.table(arrays, names=BAR_SCHEMA.names).cast(BAR_SCHEMA), out)
    return out.getvalue()


def stored(days: Mapping[Day, Iterable[Row]], rejected: Mapping[Day, Iterable[Row]] | None = None) -> StoreFiles:
    files = {data_path(day): bars_file(rows) for day, rows in days.items()}
    return StoreFiles.of(files | {quarantine_path(day): bars_file(rows) for day, rows in (rejected or {}).items()})


def in_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [
        {"t": str(Timestamp.from_epoch_micros(at)), "o": o, "h": h, "l": low, "c": c, "v": v, "n": n, "vw": vw}
        for at, o, h, low, c, v, n, vw in rows
    ]


def tell(ledger: Ledger, day: Day, rows: Iterable[Row], process: str = "p1", **answer: Any) -> None:
    """Let the wire deliver all bars of a day as one page."""
    session = all_sessions()[day[1]]
    asked = Asked(process, (day[0],), session.extended.start, session.extended.end)
    ledger.delivered(asked, Delivered(**{"at": EVENING, "bars": {day[0]: in_json(rows)}, **answer}))


def report(outcomes: Mapping[Day, DayOutcome], **changes: Any) -> IngestionReport:
    days = {SymbolDay(Symbol(symbol), TradingDate.parse(date)): value for (symbol, date), value in outcomes.items()}
    results = {day: SymbolDayOutcome(day, value) for day, value in days.items()}
    return IngestionReport(1, "completed", len(days), 0, 0, 1, 0.0, results, **changes)


def step(kind: str = "update", ended: str = "returned", value: Any = None, **changes: Any) -> Outcome:
    return Outcome(Step(1, str(EVENING), kind), ended, EVENING, EVENING, "p1", value, **changes)


def seen(outcome: Outcome, ledger: Ledger, before: StoreFiles, now: StoreFiles, memory: Memory | None = None) -> Seen:
    """Return a step as an oracle sees it that remembers the files before it, as a command reported them."""
    memory = memory or Memory(before, possible={day: [before.rows(day)] for day in before.days})
    return Seen(outcome, before, now, ledger.words_since(0), memory, "regular")


def broken(findings: Findings) -> list[str]:
    return [finding for finding in findings if finding is not None]
