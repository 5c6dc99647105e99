"""The events in which the contexts meet. Five of them are the ring that every batch of bars travels:

    ingestion ──BarsRequested──▶ integration ──BarsFetched──▶ validation ──BarsValidated──▶ storage
        ▲                            │                                                         │
        ├──────BarsExhausted─────────┘                                                         │
        └─────────────────────────────────── BarsStored ───────────────────────────────────────┘

One BarsRequested leads to any number of BarsFetched, each followed by one BarsValidated and one BarsStored, and at the
end to one BarsExhausted: steps 2 to 4 of the ring repeat, 1 and 5 happen once. The exchange's official days have a
journey of four events of their own, each published once a request:

    OfficialDaysRequested ──▶ OfficialDaysFetched ──▶ OfficialDaysValidated ──▶ OfficialDaysStored

Before the last one, OfficialDaysChanged names the stored days that the answer changes. The other events report on
requests, jobs, audits and the store; observers listen to them. Bulk data travels by reference (``ColumnarBars``), so
that no event copies bars.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.ohlcv_bar import ColumnarBars, DayFigures, OfficialDay
from marketpipe.shared_kernel.domain.predicate import Severity
from marketpipe.shared_kernel.domain.store_inventory import DayComparison, RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradedMinutes, TradingDate


class Event:
    """A fact in the past tense. Subclasses are frozen: an event never changes once it is published."""


def _size(bars: ColumnarBars) -> str:
    return f"<{bars.num_rows} bars of {len(bars.slices)} symbol-days>"


def _number_of_days(days: tuple[object, ...]) -> str:
    return f"<{len(days)} symbol-days>"


@frozen
class BarsRequested(Event):
    """Ring, 1 of 5. Ingestion wants these bars; integration requests them from the provider."""

    request: BarsRequest


@frozen
class BarsFetched(Event):
    """Ring, 2 of 5. Bars arrived; validation checks them.

    Only complete symbol-days: if a page ends within a symbol-day, its bars wait for the page with the rest.
    """

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
    """Ring, 3 of 5. Bars are split into good and bad; storage writes both.

    ``accepted`` has a slice for every symbol-day that was fetched, empty if all its bars were rejected. ``rejected``
    has, besides the canonical columns, the columns rule, severity, reason and raw. ``findings`` include warnings.
    """

    request: BarsRequest
    accepted: ColumnarBars = field(repr=_size)
    rejected: ColumnarBars = field(repr=_size)
    findings: tuple[RuleFinding, ...] = ()


@frozen
class StoredSymbolDay:
    """The stored bars of one symbol-day after a write. If ``error`` is set, storing failed and nothing was changed.

    ``rows`` are the bars in the file, ``rejected`` the bars that this write put into quarantine. ``final`` is True if
    the provider's answer on the requested window was complete and will not change. ``first`` and ``last`` are the
    timestamps of the first and the last bar (UTC, left edge of the minute); None if there is no file. ``known_since``
    is the moment from which the store has had exactly these bars: earlier than now if this write changed nothing.
    ``mark`` identifies the stored version. ``size_bytes`` is a statistic. ``figures`` are what the bars in the file add
    up to; None if there is no file, or no session on that date.
    """

    symbol_day: SymbolDay
    rows: int
    rejected: int
    final: bool
    first: Timestamp | None = None
    last: Timestamp | None = None
    size_bytes: int = 0
    sha256: str | None = None
    error: str | None = None
    minutes: TradedMinutes | None = None
    known_since: Timestamp | None = None
    mark: VersionMark | None = None
    figures: DayFigures | None = None

    @property
    def whole(self) -> bool:
        """The former name of ``final``."""
        return self.final


@frozen
class BarsStored(Event):
    """Ring, 4 of 5. The files are written and synced; ingestion commits a checkpoint for each symbol-day.

    Of days with an ``error`` nothing was written.
    """

    request: BarsRequest
    days: tuple[StoredSymbolDay, ...] = field(repr=_number_of_days)


@frozen
class RefusedSymbol:
    """A symbol that the provider does not serve, with the provider's reason."""

    symbol: Symbol
    reason: str


