from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen

from marketpipe.shared_kernel.domain.bar_invariants import INVARIANTS
from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.predicate import Record, holds
from marketpipe.shared_kernel.domain.price import Price, exact
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate


def _price(value: object) -> Price:
    return value if isinstance(value, Price) else Price(value)


def _optional_exact(value: object) -> Decimal | None:
    return None if value is None else exact(value)


@frozen
class OHLCVBar:
    """One bar as an object, for where someone looks at a single one; bulk data stays in columns.

    ``timestamp`` is the left edge. ``volume`` may be fractional. ``vwap`` may be 0 where nothing was traded.
    Numbers are converted exactly. Raises ``ValidationError`` naming the invariants that do not hold.
    """

    symbol: Symbol
    timestamp: Timestamp
    open: Price = field(converter=_price)
    high: Price = field(converter=_price)
    low: Price = field(converter=_price)
    close: Price = field(converter=_price)
    volume: Decimal = field(converter=exact)
    trade_count: int | None = None
    vwap: Decimal | None = field(default=None, converter=_optional_exact)
    timeframe: Timeframe = Timeframe.MINUTE_1

    def __attrs_post_init__(self) -> None:
        record = self.record()
        if broken := [name for name, predicate in INVARIANTS.items() if not holds(predicate, record)]:
            raise ValidationError(f"not an OHLCV bar: {self.symbol} {self.timestamp}: {', '.join(broken)}")

    @property
    def trading_date(self) -> TradingDate:
        return TradingDate.of(self.timestamp)

    def record(self) -> Record:
        """The fields by their canonical names, as the predicates read them."""
        prices = {name: float(getattr(self, name)) for name in ("open", "high", "low", "close", "volume")}
        return {
            "timestamp": self.timestamp.epoch_micros,
            **prices,
            "trade_count": self.trade_count,
            "vwap": None if self.vwap is None else float(self.vwap),
        }
