"""The lengths of bars that MarketPipe can make."""

from __future__ import annotations

from enum import Enum

from marketpipe.shared_kernel.domain.errors import ValidationError


class Timeframe(Enum):
    """The length of an OHLCV bar. A daily bar covers the regular session, on half days as well."""

    MINUTE_1 = "1m"
    MINUTE_5 = "5m"
    MINUTE_15 = "15m"
    MINUTE_30 = "30m"
    HOUR_1 = "1h"
    HOUR_4 = "4h"
    DAY_1 = "1d"

    @classmethod
    def parse(cls, text: str | Timeframe) -> Timeframe:
        """Read text such as 5m or 1d. Raises ``ValidationError``."""
        try:
            return cls(text)
        except ValueError as error:
            known = ", ".join(member.value for member in cls)
            raise ValidationError(f"{text!r} is not a timeframe; use one of: {known}") from error

    @property
    def minutes(self) -> int:
        """The length in minutes; for a daily bar 1440, those of the calendar day."""
        return _MINUTES[self.value]

    @property
    def is_intraday(self) -> bool:
        return self is not Timeframe.DAY_1

    def __str__(self) -> str:
        return self.value


_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}
