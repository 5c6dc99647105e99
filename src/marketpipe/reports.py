"""What the commands of a pipeline return. All trading dates are inclusive, counts are symbol-days unless named.

Reports that need nothing from several contexts are classes of one: ``AggregationReport`` and ``IntegrityReport`` of
storage, ``RecoveryReport`` of ingestion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from marketpipe.ingestion.domain.coverage.verdict import Gap, SessionVerdict, SymbolCoverage, Verdict
from marketpipe.ingestion.domain.ingestion_plan import PlanEstimate
from marketpipe.ingestion.domain.official_days import NO_OFFICIAL_DAYS, OfficialDaysReport
from marketpipe.ingestion.domain.restatement import Restatement, SymbolAdjustment
from marketpipe.ingestion.domain.store_status import JobRecord, SymbolSummary
from marketpipe.integration.domain.table_import import ImportPreview
from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, DayComparison
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.shared_kernel.events import RuleFinding
from marketpipe.storage.domain.storage_metadata import AggregationReport
from marketpipe.storage.domain.store_survey import CopyFiles, TimeframeFreshness

from . import report_html

if TYPE_CHECKING:
    import pyarrow as pa

NOTHING_AGGREGATED: Final = AggregationReport(0, 0)
DAY_COLUMNS = (
    *("symbol", "trading_date", "verdict", "suspicion", "detail", "bars", "rejected", "first", "last"),
    "evidence",
)
NAMES_SHOWN: Final = 5


def doubt_of_names(symbols: Sequence[Symbol]) -> str:
    """Return what is said of symbols of which the provider has never had a bar: they may be misspelt."""
    names = ", ".join(map(str, symbols[:NAMES_SHOWN])) + (" …" if len(symbols) > NAMES_SHOWN else "")
    return f"the provider has never had a bar of {names}: is the symbol right?"


@frozen
class PlanReport:
    """What an ingestion would request, in symbol-days, and what that is expected to cost.

    ``already_settled`` symbol-days need no request; ``not_begun`` ones belong to sessions that have no bars yet.
    ``minutes`` is the least time that the provider's rate limit allows for the requests, None if it has no limit.
    ``notices`` are what should be known of the feed before a store of it is begun.
    ``official_days`` is the number of symbol-days whose official day is missing, ``official_requests`` what they cost.
    """

    planned: int
    already_settled: int
    not_begun: int
    estimate: PlanEstimate
    minutes: float | None
    notices: tuple[str, ...] = ()
    official_days: int = 0
    official_requests: int = 0

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        cost = self.estimate
        named = {
            "symbol-days to request": self.planned,
            "already settled": self.already_settled,
            "not begun yet": self.not_begun,
            "bars (estimated)": cost.bars,
            "requests (estimated)": cost.requests + self.official_requests,
            "MB (estimated)": cost.size_bytes / 1e6,
            "official days": self.official_days or None,
            "minutes at the rate limit": self.minutes,
        }
        return report_html.facts("Plan", named, self.notices)


@frozen
class IngestionReport:
    """What one ingestion did.

    ``planned``, ``already_settled`` and ``not_begun`` are those of ``PlanReport``; ``left`` counts planned symbol-days
    that were not requested, ``outcomes`` has one entry for each that was. ``warnings`` maps a rule of severity warning
    to the number of bars that break it; they are stored nevertheless. ``estimate`` is what the plan expected.
    ``readjusted`` are the symbols whose adjusted prices the provider has changed: their whole history was requested
    again. ``state`` is "completed", "failed" or "interrupted". ``seconds`` do not include the time for the aggregates.
    ``notices`` are what should be known of the feed, if this ingestion began the store, and of a server for metrics.
    ``official`` is what became of the official days, whose requests count among the ``requests``.
    ``faults`` maps a ``ProviderError.kind`` to the number of requests that failed so; ``retries`` were sent again.
    ``rate_limit_seconds`` are those in which at least one request waited for the rate limit.
    ``without_bars`` are the symbols of which the provider has never had a bar: they may be misspelt.
    ``rejected_without_session`` are rejected bars of dates that are no session, and so of no requested symbol-day.
    """

    job_id: int
    state: str
    planned: int
    already_settled: int
    not_begun: int
    requests: int
    seconds: float
    outcomes: Mapping[SymbolDay, SymbolDayOutcome] = field(
        repr=lambda outcomes: f"<{count_of(len(outcomes), 'symbol-day')}>"
    )
    warnings: Mapping[str, int] = field(factory=dict)
    aggregates: AggregationReport = NOTHING_AGGREGATED
    estimate: PlanEstimate | None = None
    left: int = 0
    notices: tuple[str, ...] = ()
    official: OfficialDaysReport = NO_OFFICIAL_DAYS
    readjusted: tuple[SymbolAdjustment, ...] = ()
    retries: int = 0
    faults: Mapping[str, int] = field(factory=dict)
    rate_limit_seconds: float = 0.0
    without_bars: tuple[Symbol, ...] = ()
    rejected_without_session: int = 0

    @property
    def ok(self) -> bool:
        """Whether every planned symbol-day was requested without failure, and all aggregates agree with their bars.

        Official days that failed count as well.
        """
        return self.state == "completed" and self.aggregates.ok and self.official.ok

    @property
    def failures(self) -> Mapping[SymbolDay, str]:
        """The reason of each symbol-day that failed."""
        return {day: outcome.error for day, outcome in self.outcomes.items() if outcome.error is not None}

    @property
    def bars(self) -> int:
        """The number of bars that are stored for the requested symbol-days."""
        return sum(outcome.rows for outcome in self.outcomes.values())

    @property
    def rejected(self) -> int:
        """The number of bars that validation moved to quarantine, those of dates without a session among them."""
        return sum(outcome.rejected for outcome in self.outcomes.values()) + self.rejected_without_session

    def count(self, outcome: Outcome) -> int:
        """Return the number of requested symbol-days with this outcome."""
        return sum(result.outcome is outcome for result in self.outcomes.values())

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the counts, then what failed."""
        named = {
            **{f"{outcome} symbol-days": self.count(outcome) or None for outcome in Outcome},
            "already settled": self.already_settled,
            "not requested": self.left or None,
            "bars": self.bars,
            "rejected bars": self.rejected or None,
            "requests": self.requests,
            "retries": self.retries or None,
            "seconds": self.seconds,
            "of them waiting for the rate limit": round(self.rate_limit_seconds) or None,
        }
        failures = [f"{day}: {reason}" for day, reason in sorted(self.failures.items())]
        broken = [
            f"against the rule {rule}: {count_of(count, 'stored bar')}" for rule, count in sorted(self.warnings.items())
        ]
        title = f"Ingestion {self.job_id}: {self.state}"
        doubts = [doubt_of_names(self.without_bars)] if self.without_bars else []
        return report_html.facts(title, named, (*doubts, *self.notices, *self.aggregates.failures, *failures, *broken))


