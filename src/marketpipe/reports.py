"""What the commands of a pipeline come back with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from attrs import field, frozen

from marketpipe.ingestion.domain.coverage.verdict import Gap, SessionVerdict, SymbolCoverage, Verdict
from marketpipe.ingestion.domain.ingestion_plan import PlanEstimate
from marketpipe.ingestion.domain.restatement import Restatement
from marketpipe.ingestion.domain.store_status import JobRecord, SymbolSummary
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity, DayComparison
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.shared_kernel.events import RuleFinding

if TYPE_CHECKING:
    import pyarrow as pa


@frozen
class AggregationReport:
    """Aggregate files ``written`` anew, and those ``unchanged`` because they agree with their minutes.

    ``failures`` says of each symbol that could not be aggregated to the end what is wrong.
    """

    written: int
    unchanged: int
    failures: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.failures


@frozen
class PlanReport:
    """What an ingestion would ask for, in symbol-days, and what that is expected to cost.

    ``already_settled`` need no request, ``not_begun`` lie in sessions without bars yet. ``minutes`` is what the
    provider's rate makes the requests last at least; None where it has none.
    """

    planned: int
    already_settled: int
    not_begun: int
    estimate: PlanEstimate
    minutes: float | None


@frozen
class IngestionReport:
    """What one ingestion did. Counts are symbol-days but for ``bars``, ``rejected``, ``requests`` and ``warnings``.

    ``already_settled`` needed no request, ``not_begun`` lie in sessions without bars yet, ``left`` were planned and not
    asked for. ``outcomes`` has one entry for each symbol-day that was asked for. ``bars`` lie in the store for those;
    ``warnings`` counts them by rule. ``estimate`` is what the plan had expected.
    """

    job_id: int
    state: str
    planned: int
    already_settled: int
    not_begun: int
    requests: int
    seconds: float
    outcomes: Mapping[SymbolDay, SymbolDayOutcome] = field(repr=lambda outcomes: f"<{len(outcomes)} symbol-days>")
    warnings: Mapping[str, int] = field(factory=dict)
    aggregates: AggregationReport = AggregationReport(0, 0)
    estimate: PlanEstimate | None = None
    left: int = 0

    @property
    def ok(self) -> bool:
        """Complete: nothing that was asked for has failed or was left out, and the aggregates agree."""
        return self.state == "completed" and self.aggregates.ok

    @property
    def failures(self) -> Mapping[SymbolDay, str]:
        return {day: found.error for day, found in self.outcomes.items() if found.error is not None}

    @property
    def bars(self) -> int:
        return sum(found.rows for found in self.outcomes.values())

    @property
    def rejected(self) -> int:
        return sum(found.rejected for found in self.outcomes.values())

    def count(self, outcome: Outcome) -> int:
        return sum(found.outcome is outcome for found in self.outcomes.values())


@frozen
class ValidationReport:
    """What is wrong with the stored bars: ``findings`` by symbol-day and rule, ``damaged`` files with the reason."""

    bars: int
    symbol_days: int
    findings: tuple[RuleFinding, ...]
    damaged: Mapping[SymbolDay, str]

    @property
    def ok(self) -> bool:
        """Warnings do not make a store invalid."""
        return not self.damaged and not any(str(finding.severity) == "error" for finding in self.findings)


@frozen
class StatusReport:
    """``identity`` is None while nothing is stored, ``session`` while nobody has ingested; ``jobs``: latest first."""

    identity: DatasetIdentity | None
    symbols: tuple[SymbolSummary, ...]
    jobs: tuple[JobRecord, ...]
    session: SessionKind | None = None


@frozen
class CoverageReport:
    """A verdict for every symbol and every session from ``first`` to ``last`` that has begun, both inclusive.

    ``session`` says which hours were wanted of each.
    """

    first: TradingDate
    last: TradingDate
    session: SessionKind
    symbols: tuple[SymbolCoverage, ...] = field(repr=lambda symbols: f"<{len(symbols)} symbols>")

    @property
    def ok(self) -> bool:
        """Nothing is missing or suspect. What is partial or pending will be asked for once its session is final."""
        return not any(self.count(verdict) for verdict in Verdict if verdict.disproves)

    @property
    def dates(self) -> tuple[TradingDate, ...]:
        """The sessions."""
        return self.symbols[0].grid.dates if self.symbols else ()

    def count(self, verdict: Verdict) -> int:
        return sum(coverage.count(verdict) for coverage in self.symbols)

    def gaps(self) -> list[Gap]:
        """What is missing, partial or suspect, by symbol, then date; alike neighbours are joined."""
        return [gap for coverage in self.symbols for gap in coverage.gaps()]

    def days(self) -> Iterator[SessionVerdict]:
        """Every verdict with its evidence, by symbol, then date."""
        for coverage in self.symbols:
            yield from coverage.days()

    def to_arrow(self) -> pa.Table:
        """One row a verdict: symbol, trading_date, verdict, suspicion, detail, bars, rejected, first, last (UTC)."""
        import pyarrow as pa

        text, count, moment = pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")
        schema = pa.schema(
            {
                "symbol": text,
                "trading_date": pa.date32(),
                "verdict": text,
                "suspicion": text,
                "detail": text,
                "bars": count,
                "rejected": count,
                "first": moment,
                "last": moment,
            }
        )
        parts = [pa.Table.from_pylist([_row(day) for day in coverage.days()], schema) for coverage in self.symbols]
        return pa.concat_tables([schema.empty_table(), *parts])


def _row(day: SessionVerdict) -> dict[str, object]:
    suspicion = day.finding.suspicion
    return {
        "symbol": str(day.symbol_day.symbol),
        "trading_date": day.symbol_day.trading_date.day,
        "verdict": str(day.verdict),
        "suspicion": None if suspicion is None else str(suspicion),
        "detail": day.finding.detail,
        "bars": day.bars,
        "rejected": day.rejected,
        "first": None if day.first is None else day.first.moment,
        "last": None if day.last is None else day.last.moment,
    }


@frozen
class SymbolAdjustment:
    """A split or dividend that the provider has worked into the prices of a symbol since they were stored.

    It concerns the whole stored history, from ``first`` to ``last``, both inclusive: found by the restatement of one
    of its days, it has to be adopted for all of them.
    """

    restatement: Restatement
    first: TradingDate
    last: TradingDate

    @property
    def symbol(self) -> Symbol:
        return self.restatement.comparison.symbol_day.symbol


@frozen
class AuditReport:
    """``compared`` symbol-days were held against the provider's word of today; ``failures`` could not be.

    ``withdrawn`` have stored bars of which the provider has none any more; those stay, whatever is adopted.
    ``adopted`` is the ingestion by which the restated days were replaced; None where that was not asked for.
    """

    compared: Mapping[SymbolDay, DayComparison] = field(repr=lambda days: f"<{len(days)} symbol-days>")
    failures: Mapping[SymbolDay, str]
    adjustments: tuple[SymbolAdjustment, ...]
    requests: int
    seconds: float
    adopted: IngestionReport | None = None

    @property
    def restatements(self) -> list[Restatement]:
        """Of the days that differ, by symbol, then date."""
        return [Restatement.of(found) for _, found in sorted(self.compared.items()) if found.differs]

    @property
    def withdrawn(self) -> list[SymbolDay]:
        return [day for day, found in sorted(self.compared.items()) if is_withdrawn(found)]

    @property
    def ok(self) -> bool:
        """Everything could be compared, and the store agrees with the provider or has adopted what it says."""
        differs = any(found.differs for found in self.compared.values())
        agrees = self.adopted.ok and not self.withdrawn if self.adopted else not differs
        return agrees and not self.failures


def is_withdrawn(found: DayComparison) -> bool:
    return found.removed > 0 and not (found.unchanged or found.changed or found.added)


def adoptable(compared: Iterable[DayComparison]) -> Mapping[Symbol, frozenset[TradingDate]]:
    """Which days may take the provider's new word: silence is not one."""
    dates: defaultdict[Symbol, set[TradingDate]] = defaultdict(set)
    for found in compared:
        if found.differs and not is_withdrawn(found):
            dates[found.symbol_day.symbol].add(found.symbol_day.trading_date)
    return {symbol: frozenset(some) for symbol, some in dates.items()}


def adjustments(
    compared: Iterable[DayComparison], history: Mapping[Symbol, tuple[TradingDate, TradingDate]]
) -> tuple[SymbolAdjustment, ...]:
    """One a symbol, by the first day that shows it; ``history``: first and last stored date."""
    found: dict[Symbol, SymbolAdjustment] = {}
    for comparison in compared:
        restatement, symbol = Restatement.of(comparison), comparison.symbol_day.symbol
        if restatement.is_adjustment and symbol not in found:
            found[symbol] = SymbolAdjustment(restatement, *history[symbol])
    return tuple(found[symbol] for symbol in sorted(found))
