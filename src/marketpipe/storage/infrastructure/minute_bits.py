from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from marketpipe.shared_kernel.domain.traded_minutes import MINUTES_A_DAY, TradedMinutes
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import EXTENDED_OPEN

MICROS_PER_MINUTE = 60_000_000
Int64s = npt.NDArray[np.int64]


def traded_minutes(date: TradingDate, epoch_micros: Int64s) -> TradedMinutes:
    """A bar off the grid counts for the minute it lies in; one outside the extended session does not count."""
    return traded_minutes_of([date], [len(epoch_micros)], epoch_micros)[0]


def traded_minutes_of(
    dates: Sequence[TradingDate], lengths: Sequence[int], epoch_micros: Int64s
) -> list[TradedMinutes]:
    """Of many days at once, which lie end to end: for each so many bars."""
    days = np.repeat(np.arange(len(dates)), lengths)
    minutes = (
        epoch_micros - np.repeat(np.array([_opens(date) for date in dates], np.int64), lengths)
    ) // MICROS_PER_MINUTE
    within = (minutes >= 0) & (minutes < MINUTES_A_DAY)
    traded = np.zeros((len(dates), MINUTES_A_DAY), np.bool_)
    traded[days[within], minutes[within]] = True
    return [TradedMinutes(row.tobytes().rstrip(b"\0")) for row in np.packbits(traded, axis=1, bitorder="little")]


@lru_cache(1 << 14)
def _opens(date: TradingDate) -> int:
    return date.at(EXTENDED_OPEN).epoch_micros
