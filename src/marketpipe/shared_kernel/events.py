"""The ring that one batch of bars travels: ingestion, integration, validation, storage, and back to ingestion."""

from __future__ import annotations

from attrs import field, frozen

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.store_inventory import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradedMinutes


class Event:
    """A fact in the past tense. Subclasses are frozen and are never changed once published."""


@frozen
class RequestCompleted(Event):
    """One HTTP exchange. ``error_kind`` is None on success; ``rate_limit_remaining`` is None where it was not said."""

    provider: str
    seconds: float
    bars: int = 0
    error_kind: str | None = None
    rate_limit_remaining: int | None = None


@frozen
class RequestRetried(Event):
    provider: str
    attempt: int
    wait_seconds: float
    reason: str


@frozen
class RateLimitWaited(Event):
    provider: str
    seconds: float


@frozen
class JobStarted(Event):
    """Counts are symbol-days: ``planned`` will be asked for, ``settled`` are known already."""

    job_id: int
    provider: str
    planned: int
    settled: int
    batches: int


@frozen
class SymbolDaysRecorded(Event):
    """A checkpoint has been committed for each; their files are durable."""

    job_id: int
    provider: str
    outcomes: tuple[SymbolDayOutcome, ...] = field(repr=lambda outcomes: f"<{len(outcomes)} symbol-days>")


@frozen
class JobFinished(Event):
    """``state`` is completed, failed or interrupted."""

    job_id: int
    provider: str
    state: str


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


@frozen
class StoredBarsRead(Event):
    """Bars that came back from disk to be judged again."""

    bars: ColumnarBars = field(repr=lambda bars: f"<{bars.num_rows} bars of {len(bars.slices)} symbol-days>")


@frozen
class PartitionFoundDamaged(Event):
    symbol_day: SymbolDay
    reason: str


@frozen
class StoredBarsJudged(Event):
    """``findings`` is empty where every one of the ``bars`` satisfies every rule."""

    bars: int
    symbol_days: int
    findings: tuple[RuleFinding, ...]


@frozen
class AuditStarted(Event):
    """``planned`` symbol-days will be asked for again, in ``batches``."""

    planned: int
    batches: int


@frozen
class BarsCompared(Event):
    """What the provider says again, held against what is stored; nothing was changed by that."""

    request: BarsRequest
    days: tuple[DayComparison, ...] = field(repr=lambda days: f"<{len(days)} symbol-days>")


@frozen
class AuditFinished(Event):
    compared: int
    differing: int


@frozen
class AggregatesRefreshed(Event):
    """Counts are aggregate files: those written anew, those that already agreed with their minutes."""

    written: int
    unchanged: int