@frozen
class ImportReport:
    """How a table was understood, and what became of its bars: ``ingestion`` is None if nothing was to be written."""

    preview: ImportPreview
    ingestion: IngestionReport | None = None

    @property
    def ok(self) -> bool:
        """Whether all bars are stored or in quarantine; without an ingestion, whether they can be imported."""
        return self.preview.ok if self.ingestion is None else self.ingestion.ok

    def _repr_html_(self) -> str:
        """Return what a notebook shows: how the table was understood, then what became of it."""
        shown = self.preview
        named = {
            "columns": ", ".join(f"{role}={name}" for role, name in shown.columns.items()),
            "format": shown.layout or None,
            "times": shown.timezone or None,
            "prices": ", in ".join(filter(None, (shown.adjustment, shown.price_unit))) or None,
            "symbols": len(shown.symbols),
            "symbol-days": shown.symbol_days,
            "bars": shown.bars,
        }
        left_out = [f"left out: {count_of(count, 'bar')} of {reason}" for reason, count in shown.left_out.items()]
        questions = [f"question: {question}" for question in shown.questions]
        understood = report_html.facts(f"Import into {shown.provider}", named, (*left_out, *shown.notes, *questions))
        return understood if self.ingestion is None else understood + self.ingestion._repr_html_()


