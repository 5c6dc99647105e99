"""Importing a user's own table of bars: what the user states about it, and what is shown before anything is written.

What a table means is never guessed in silence. What its columns and the documentation of its source tell is used and
shown; what they do not tell is a question, and an import with an open question writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Final, TypeVar

from attrs import field, frozen

from marketpipe.integration.domain.data_feed import DataFeed, ProviderCapabilities
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError, did_you_mean
from marketpipe.shared_kernel.domain.store_inventory import IMPORTED
from marketpipe.shared_kernel.domain.symbol import Symbol, as_symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import TradingDate

E = TypeVar("E", bound=Enum)
PREFIX: Final = IMPORTED
FEED: Final = "files"
ONLY_FILES_BRING_MORE: Final = (
    "these bars were imported, so nothing can be requested: 'marketpipe import' brings files with more"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,39}")

PRICES: Final = ("open", "high", "low", "close")
ROLES: Final = ("timestamp", "date", "time", *PRICES, "volume", "trade_count", "vwap", "symbol")
"""What a column can be. A table has a timestamp, or a date and a time."""
PRICE_UNITS: Final[Mapping[str, int]] = {"dollars": 1, "cents": 100, "deci-cents": 10_000, "nano-dollars": 10**9}
"""How many of each are a dollar."""
DATE_ORDERS: Final = ("MDY", "DMY", "YMD")
UNADJUSTED: Final = "raw"
ADJUSTMENTS: Final = (UNADJUSTED, "split", "dividend", "spin-off", "all")


class Stamps(Enum):
    """Which edge of a bar its timestamp is. MarketPipe stores the left one."""

    LEFT = "left"
    RIGHT = "right"

    def __str__(self) -> str:
        return self.value


class ClockChange(Enum):
    """Which of two moments a local time means that a clock shows twice, when it is set back in autumn."""

    EARLIEST = "earliest"
    LATEST = "latest"

    def __str__(self) -> str:
        return self.value


class SymbolFrom(Enum):
    """Where the symbol of a bar is named: in a column, or in the name of its file."""

    COLUMN = "column"
    NAME = "name"

    def __str__(self) -> str:
        return self.value


def columns_argument(roles: Iterable[str]) -> str:
    """Return how a message names the argument ``columns``. Messages name arguments as Python has them."""
    return "columns={" + ", ".join(f'"{role}": "…"' for role in roles) + "}"


def provider_name(name: str) -> str:
    """Return the provider that a store of imported bars names. Raises ``ConfigurationError`` for a name not in form."""
    plain = str(name).removeprefix(PREFIX)
    if not _NAME.fullmatch(plain):
        raise ConfigurationError(
            f"name: {name!r} is not the name of an import: write 1 to 40 lower-case letters, digits, dots, hyphens or "
            "underscores, such as kibot"
        )
    return PREFIX + plain


def is_imported(provider: str) -> bool:
    """Return whether bars of this provider come from a user's own files."""
    return provider.startswith(PREFIX)


def capabilities_of_import(
    provider: str, adjustment: str = UNADJUSTED, timeframe: Timeframe = Timeframe.MINUTE_1
) -> ProviderCapabilities:
    """Return how imported bars can be requested: a file has no delay and no limit of requests.

    Daily bars are the exchange's official days.
    """
    return ProviderCapabilities(
        provider,
        DataFeed(FEED, timedelta()),
        adjustment,
        symbols_per_request=1000,
        official_days=timeframe is Timeframe.DAY_1,
    )


def _member(argument: str, kind: type[E], value: str | E | None) -> E | None:
    if value is None or isinstance(value, kind):
        return value
    words = {str(member.value): member for member in kind}
    return words[_word(argument, tuple(words), str(value))]


def _word(argument: str, words: tuple[str, ...], value: str) -> str:
    if value not in words:
        raise ValidationError(f"{argument}: {value!r} is not allowed; {did_you_mean(value, words)}")
    return value


def _as_stamps(value: str | Stamps | None) -> Stamps | None:
    return _member("stamps", Stamps, value)


def _as_clock_change(value: str | ClockChange | None) -> ClockChange | None:
    return _member("ambiguous", ClockChange, value)


