"""Symbols, symbol-days, and what became of a symbol-day when it was last requested."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from itertools import groupby
from operator import attrgetter
from typing import Final, TypeVar

from attrs import field, frozen
from attrs.converters import optional

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.secret_text import visible
from marketpipe.shared_kernel.domain.timestamp import ordered_by
from marketpipe.shared_kernel.domain.trading_date import TradingDate

T = TypeVar("T")
MAX_LENGTH = 20
_FORM = re.compile(r"[A-Z0-9](?:[A-Z0-9.\-]*[A-Z0-9])?")
_ROOT = r"([A-Z0-9]{1,6})"
_SPELLINGS: Final = tuple(
    (re.compile(_ROOT + form), canonical)
    for form, canonical in (
        (r"[/.\-]([A-Z])", r"\1.\2"),  # BRK/B, BRK-B: a class of shares
        (r" ([ABC])", r"\1.\2"),  # BRK B; "AAP L" is rather a slip, see _NEAR
        (r"([abc])", r"\1.\2"),  # BRKb; so is "AAPl"
        (r"[ /.]PR", r"\1.PR"),  # preferred shares; Yahoo's ABC-PR is series R
        (r"(?:p|[ /.\-]PR)[ /.\-]?([A-Z])", r"\1.PR\2"),  # ABCpA, ABC PR A
        (r"(?:-P|[ /.\-]P[ /.\-])([A-Z])", r"\1.PR\2"),  # Yahoo's ABC-PA, but no other "AA PL": see _NEAR
        (r"[$^]([A-Z])", r"\1.PR\2"),  # ABC^A, ABC$A: preferred shares, series A
        (r"[ /.\-](?:WS|WT)", r"\1.WS"),
        (r"\+", r"\1.WS"),  # warrants
        (r"(?:\+|[ /.\-](?:WS|WT)[ /.\-]?)([A-Z])", r"\1.WS.\2"),
        (r"(?:=|[ /.\-]UN)", r"\1.U"),  # units
        (r"(?:\^|[ /.\-](?:RT|RTS|RI))", r"\1.RT"),  # rights
        (r"(?:#|[ /.\-]WI)", r"\1.WI"),  # when issued
    )
)
"""How a kind of security is written elsewhere (CQS, CMS, Nasdaq, Yahoo), and its canonical form. docs/adr/0034."""
_NEAR: Final = (
    (re.compile(_ROOT + "[ /]P([A-Z])"), r"preferred shares, series \2, are written \1.PR\2, and one word \1P\2"),
    (re.compile(_ROOT + " ([A-Z])"), r"a class of shares is written \1.\2, and one word \1\2"),
    (re.compile(_ROOT + "r"), r"rights are written \1.RT, and a class of shares \1.R"),
    (re.compile(_ROOT + "w"), r"when-issued shares are written \1.WI, and a class of shares \1.W"),
    (re.compile(_ROOT + "p"), r"preferred shares are written \1.PR, with a series \1.PRA"),
    (re.compile(_ROOT + r"\+[A-Z0-9]{2,}"), r"warrants are written \1.WS, with a series \1.WS.A"),
    (re.compile(r"[A-Z]{2,}=[FX]|[A-Z]{3,5}/[A-Z]{3,4}"), "futures, currencies and coins are not covered"),
    (re.compile(r"[\^$][A-Z][A-Z0-9]+"), "indices are not covered, an ETF of the index is"),
    (re.compile(_ROOT + "[ :](?:US|UN|UW|UQ|UA|UP)(?: Equity)?"), r"write \1, without the exchange"),
    (re.compile(r"[A-Z]{2,8}:([A-Z0-9.\-]+)"), r"write \1, without the exchange"),
)


@ordered_by("value")
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
            near = _near(value) if isinstance(value, str) else ""
            raise ValidationError(
                f"{str(value)[:40]!r} is not a symbol: 1 to {MAX_LENGTH} upper-case letters, digits, "
                f"single dots or hyphens, such as AAPL or BRK.B{near}"
            )

    def __hash__(self) -> int:
        return hash(self.value)  # written by hand for speed, like the comparisons: see ``ordered_by``

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Symbol({self.value!r})"


def as_symbol(value: str | Symbol) -> Symbol:
    """Return the symbol. Text that is none is read as another convention's spelling: "BRK/B" is BRK.B.

    What is a symbol as it is stays so: a store may have BRK-B, or a provider list it. See ``canonical``.
    """
    if isinstance(value, Symbol):
        return value
    if isinstance(value, str) and not _FORM.fullmatch(value) and (found := _spelled(value)):
        return Symbol(found)
    return Symbol(value)


def canonical(symbol: Symbol) -> Symbol:
    """Return the form in which MarketPipe and Alpaca write the security: BRK.B for BRK-B, ABC.PRA for ABC.PR.A.

    A symbol that follows no known convention is returned as it is.
    """
    found = _spelled(symbol.value)
    return symbol if found is None else Symbol(found)


def _spelled(text: str) -> str | None:
    """Return the canonical form of a spelling; None if it is of no known convention."""
    for form, wanted in _SPELLINGS:
        if len(text) <= MAX_LENGTH and (match := form.fullmatch(text)):
            return match.expand(wanted).upper()
    return None


def _near(text: str) -> str:
    """Return an explanation of what is nearly a symbol, as the end of a message."""
    if "," in text:
        return "; give several symbols as a list"
    hints = (match.expand(hint) for form, hint in _NEAR if len(text) <= MAX_LENGTH and (match := form.fullmatch(text)))
    if hint := next(hints, ""):
        return f"; {hint}"
    names = re.split(r"[\s;|]+", text)
    if len(names) > 1 and all(map(_FORM.fullmatch, names)):
        return "; give several symbols as a list, and on the command line with commas between them"
    if len(text) > MAX_LENGTH:
        return ""
    bare = text.strip().upper()
    found = _spelled(text.strip()) or _spelled(bare) or (bare if bare.isascii() and _FORM.fullmatch(bare) else None)
    return f"; did you mean {found!r}?" if found and ".." not in found else ""


def listed(values: str | Symbol | Iterable[str | Symbol]) -> list[str | Symbol]:
    """Return what was given as symbols as a list. Raises ``ValidationError`` for what is neither one nor several."""
    if isinstance(values, str | Symbol):
        return [values]
    if not isinstance(values, Iterable):
        raise ValidationError(f"symbols: expected one, or a list such as ['AAPL', 'MSFT'], not {values!r}")
    return list(values)


def as_symbols(values: str | Symbol | Iterable[str | Symbol]) -> tuple[Symbol, ...]:
    """Return the symbols sorted and without repetitions; a single one need not be in a list. See ``as_symbol``."""
    distinct = {as_symbol(value) for value in listed(values)}
    return tuple(sorted(distinct, key=attrgetter("value")))


@ordered_by("symbol.value", "trading_date.day")
@frozen(order=True)
class SymbolDay:
    """One symbol on one trading date: the unit of ingestion, of storage and of completeness."""

    symbol: Symbol
    trading_date: TradingDate

    def __hash__(self) -> int:
        return hash((self.symbol.value, self.trading_date.day))

    def __str__(self) -> str:
        return f"{self.symbol} {self.trading_date}"


def dates_by_symbol(days: Iterable[SymbolDay]) -> Mapping[Symbol, list[TradingDate]]:
    """Group dates by symbol, both in the order in which they come."""
    dates: defaultdict[Symbol, list[TradingDate]] = defaultdict(list)
    for day in days:
        dates[day.symbol].append(day.trading_date)
    return dates


def ranges_alike(days: Iterable[SymbolDay], alike: Callable[[SymbolDay], T | None]) -> list[tuple[list[SymbolDay], T]]:
    """Return those of the days together, ascending, of one symbol, between which all are ``alike``.

    A day for which that is None is in no range, and ends one.
    """
    grouped = groupby(sorted(days), lambda day: (day.symbol, alike(day)))
    return [(list(some), what) for (_, what), some in grouped if what is not None]


def range_as_text(days: Sequence[SymbolDay]) -> str:
    """Return such as "AAPL 2024-01-02", or "AAPL 2024-01-02 to 2024-01-31 (21 sessions)"; ``days`` ascend."""
    sessions = f" to {days[-1].trading_date} ({len(days):,} sessions)" if len(days) > 1 else ""
    return f"{days[0]}{sessions}"


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
