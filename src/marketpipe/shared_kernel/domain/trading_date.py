from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.ordering import ordered_by
from marketpipe.shared_kernel.domain.timestamp import Timestamp

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
