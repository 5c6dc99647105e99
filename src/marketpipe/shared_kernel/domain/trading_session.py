from __future__ import annotations

from datetime import time
from enum import Enum, Flag
from functools import lru_cache

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.time_window import TimeWindow
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate

EXTENDED_OPEN, EXTENDED_CLOSE = time(4), time(20)


class SessionHours(Flag):
    """Parts of an exchange's day: before the regular session, the regular session itself, after it."""

    NONE = 0
    REGULAR = 1
    EARLY = 2
    LATE = 4
    EXTENDED = 7

    def covers(self, other: SessionHours) -> bool:
        return other in self


class SessionKind(Enum):
    """Which hours of a trading date are wanted."""

    EXTENDED = "extended"
    REGULAR = "regular"

    @property
    def hours(self) -> SessionHours:
        return SessionHours[self.name]

    def __str__(self) -> str:
        return self.value


@frozen
class TradingSession:
    """One day of the exchange. ``opens`` and ``closes`` bound the regular session: in, out."""

    trading_date: TradingDate
    opens: Timestamp
    closes: Timestamp = field()

    @closes.validator
    def _within_the_extended_day(self, _: object, closes: Timestamp) -> None:
        if not self.extended.start <= self.opens < closes <= self.extended.end:
            raise ValidationError(f"the session of {self.trading_date} cannot run from {self.opens} to {closes}")

    @property
    def regular(self) -> TimeWindow:
        return TimeWindow(self.opens, self.closes)

    @property
    def extended(self) -> TimeWindow:
        """04:00 to 20:00 New York time, on half days too."""
        return _extended_day(self.trading_date)

    @property
    def early(self) -> TimeWindow:
        return TimeWindow(self.extended.start, self.opens)

    @property
    def late(self) -> TimeWindow:
        return TimeWindow(self.closes, self.extended.end)

    def window(self, kind: SessionKind) -> TimeWindow:
        return self.regular if kind is SessionKind.REGULAR else self.extended


@lru_cache(1 << 14)
def _extended_day(date: TradingDate) -> TimeWindow:
    return TimeWindow(date.at(EXTENDED_OPEN), date.at(EXTENDED_CLOSE))
