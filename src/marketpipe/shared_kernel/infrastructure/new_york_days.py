"""Trading dates of whole columns: New York midnights, computed once, and a binary search."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from marketpipe.shared_kernel.domain.trading_date import TradingDate

Int64s = npt.NDArray[np.int64]

FIRST_DAY, DAYS = date(1970, 1, 1), 366 * 130


@lru_cache(maxsize=1)
def _midnights() -> Int64s:
    days = (TradingDate(FIRST_DAY + timedelta(days=i)) for i in range(DAYS))
    return np.fromiter((day.midnight.epoch_micros for day in days), np.int64, DAYS)


def day_numbers(epoch_micros: npt.NDArray[Any]) -> Int64s:
    """For each timestamp the number of its New York date; ascending timestamps give ascending numbers."""
    return np.searchsorted(_midnights(), epoch_micros, side="right") - 1


@lru_cache(maxsize=16384)
def trading_date(day_number: int) -> TradingDate:
    return TradingDate(FIRST_DAY + timedelta(days=day_number))
