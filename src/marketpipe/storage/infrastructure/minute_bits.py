from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from marketpipe.shared_kernel.domain.traded_minutes import MINUTES_A_DAY, TradedMinutes
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import EXTENDED_OPEN

MICROS_PER_MINUTE = 60_000_000


def traded_minutes(date: TradingDate, epoch_micros: npt.NDArray[np.int64]) -> TradedMinutes:
    """A bar off the grid counts for the minute it lies in; one outside the extended session does not count."""
    minutes = (epoch_micros - _opens(date)) // MICROS_PER_MINUTE
    traded = np.zeros(MINUTES_A_DAY, np.bool_)
    traded[minutes[(minutes >= 0) & (minutes < MINUTES_A_DAY)]] = True
    return TradedMinutes(np.packbits(traded, bitorder="little").tobytes().rstrip(b"\0"))


@lru_cache(1 << 14)
def _opens(date: TradingDate) -> int:
    return date.at(EXTENDED_OPEN).epoch_micros