@frozen
class ValidationReport:
    """What is wrong with the stored bars: ``findings`` by symbol-day and rule, ``damaged`` files with the reason.

    ``bars`` and ``symbol_days`` count what was checked.
    """

    bars: int
    symbol_days: int
    findings: tuple[RuleFinding, ...]
    damaged: Mapping[SymbolDay, str]

    @property
    def ok(self) -> bool:
        """Whether no file is damaged and no rule of severity error is broken; warnings do not count."""
        return not self.damaged and not any(str(finding.severity) == "error" for finding in self.findings)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the counts, damaged files, and the findings."""
        named = {"bars": self.bars, "symbol-days": self.symbol_days}
        damaged = [f"{day}: damaged: {reason}" for day, reason in sorted(self.damaged.items())]
        found = [
            f"{each.symbol_day}: {each.rule} ({each.severity}): {count_of(each.count, 'bar')}" for each in self.findings
        ]
        return report_html.facts("Valid" if self.ok else "NOT valid", named, (*damaged, *found))


@frozen
class StatusReport:
    """What a store contains, by symbol, and its latest ``jobs``, the newest first.

    ``identity`` is None if nothing is stored yet, ``session`` is None if nothing was ever ingested. Files that are gone
    do not count; ``missing`` is the number of their symbol-days. ``read_copies`` has the numbers of fresh, stale and
    absent read copies, files of a symbol and month, and ``copy_files`` which files of them lie there; None if the store
    keeps none.
    """

    identity: DatasetIdentity | None
    symbols: tuple[SymbolSummary, ...]
    jobs: tuple[JobRecord, ...]
    session: SessionKind | None = None
    read_copies: TimeframeFreshness | None = None
    copy_files: CopyFiles | None = None

    @property
    def missing(self) -> int:
        return sum(summary.missing for summary in self.symbols)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the dataset, the read copies, and a table of its symbols."""
        hours, copies = str(self.session or ""), self.read_copies
        counts = f"{copies.fresh:,} fresh, {copies.stale:,} stale, {copies.absent:,} absent" if copies else None
        stored = self.identity or "nothing is stored here yet"
        title = report_html.facts("Store", {"dataset": stored, "session": hours, "read copies": counts})
        days = ("complete", "empty", "partial", "failed", "missing")
        head = ("symbol", "first", "last", *days, "bars", "official days", "rejected", "bytes")
        fields = {"bytes": "size_bytes", "official days": "official_days"}
        rows = [[getattr(row, fields.get(name, name)) for name in head] for row in self.symbols]
        return title + (report_html.table(head, rows) if rows else "")


@frozen
class HealthReason:
    """Why a store is not ready: which ``check`` (readable, fresh or complete), and what to do.

    ``value`` is what was measured, ``limit`` the configured bound that it is above; None if nothing could be measured.
    """

    check: str
    message: str
    value: float | None = None
    limit: float | None = None


@frozen
class HealthReport:
    """Whether a store is as fresh and as complete as ``metrics`` of its configuration demands.

    ``measured_at`` is the moment at which the files were listed. ``lag_sessions``, ``missing`` and ``suspect`` are what
    the limits are compared with; the last two count symbol-days of sessions that are older than the allowed lag, as of
    ``assessed_at``, and files that are gone now. Coverage is assessed again if checkpoints were written, or after an
    hour.
    """

    reasons: tuple[HealthReason, ...]
    measured_at: Timestamp
    lag_sessions: int | None = None
    missing: int | None = None
    suspect: int | None = None
    assessed_at: Timestamp | None = None

    @property
    def ok(self) -> bool:
        return not self.reasons

    def _repr_html_(self) -> str:
        """Return what a notebook shows: whether the store is ready, and why not."""
        named = {"lag in sessions": self.lag_sessions, "missing": self.missing, "suspect": self.suspect}
        title = f"{'Ready' if self.ok else 'NOT ready'} at {self.measured_at}"
        return report_html.facts(title, named, [reason.message for reason in self.reasons])


