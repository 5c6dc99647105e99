"""Whether a store is complete, symbol by symbol and session by session, as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import field, frozen

from marketpipe.ingestion.domain.coverage.symbol_coverage import Gap, SymbolCoverage
from marketpipe.ingestion.domain.coverage.verdict import SessionVerdict, Verdict
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind

if TYPE_CHECKING:
    import pyarrow as pa


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