@frozen
class BarsExhausted(Event):
    """Ring, 5 of 5. The provider has sent all it has for the request: bars that did not arrive do not exist there.

    ``unrequested`` counts bars of symbols or dates that were not requested; they were dropped.
    """

    request: BarsRequest
    refused: tuple[RefusedSymbol, ...] = ()
    unrequested: int = 0


@frozen
class OfficialDaysRequested(Event):
    """Official days, 1 of 4. Ingestion wants the exchange's daily bars; integration requests them from the provider."""

    request: BarsRequest


@frozen
class OfficialDaysFetched(Event):
    """Official days, 2 of 4. The complete answer to the request arrived; validation checks it.

    A symbol-day of the request without a bar has none, unless its symbol is among the ``refused``.
    """

    request: BarsRequest
    bars: ColumnarBars = field(repr=_size)
    refused: tuple[RefusedSymbol, ...] = ()


@frozen
class OfficialDaysValidated(Event):
    """Official days, 3 of 4. Bars are split into good and bad; storage writes both. As ``BarsValidated``."""

    request: BarsRequest
    accepted: ColumnarBars = field(repr=_size)
    rejected: ColumnarBars = field(repr=_size)
    refused: tuple[RefusedSymbol, ...] = ()
    findings: tuple[RuleFinding, ...] = ()


@frozen
class OfficialDayChange:
    """An official day that is another now than the stored one; ``newer`` is None if the provider withdrew it."""

    symbol_day: SymbolDay
    former: OfficialDay
    newer: OfficialDay | None


@frozen
class OfficialDaysChanged(Event):
    """The provider has changed stored official days. Published before they are stored.

    Ingestion marks the minutes of these days, so that they are requested again even if this process dies now.
    """

    request: BarsRequest
    changes: tuple[OfficialDayChange, ...] = field(repr=_number_of_days)


@frozen
class StoredOfficialYear:
    """The stored official days of one symbol and year after a write. If ``error`` is set, nothing was changed.

    ``answered`` are the days that this write settles: with a bar, or with none. ``failed`` are days whose bar was
    rejected, each with the reason. ``replaces``: whether the stored days are these alone, because the former file was
    gone or altered. ``version`` is None if there is no file.
    """

    symbol: Symbol
    year: int
    answered: DaysOfYear
    failed: Mapping[TradingDate, str] = field(factory=dict)
    replaces: bool = False
    version: RecordedVersion | None = None
    error: str | None = None


@frozen
class OfficialDaysStored(Event):
    """Official days, 4 of 4. The files are written and synced; ingestion records them.

    Every day of the request is answered or failed in one of ``years``, but for those of the ``refused`` symbols.
    """

    request: BarsRequest
    years: tuple[StoredOfficialYear, ...] = field(repr=lambda years: f"<{len(years)} symbol-years>")
    refused: tuple[RefusedSymbol, ...] = ()


@frozen
class RequestCompleted(Event):
    """One HTTP exchange ended. ``error_kind`` is None on success (otherwise ``ProviderError.kind``).

    ``seconds`` are those from the end of the wait for the rate limit to the end of the response; ``bars`` are those of
    the page. ``rate_limit_remaining`` is how many requests the provider still allows; None if it did not report it.
    """

    provider: str
    seconds: float
    bars: int = 0
    error_kind: str | None = None
    rate_limit_remaining: int | None = None


@frozen
class RequestRetried(Event):
    """A request failed and is sent again after ``wait_seconds``. ``attempt`` counts from 1."""

    provider: str
    attempt: int
    wait_seconds: float
    reason: str


@frozen
class AttemptLost(Event):
    """A worker was lost with a batch. ``requests`` are those it had told of, each published as ``RequestCompleted``."""

    request: BarsRequest
    requests: int


@frozen
class RateLimitWaited(Event):
    """A request begins to wait for the rate limit: for ``seconds``, or until the job is interrupted."""

    provider: str
    seconds: float