@frozen
class CoverageReport:
    """A verdict on every symbol in every session from ``first`` to ``last`` that has begun, both inclusive.

    ``session`` is the kind of hours that each session was checked for: extended or regular. ``lost`` are the paths of
    recorded files of these symbols and dates, other than day files, that do not exist: each begins with its area.
    ``identity`` is that of the stored bars, None if there are none.
    """

    first: TradingDate
    last: TradingDate
    session: SessionKind
    symbols: tuple[SymbolCoverage, ...] = field(repr=lambda symbols: f"<{count_of(len(symbols), 'symbol')}>")
    lost: tuple[str, ...] = ()
    identity: DatasetIdentity | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, suspect or lost.

        Partial and pending sessions do not count: they are requested once their session is final. Nor do short ones:
        the provider was asked again and has no more; see ``strict_ok``.
        """
        return not self.lost and not any(self.count(verdict) for verdict in Verdict if verdict.disproves)

    @property
    def strict_ok(self) -> bool:
        """Whether nothing is missing or suspect, and no session is short of what the evidence shows."""
        return self.ok and not self.count(Verdict.SHORT)

    @property
    def dates(self) -> tuple[TradingDate, ...]:
        """The trading dates of the sessions, ascending."""
        return self.symbols[0].grid.dates if self.symbols else ()

    def count(self, verdict: Verdict) -> int:
        """Return the number of symbol-days with this verdict."""
        return sum(coverage.count(verdict) for coverage in self.symbols)

    def gaps(self) -> list[Gap]:
        """Return what is missing, partial, suspect or short, by symbol, then date.

        Equal verdicts in a row are one gap.
        """
        return [gap for coverage in self.symbols for gap in coverage.gaps()]

    def notes(self) -> list[Gap]:
        """Return the complete symbol-days with a detail, such as a likely split, by symbol, then date."""
        return [note for coverage in self.symbols for note in coverage.notes()]

    def days(self) -> Iterator[SessionVerdict]:
        """Yield every verdict, by symbol, then date."""
        for coverage in self.symbols:
            yield from coverage.days()

    def to_arrow(self) -> pa.Table:
        """Return one row for each symbol-day, by symbol, then date.

        Columns: symbol, trading_date, verdict, suspicion, detail, bars, rejected, first, last, evidence. ``first`` and
        ``last`` are the UTC times of the first and the last stored bar; ``evidence`` is the text of an ``Evidence``.
        """
        import pyarrow as pa

        text, count, moment = pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")
        types = (text, pa.date32(), text, text, text, count, count, moment, moment, text)
        schema = pa.schema(zip(DAY_COLUMNS, types, strict=True))
        parts = [pa.Table.from_pylist(list(map(day_as_row, coverage.days())), schema) for coverage in self.symbols]
        return pa.concat_tables([schema.empty_table(), *parts])

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a heat map of symbols and sessions, then the gaps."""
        counts = ", ".join(f"{count:,} {verdict}" for verdict in Verdict if (count := self.count(verdict)))
        state = "nothing missing or suspect" if self.ok else "NOT complete"
        title = f"Coverage {self.first} to {self.last}, {self.session} hours: {state}: {counts}"
        return report_html.coverage(title, self.symbols, self.lost)


def day_as_row(day: SessionVerdict) -> dict[str, object]:
    """Return the values of a symbol-day by ``DAY_COLUMNS``."""
    key, finding = day.symbol_day, day.finding
    suspicion = None if finding.suspicion is None else str(finding.suspicion)
    first, last = (None if minute is None else minute.moment for minute in (day.first, day.last))
    identified = str(key.symbol), key.trading_date.day, str(day.verdict), suspicion, finding.detail
    return dict(zip(DAY_COLUMNS, (*identified, day.bars, day.rejected, first, last, str(day.evidence)), strict=True))


@frozen
class AuditReport:
    """How the stored bars compare with what the provider returns today.

    Every audited symbol-day is in ``compared`` or, with its reason, in ``failures``. ``adjustments`` are splits and
    dividends that affect the whole history of a symbol. ``adopted`` is the ingestion that replaced the days that
    differ; None if ``adopt`` was not given or nothing could be replaced. ``seconds``, ``requests``, ``retries``,
    ``faults`` and ``rate_limit_seconds``, which are those of ``IngestionReport``, do not include that ingestion.
    """

    compared: Mapping[SymbolDay, DayComparison] = field(repr=lambda days: f"<{count_of(len(days), 'symbol-day')}>")
    failures: Mapping[SymbolDay, str]
    adjustments: tuple[SymbolAdjustment, ...]
    requests: int
    seconds: float
    adopted: IngestionReport | None = None
    retries: int = 0
    faults: Mapping[str, int] = field(factory=dict)
    rate_limit_seconds: float = 0.0

    @property
    def restatements(self) -> list[Restatement]:
        """The symbol-days that differ, by symbol, then date."""
        return [Restatement.of(comparison) for _, comparison in sorted(self.compared.items()) if comparison.differs]

    @property
    def withdrawn(self) -> list[SymbolDay]:
        """The symbol-days with stored bars for which the provider returns none any more.

        Their bars are kept: one empty answer is never adopted. With ``adopt`` the next ingestion requests these days
        again; if the provider repeats that it has none, their bars remain as revisions only.
        """
        return [item.comparison.symbol_day for item in self.restatements if item.is_withdrawn]

    @property
    def ok(self) -> bool:
        """Whether all days could be compared, and the store agrees with the provider or has adopted its bars."""
        differs = any(comparison.differs for comparison in self.compared.values())
        agrees = self.adopted.ok and not self.withdrawn if self.adopted else not differs
        return agrees and not self.failures

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the counts, then each symbol-day that differs or failed."""
        restated = self.restatements
        named = {"symbol-days compared": len(self.compared), "restated": len(restated), "requests": self.requests}
        failures = [f"{day}: {reason}" for day, reason in sorted(self.failures.items())]
        lines = [f"{each.comparison.symbol_day}: {each.kind}" for each in restated]
        return report_html.facts("Audit", named, (*failures, *lines))
