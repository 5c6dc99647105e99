"""Symbols, symbol-days, and what became of a symbol-day when it was last requested."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import Enum
from operator import attrgetter

from attrs import field, frozen
from attrs.converters import optional

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.secret_text import visible
from marketpipe.shared_kernel.domain.trading_date import TradingDate

MAX_LENGTH = 20
_FORM = re.compile(r"[A-Z0-9](?:[A-Z0-9.\-]*[A-Z0-9])?")


@frozen(order=True, repr=False)
class Symbol:
    """The name of a listed security: 1 to 20 upper-case ASCII letters, digits, dots and hyphens.

    It begins and ends with a letter or digit and has no two dots in a row: symbols become names of folders and parts
    of URLs, and must not be able to leave either. Raises ``ValidationError``.
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
    """Return the symbols sorted and without repetitions; a single one need not be in a list."""
    listed = [values] if isinstance(values, (str, Symbol)) else values
    distinct = {value if isinstance(value, Symbol) else Symbol(value) for value in listed}
    return tuple(sorted(distinct, key=attrgetter("value")))


@frozen(order=True)
class SymbolDay:
    """One symbol on one trading date: the unit of ingestion, of storage and of completeness."""

    symbol: Symbol
    trading_date: TradingDate

    def __str__(self) -> str:
        return f"{self.symbol} {self.trading_date}"


def dates_by_symbol(days: Iterable[SymbolDay]) -> Mapping[Symbol, list[TradingDate]]:
    """Group dates by symbol, both in the order in which they come."""
    dates: defaultdict[Symbol, list[TradingDate]] = defaultdict(list)
    for day in days:
        dates[day.symbol].append(day.trading_date)
    return dates


class Outcome(Enum):
    """What became of a symbol-day when it was last requested.

    COMPLETE: stored, and the session was final. EMPTY: final, and the provider has no bars. PARTIAL: requested before
    the session was final. FAILED: the request, the validation or the storing failed.
    """

    COMPLETE = "complete"
    EMPTY = "empty"
    PARTIAL = "partial"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value

    @property
    def is_settled(self) -> bool:
        """True if no further request is needed."""
        return self is Outcome.COMPLETE or self is Outcome.EMPTY


@frozen
class SymbolDayOutcome:
    """The outcome with its counts of bars: ``rows`` in the store, ``rejected`` in quarantine.

    ``error`` tells why the symbol-day failed; None if it did not.
    """

    symbol_day: SymbolDay
    outcome: Outcome
    rows: int = 0
    rejected: int = 0
    error: str | None = field(default=None, converter=optional(visible))
