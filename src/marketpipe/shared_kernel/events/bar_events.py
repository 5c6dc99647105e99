"""The ring that one batch of bars travels: ingestion, integration, validation, storage, and back to ingestion."""

from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.columnar_bars import ColumnarBars
from marketpipe.shared_kernel.domain.severity import Severity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.traded_minutes import TradedMinutes
from marketpipe.shared_kernel.events.event import Event


def _size(bars: ColumnarBars) -> str:
    return f"<{bars.num_rows} bars of {len(bars.slices)} symbol-days>"


@frozen
class BarsRequested(Event):
    request: BarsRequest


@frozen
class BarsFetched(Event):
    """Whole symbol-days only: the open tail of a page waits for the page that completes it."""

    request: BarsRequest
    bars: ColumnarBars = field(repr=_size)


@frozen
class RuleFinding:
    """``count`` bars of one symbol-day did not satisfy ``rule``."""

    symbol_day: SymbolDay
    rule: str
    severity: Severity
    count: int


@frozen
class BarsValidated(Event):
    """``accepted`` has a slice for every symbol-day that was fetched, empty where all its bars were rejected.

    ``rejected`` carries the columns rule, severity, reason and raw besides the canonical ones.
    """

    request: BarsRequest
    accepted: ColumnarBars = field(repr=_size)
    rejected: ColumnarBars = field(repr=_size)
    findings: tuple[RuleFinding, ...] = ()


@frozen
class StoredSymbolDay:
    """What now lies on disk for one symbol-day. ``error`` is set, and nothing was changed, where storing it failed.

    ``first`` and ``last`` are the timestamps of the first and last bar; None where there is no file. ``known_since`` is
    when this content became the store's word: earlier than now where the new word changed nothing.
    ``whole`` tells whether the provider's word on the asked window was complete and final.
    """

    symbol_day: SymbolDay
    rows: int
    rejected: int
    whole: bool
    first: Timestamp | None = None
    last: Timestamp | None = None
    size_bytes: int = 0
    sha256: str | None = None
    error: str | None = None
    minutes: TradedMinutes | None = None
    known_since: Timestamp | None = None


@frozen
class BarsStored(Event):
    request: BarsRequest
    days: tuple[StoredSymbolDay, ...] = field(repr=lambda days: f"<{len(days)} symbol-days>")


@frozen
class RefusedSymbol:
    symbol: Symbol
    reason: str


@frozen
class BarsExhausted(Event):
    """The provider has said all it has to say to this request: what was not fetched by now does not exist there.

    ``unrequested`` counts bars that came though nobody had asked for their symbol or date; they were dropped.
    """

    request: BarsRequest
    refused: tuple[RefusedSymbol, ...] = ()
    unrequested: int = 0
