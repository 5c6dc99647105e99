"""OHLCV bars: one as an object, many as columns, and what must hold of any of them.

``OHLCVBar`` is for looking at a single bar. Bulk data stays in ``ColumnarBars``, because an object for each of millions
of bars would take most of the time of an ingestion. ``INVARIANTS`` hold for both: the constructor of ``OHLCVBar``
checks them, and validation checks columns with the same predicates.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple, Protocol

from attrs import field, frozen
from attrs.converters import optional

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.predicate import AllOf, Field, IsFinite, IsNull, Predicate, Record, holds
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow
from marketpipe.shared_kernel.domain.trading_date import TradingDate

OPEN, HIGH, LOW, CLOSE = Field("open"), Field("high"), Field("low"), Field("close")
VOLUME, TRADE_COUNT, VWAP = Field("volume"), Field("trade_count"), Field("vwap")
PRICES: Final = (OPEN, HIGH, LOW, CLOSE)

# All say what must hold, and none is a negation: a comparison with NaN does not hold, so NaN breaks these rules.
INVARIANTS: Final[Mapping[str, Predicate]] = {
    "prices_finite": AllOf(tuple(IsFinite(price) for price in PRICES)),
    "prices_positive": AllOf(tuple(price > 0 for price in PRICES)),
    "high_is_highest": AllOf(tuple(price <= HIGH for price in (OPEN, LOW, CLOSE))),
    "low_is_lowest": AllOf(tuple(price >= LOW for price in (OPEN, HIGH, CLOSE))),
    "volume_not_negative": AllOf((IsFinite(VOLUME), VOLUME >= 0)),
    "trade_count_not_negative": IsNull(TRADE_COUNT) | (TRADE_COUNT >= 0),
    "vwap_not_negative": IsNull(VWAP) | AllOf((IsFinite(VWAP), VWAP >= 0)),
}


def exact(value: object) -> Decimal:
    """Convert a number to a decimal, a float to the shortest one that reads back as it. Raises ``ValidationError``."""
    try:
        number = Decimal(float.__repr__(value) if isinstance(value, float) else value)  # type: ignore[arg-type]
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValidationError(f"{value!r} is not a number") from error
    if number.is_snan():
        raise ValidationError(f"{value!r} is not a number")
    return number


@frozen(order=True, repr=False)
class Price:
    """An exact price, positive and finite, in the currency of the listing. Raises ``ValidationError``."""

    value: Decimal = field(converter=exact)

    @value.validator
    def _positive(self, _: object, value: Decimal) -> None:
        if not value.is_finite() or value <= 0:
            raise ValidationError(f"a price is positive and finite, not {value}")

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"Price('{self.value}')"


class ArrowStream(Protocol):
    """The Arrow C stream interface: ``pa.table(stream)`` makes a table of it without a copy.

    This is how the domain passes Arrow tables on without importing pyarrow.
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@frozen
class SymbolDaySlice:
    """The rows of one symbol-day: from ``offset``, inclusive, to ``offset + length``, exclusive.

    ``final_window`` is the window for which these rows are the provider's complete and final answer: a stored bar in it
    that is not among them is withdrawn. None if more bars may follow.
    """

    symbol_day: SymbolDay
    offset: int
    length: int
    final_window: TimeWindow | None = None


class ColumnarBars(ArrowStream, Protocol):
    """Minute bars of many symbol-days as columns, passed on by reference (ADR 0004).

    Columns: timestamp (microseconds, UTC, left edge), open, high, low, close, volume, trade_count, vwap.
    """

    @property
    def num_rows(self) -> int: ...

    @property
    def slices(self) -> tuple[SymbolDaySlice, ...]:
        """The symbol-day of each row: slices follow one another and cover all rows. A slice may be empty."""


@frozen
class OfficialDay:
    """The daily bar that the exchange publishes, as the provider serves it.

    Open, high, low and close are those of the regular session with its auctions; ``volume`` is of all hours.
    ``trade_count`` and ``vwap`` are None if the provider does not send them.
    """

    open: float
    high: float
    low: float
    close: float
    volume: float
    trade_count: int | None = None
    vwap: float | None = None