def _as_symbol_from(value: str | SymbolFrom | None) -> SymbolFrom | None:
    return _member("symbol_from", SymbolFrom, value)


def _as_price_unit(value: str | None) -> str | None:
    return None if value is None else _word("price_unit", tuple(PRICE_UNITS), str(value))


def _as_date_order(value: str | None) -> str | None:
    return None if value is None else _word("date_order", DATE_ORDERS, str(value))


def _as_adjustment(value: str | None) -> str | None:
    return None if value is None else _word("adjustment", ADJUSTMENTS, str(value))


def _as_symbol(value: str | Symbol | None) -> Symbol | None:
    return None if value is None else as_symbol(value)


def _as_columns(value: Mapping[str, str] | None) -> Mapping[str, str]:
    if not isinstance(value, Mapping | None):
        raise ValidationError(f"columns: {value!r} is no mapping; write {columns_argument(['open'])}")
    columns = dict(value or {})
    for role, name in columns.items():
        if not isinstance(name, str):
            raise ValidationError(f"columns: the name of the column for {role} is text, not {name!r}")
        if role not in ROLES:
            raise ValidationError(f"columns: {role!r} is not a column of a bar; {did_you_mean(role, ROLES)}")
    return columns


def _as_timeframe(value: str | Timeframe) -> Timeframe:
    timeframe = Timeframe.parse(value)
    if timeframe not in (Timeframe.MINUTE_1, Timeframe.DAY_1):
        raise ValidationError(
            f"timeframe: bars of {timeframe} cannot be imported, as a store is made of minutes. Import bars of 1m: "
            f"'marketpipe aggregate' makes those of {timeframe} from them"
        )
    return timeframe


@frozen(kw_only=True)
class ImportSettings:
    """What a user states about a table. None means not stated: then the table tells, or it is a question.

    ``columns`` maps a role (open, timestamp …) to the name of a column. ``timezone`` is that of local times, an IANA
    name or an offset such as -05:00. Raises ``ValidationError``.
    """

    name: str = field(converter=provider_name)
    columns: Mapping[str, str] = field(default=None, converter=_as_columns)
    symbol: Symbol | None = field(default=None, converter=_as_symbol)
    symbol_from: SymbolFrom | None = field(default=None, converter=_as_symbol_from)
    timezone: str | None = None
    timeframe: Timeframe = field(default=Timeframe.MINUTE_1, converter=_as_timeframe)
    stamps: Stamps | None = field(default=None, converter=_as_stamps)
    price_unit: str | None = field(default=None, converter=_as_price_unit)
    date_order: str | None = field(default=None, converter=_as_date_order)
    ambiguous: ClockChange | None = field(default=None, converter=_as_clock_change)
    adjustment: str | None = field(default=None, converter=_as_adjustment)

    def __attrs_post_init__(self) -> None:
        if self.symbol is not None and self.symbol_from is not None:
            raise ValidationError("give either symbol or symbol_from: both say whose bars these are")
        if self.stamps is Stamps.RIGHT and self.timeframe is Timeframe.DAY_1:
            raise ValidationError("stamps: a daily bar is one of a date, whose edge has no meaning; state no stamps")


@frozen
class ImportPreview:
    """How a table is understood, and what would be stored of it. Counts are bars; dates are inclusive.

    ``columns`` maps roles to columns of the table, ``ignored`` are its other columns. ``layout`` names the documented
    format that was recognised, "" for none; ``adjustment`` and ``price_unit`` are "" as long as they are not known.
    ``left_out`` maps reasons to bars that cannot be stored. ``notes`` are worth knowing; ``questions`` have to be
    answered before anything is imported. ``sample`` are the first bars as they would be stored, one mapping for each.
    """

    provider: str
    adjustment: str
    timeframe: Timeframe
    columns: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    layout: str = ""
    timezone: str = ""
    stamps: Stamps = Stamps.LEFT
    price_unit: str = "dollars"
    bars: int = 0
    symbols: tuple[Symbol, ...] = ()
    symbol_days: int = 0
    first: TradingDate | None = None
    last: TradingDate | None = None
    left_out: Mapping[str, int] = field(factory=dict)
    notes: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    sample: tuple[Mapping[str, object], ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether the table can be imported as it is understood."""
        return not self.questions
