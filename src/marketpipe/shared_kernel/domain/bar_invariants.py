"""What must hold of any OHLCV bar, wherever it comes from. Validation judges columns by these same predicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from marketpipe.shared_kernel.domain.predicate import AllOf, Field, IsFinite, IsNull, Predicate

OPEN, HIGH, LOW, CLOSE = Field("open"), Field("high"), Field("low"), Field("close")
VOLUME, TRADE_COUNT, VWAP = Field("volume"), Field("trade_count"), Field("vwap")
PRICES: Final = (OPEN, HIGH, LOW, CLOSE)

INVARIANTS: Final[Mapping[str, Predicate]] = {
    "prices_finite": AllOf(tuple(IsFinite(price) for price in PRICES)),
    "prices_positive": AllOf(tuple(price > 0 for price in PRICES)),
    "high_is_highest": AllOf(tuple(price <= HIGH for price in (OPEN, LOW, CLOSE))),
    "low_is_lowest": AllOf(tuple(price >= LOW for price in (OPEN, HIGH, CLOSE))),
    "volume_not_negative": AllOf((IsFinite(VOLUME), VOLUME >= 0)),
    "trade_count_not_negative": IsNull(TRADE_COUNT) | (TRADE_COUNT >= 0),
    "vwap_not_negative": IsNull(VWAP) | AllOf((IsFinite(VWAP), VWAP >= 0)),
}
