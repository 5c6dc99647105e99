"""What a provider says of old sessions today, against what is stored, as data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from marketpipe.ingestion.domain.restatement import Restatement
from marketpipe.reports import IngestionReport
from marketpipe.shared_kernel.domain.day_comparison import DayComparison
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate


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