LOT: Final = 100
"""Shares. Trades of fewer, odd lots, make no price and no bar."""
_FIGURES: Final = struct.Struct("<4h?13fQ")
"""Prices and volumes have seven significant digits, which is enough to compare them and halves their room."""


class DayFigures(NamedTuple):
    """What the stored minute bars of one symbol-day add up to; recorded with the file, so that it need not be read.

    Minutes are counted from 04:00 New York; -1 is no minute. A price is 0 if there is no such bar. Prices and volumes
    are rounded to seven significant digits. A named tuple, because a report reads hundreds of thousands of them.
    """

    opens: int = 330
    """The minute in which the regular session opened, by the calendar that the figures were made with."""
    closes: int = 720
    """The minute in which it closed, exclusive. Other figures must not be used for a session with other hours."""
    opening_peak: int = -1
    """The minute with the greatest volume from an hour before the open to an hour after it, both inclusive."""
    closing_peak: int = -1
    """The same around the close. Bars whose times are off show it at both ends of the session."""
    in_lots: bool = False
    """Whether there is any volume, and every bar's volume is a multiple of a lot."""
    open: float = 0.0
    """The first price of the regular session, as high, low and close are of its bars alone."""
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    volume: float = 0.0
    """The volume of the regular session, without the minute that begins at the close."""
    early_volume: float = 0.0
    late_volume: float = 0.0
    """The volume after the close, with the minute that begins there."""
    auction_open: float = 0.0
    """The first price of the minute that begins at the close, in which most exchanges have their closing auction."""
    auction_high: float = 0.0
    auction_low: float = 0.0
    auction_volume: float = 0.0
    opening_volume: float = 0.0
    """Of the first bar of the regular session."""
    odd_lots: float = 0.0
    """The share of the bars whose volume is no multiple of 100."""
    values_hash: int = 0
    """64 bits of a hash over open, high, low, close and volume of all bars in order, without their times."""

    @property
    def total_volume(self) -> float:
        return self.early_volume + self.volume + self.late_volume

    @property
    def packed(self) -> bytes:
        return _FIGURES.pack(*self)

    @classmethod
    def unpack(cls, packed: bytes) -> DayFigures:
        """Raises ``ValidationError`` for bytes that ``packed`` never returned."""
        try:
            return cls._make(_FIGURES.unpack(packed))
        except struct.error as error:
            raise ValidationError(f"not the figures of a day: {error}") from error


def _price(value: object) -> Price:
    return value if isinstance(value, Price) else Price(value)


@frozen
class OHLCVBar:
    """One OHLCV bar as an object.

    ``timestamp`` is the left edge, UTC. ``volume`` may be fractional. ``vwap`` may be 0 if nothing was traded. Numbers
    are converted exactly. Raises ``ValidationError`` with the names of the invariants that do not hold.
    """

    symbol: Symbol
    timestamp: Timestamp
    open: Price = field(converter=_price)
    high: Price = field(converter=_price)
    low: Price = field(converter=_price)
    close: Price = field(converter=_price)
    volume: Decimal = field(converter=exact)
    trade_count: int | None = None
    vwap: Decimal | None = field(default=None, converter=optional(exact))
    timeframe: Timeframe = Timeframe.MINUTE_1

    def __attrs_post_init__(self) -> None:
        record = self.record()
        if broken := [name for name, predicate in INVARIANTS.items() if not holds(predicate, record)]:
            raise ValidationError(f"not an OHLCV bar: {self.symbol} {self.timestamp}: {', '.join(broken)}")

    @property
    def trading_date(self) -> TradingDate:
        return TradingDate.of(self.timestamp)

    def record(self) -> Record:
        """Return the fields by their canonical names, as predicates read them."""
        prices = {name: float(getattr(self, name)) for name in ("open", "high", "low", "close", "volume")}
        return {
            "timestamp": self.timestamp.epoch_micros,
            **prices,
            "trade_count": self.trade_count,
            "vwap": None if self.vwap is None else float(self.vwap),
        }
