from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from enum import Enum, Flag
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow, ordered_by

NEW_YORK = ZoneInfo("America/New_York")
_FORM = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@ordered_by("day")
@frozen(order=True, repr=False)
class TradingDate:
    """The calendar date in New York of the session that an OHLCV bar belongs to; never the UTC date."""

    day: date = field()

    @day.validator
    def _is_plain_date(self, _: object, day: object) -> None:
        if not isinstance(day, date) or isinstance(day, datetime):
            raise ValidationError(f"a trading date is a date without a time, not {day!r}")

    @classmethod
    def of(cls, timestamp: Timestamp) -> TradingDate:
        return cls(timestamp.moment.astimezone(NEW_YORK).date())

    @classmethod
    def parse(cls, text: str) -> TradingDate:
        try:
            if _FORM.fullmatch(text):
                return cls(date.fromisoformat(text))
        except ValueError as error:
            raise ValidationError(f"{text!r} is not a date of the calendar (YYYY-MM-DD)") from error
        raise ValidationError(f"{text!r} is not a date written YYYY-MM-DD")

    def at(self, wall: time) -> Timestamp:
        """The moment at which a New York wall clock shows ``wall`` on this date."""
        return Timestamp(datetime.combine(self.day, wall, NEW_YORK))

    @property
    def midnight(self) -> Timestamp:
        """New York midnight: where a daily bar is stamped."""
        return self.at(time())

    def plus_days(self, days: int) -> TradingDate:
        try:
            return TradingDate(self.day + timedelta(days=days))
        except OverflowError as error:
            raise ValidationError(f"{self} and {days} days lies beyond the calendar") from error

    def __str__(self) -> str:
        return self.day.isoformat()

    def __repr__(self) -> str:
        return f"TradingDate('{self}')"


DISTANT_PAST, DISTANT_FUTURE = TradingDate(date.min), TradingDate(date.max)
"""Bounds for those who name none."""


def as_trading_date(value: TradingDate | date | str) -> TradingDate:
    """Accepts what a caller is likely to hold. Raises ``ValidationError``."""
    if isinstance(value, TradingDate):
        return value
    return TradingDate.parse(value) if isinstance(value, str) else TradingDate(value)


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


class TradingCalendar(Protocol):
    def sessions(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        """The exchange's sessions from ``first`` to ``last``, both inclusive, ascending; none on a closed day.

        Raises ``ConfigurationError`` for dates the calendar does not reach.
        """
        ...

    def reaching(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        """The same, as far as the calendar reaches."""
        ...


MINUTES_A_DAY = 960  # 04:00 to 20:00
BYTES = MINUTES_A_DAY // 8


@frozen
class TradedMinutes:
    """Which minutes of a symbol-day have a bar: bit ``i`` stands for the minute ``i`` minutes after 04:00 New York.

    ``packed`` are the bits, little-endian, trailing zeros left out. Raises ``ValidationError`` for more than a day.
    """

    packed: bytes = field()

    @packed.validator
    def _within_the_day(self, _: object, packed: bytes) -> None:
        if len(packed) > BYTES or packed[-1:] == b"\0":
            raise ValidationError(f"a day has {MINUTES_A_DAY} minutes: at most {BYTES} bytes, and no zeros at the end")

    @classmethod
    def of(cls, bits: int) -> TradedMinutes:
        return cls(bits.to_bytes(max(BYTES, (bits.bit_length() + 7) // 8), "little").rstrip(b"\0"))

    @property
    def bits(self) -> int:
        return int.from_bytes(self.packed, "little")

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __repr__(self) -> str:
        return f"<{len(self)} minutes>"
