"""The lengths of bars that MarketPipe can make, and where the longest of them are from."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Final

from marketpipe.shared_kernel.domain.errors import ValidationError, did_you_mean


class Timeframe(Enum):
    """The length of an OHLCV bar.

    A daily bar covers the regular session with its auctions, on half days as well. Weeks and months are calendar weeks,
    from Monday, and calendar months of trading dates.
    """

    MINUTE_1 = "1m"
    MINUTE_2 = "2m"
    MINUTE_3 = "3m"
    MINUTE_5 = "5m"
    MINUTE_10 = "10m"
    MINUTE_15 = "15m"
    MINUTE_30 = "30m"
    HOUR_1 = "1h"
    HOUR_2 = "2h"
    HOUR_4 = "4h"
    DAY_1 = "1d"
    WEEK_1 = "1w"
    MONTH_1 = "1mo"

    @classmethod
    def parse(cls, text: str | Timeframe) -> Timeframe:
        """Read text such as 5m or 1d. Raises ``ValidationError`` with the nearest one."""
        try:
            return cls(text)
        except ValueError as error:
            known, near = ", ".join(member.value for member in cls), cls._nearest(str(text))
            advice = f"did you mean '{near}'? Use one of: {known}" if near else f"use one of: {known}"
            raise ValidationError(f"{text!r} is not a timeframe; {advice}") from error

    @classmethod
    def _nearest(cls, text: str) -> Timeframe | None:
        """Return the member of nearly this length, of a text such as 60m, 1D, 5min or 1M, a month; None for others."""
        month = _MONTHS.fullmatch(text)
        if (match := month or _LENGTH.fullmatch(text.lower())) is None:
            return None
        minutes = int(match[1]) * _MINUTES["1mo" if month else f"1{match[2]}"]
        return min(cls, key=lambda each: abs(math.log(each.minutes / minutes)))

    @property
    def minutes(self) -> int:
        """The length in minutes; from a daily bar on those of the calendar, and a month has thirty days."""
        return _MINUTES[self._value_]  # ``value`` looks its name up each time, which takes ten times as long

    @property
    def is_intraday(self) -> bool:
        return self.minutes < _MINUTES["1d"]

    @property
    def is_made_of_days(self) -> bool:
        """Whether bars of this length are made of daily bars whenever they are read, and are in no file."""
        return self.minutes > _MINUTES["1d"]

    @property
    def is_aggregated(self) -> bool:
        """Whether bars of this length, made from minutes, are kept in files."""
        return self is not Timeframe.MINUTE_1 and not self.is_made_of_days

    def __str__(self) -> str:
        return self.value


_MINUTES = dict(
    zip(
        ("1m", "2m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "1d", "1w", "1mo"),
        (1, 2, 3, 5, 10, 15, 30, 60, 120, 240, 1440, 10_080, 43_200),
        strict=True,
    )
)
_LENGTH: Final = re.compile(r"\s*([1-9]\d{0,3})\s*(mo|m|h|d|w)[a-z]*\s*")
_MONTHS: Final = re.compile(r"([1-9]\d{0,3})M")


class DaySource(Enum):
    """Where a bar of a day or longer is from."""

    OFFICIAL = "official"
    """The exchange's own daily bar; a week or month of such days only."""
    MINUTES = "minutes"
    """Made from minutes: an estimate of the exchange's bar. A week or month of such days only."""
    MIXED = "mixed"
    """A week or month of days of both kinds."""

    @classmethod
    def parse(cls, text: str | DaySource) -> DaySource:
        """Read official, minutes or mixed. Raises ``ValidationError``."""
        try:
            return cls(text)
        except ValueError as error:
            known = (member.value for member in cls)
            raise ValidationError(f"{text!r} is not the source of a bar; {did_you_mean(str(text), known)}") from error

    def __str__(self) -> str:
        return self.value