@frozen
class LeasesAwaited(Event):
    """A run waits for symbol-days that other processes work on; it requests what these do not settle.

    Published when the wait begins, with ``seconds`` 0, and every ten seconds of it. ``holders`` name those processes as
    far as they are known, such as "process 4711". ``official``: it is the official days of the symbol-days that another
    process requests.
    """

    symbol_days: int
    seconds: float
    holders: tuple[str, ...] = ()
    official: bool = False

    @property
    def others(self) -> str:
        """The processes as text, such as "process 4711 and 2 others"."""
        if not self.holders:
            return "another process"
        more = len(self.holders) - 1
        return self.holders[0] + (f" and {more} other{'s' if more > 1 else ''}" if more else "")


@frozen
class JobStarted(Event):
    """An ingestion begins. Counts are symbol-days: ``planned`` will be requested, ``settled`` need no request."""

    job_id: int
    provider: str
    planned: int
    settled: int
    batches: int


@frozen
class SymbolDaysRecorded(Event):
    """A checkpoint has been committed for each symbol-day; their files are durable."""

    job_id: int
    provider: str
    outcomes: tuple[SymbolDayOutcome, ...] = field(repr=_number_of_days)


@frozen
class JobFinished(Event):
    """An ingestion ended. ``state`` is completed, failed or interrupted."""

    job_id: int
    provider: str
    state: str


@frozen
class RunFinished(Event):
    """A run of the façade ended: ``kind`` is ingest, update, audit, import, aggregate or verify.

    ``state`` is completed, failed or interrupted. A run that was refused before it began has no such event.
    """

    kind: str
    state: str
    finished_at: Timestamp
    seconds: float


@frozen
class FilesSynced(Event):
    """So many files were written, synced to the disk, and published."""

    files: int


@frozen
class RestatementsFound(Event):
    """The provider has changed so many ``symbol_days`` that are stored.

    ``source`` is what showed it: audit, official_days or adjustment.
    """

    source: str
    symbol_days: int


@frozen
class RestatementsAdopted(Event):
    """The new bars of so many ``symbol_days`` were stored; the former ones are kept as revisions."""

    source: str
    symbol_days: int


@frozen
class MetricsServed(Event):
    """The metrics of a run can be scraped at ``address``, a URL, until the run ends."""

    address: str


@frozen
class MetricsNotServed(Event):
    """A run goes on without a server for its metrics, for this ``reason``."""

    reason: str


@frozen
class MetricsNotDelivered(Event):
    """The metrics of a run did not reach ``place``, a file or a Pushgateway, for this ``reason``. The run is over."""

    place: str
    reason: str


@frozen
class StoredBarsRead(Event):
    """Bars were read back from the store, to be validated again."""

    bars: ColumnarBars = field(repr=_size)


@frozen
class StoredBarsValidated(Event):
    """Stored bars were validated again. ``findings`` is empty if every bar satisfies every rule."""

    bars: int
    symbol_days: int
    findings: tuple[RuleFinding, ...]


@frozen
class PartitionFoundDamaged(Event):
    """A day file cannot be read, for this ``reason``."""

    symbol_day: SymbolDay
    reason: str


@frozen
class AuditStarted(Event):
    """An audit begins: ``planned`` symbol-days will be requested again, in ``batches`` requests."""

    planned: int
    batches: int


@frozen
class BarsCompared(Event):
    """Bars that the provider sent again were compared with the stored ones. The comparison changed nothing."""

    request: BarsRequest
    days: tuple[DayComparison, ...] = field(repr=_number_of_days)


@frozen
class AuditFinished(Event):
    """An audit ended. Counts are symbol-days."""

    compared: int
    differing: int


@frozen
class AggregatesPrepared(Event):
    """So many aggregate ``files`` were made of bars in memory, while their ingestion goes on.

    So many of them are read ``copies``.
    """

    files: int
    copies: int = 0


@frozen
class AggregatesRefreshed(Event):
    """Aggregate files were brought up to date: ``written`` were rebuilt, ``unchanged`` agreed with their minutes."""

    written: int
    unchanged: int
