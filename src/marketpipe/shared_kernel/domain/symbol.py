from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import Enum
from operator import attrgetter

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.trading_date import TradingDate

MAX_LENGTH = 20
_FORM = re.compile(r"[A-Z0-9](?:[A-Z0-9.\-]*[A-Z0-9])?")


@frozen(order=True, repr=False)
class Symbol:
    """Upper-case ASCII letters, digits, dots and hyphens, at most 20, a letter or digit at both ends.

    Nothing that this class accepts can leave a path or end a URL's component. Raises ``ValidationError``.
    """

    value: str = field()

    @value.validator
    def _well_formed(self, _: object, value: object) -> None:
        if not isinstance(value, str) or len(value) > MAX_LENGTH or not _FORM.fullmatch(value) or ".." in value:
            raise ValidationError(
                f"{str(value)[:40]!r} is not a symbol: 1 to {MAX_LENGTH} upper-case letters, digits, "
                "single dots or hyphens, such as AAPL or BRK.B"
            )

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Symbol({self.value!r})"


def as_symbols(values: str | Symbol | Iterable[str | Symbol]) -> tuple[Symbol, ...]:
    """Sorted, without repeats; a single one may be given bare."""
    listed = [values] if isinstance(values, (str, Symbol)) else values
    distinct = {value if isinstance(value, Symbol) else Symbol(value) for value in listed}
    return tuple(sorted(distinct, key=attrgetter("value")))


@frozen(order=True)
class SymbolDay:
    """The unit of ingestion, storage and completeness: one symbol on one trading date."""

    symbol: Symbol
    trading_date: TradingDate

    def __str__(self) -> str:
        return f"{self.symbol} {self.trading_date}"


def dates_by_symbol(days: Iterable[SymbolDay]) -> Mapping[Symbol, list[TradingDate]]:
    """Symbols and dates in the order in which they come."""
    dates: defaultdict[Symbol, list[TradingDate]] = defaultdict(list)
    for day in days:
        dates[day.symbol].append(day.trading_date)
    return dates


class Outcome(Enum):
    """What became of a symbol-day the last time it was asked for."""

    COMPLETE = "complete"
    EMPTY = "empty"
    PARTIAL = "partial"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value

    @property
    def is_settled(self) -> bool:
        """Needs no further request."""
        return self in (Outcome.COMPLETE, Outcome.EMPTY)


@frozen
class SymbolDayOutcome:
    """``rows`` are in the store, ``rejected`` in quarantine; ``error`` says why it failed, None unless it did."""

    symbol_day: SymbolDay
    outcome: Outcome
    rows: int = 0
    rejected: int = 0
    error: str | None = None
