"""Dates and sessions of the exchange.

``TradingDate`` is the date a bar belongs to, ``TradingSession`` the exchange's hours on one date, ``SessionKind`` which
of these hours are wanted, ``TradingCalendar`` the port that knows all sessions, ``CalendarException`` a date on which a
calendar's rules are not what happened, and ``TradedMinutes`` which minutes of a date have a bar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from enum import Enum, Flag
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError, did_you_mean
from marketpipe.shared_kernel.domain.timestamp import Timestamp, TimeWindow, ordered_by

NEW_YORK = ZoneInfo("America/New_York")
EXTENDED_OPEN, EXTENDED_CLOSE = time(4), time(20)
"""First and last moment of extended trading, by New York's wall clock, on most sessions."""
EARLY_CLOSE, EXTENDED_CLOSE_OF_HALF_DAYS = time(15), time(17)
"""If the regular session closes at 15:00 or before, as on half days, extended trading ends at 17:00. A floor that stops
in its last hour, as at 15:56 on 2005-06-01, does not change the evening. See docs/adr/0024 for the sources."""
NOON = time(12)
"""A minute of every regular session, half days and exceptions included."""
SATURDAY = 5
MINUTES_A_DAY = 960
"""Minutes from ``EXTENDED_OPEN`` to ``EXTENDED_CLOSE``."""
BYTES_A_DAY = MINUTES_A_DAY // 8

# Python alone would accept 20240102 and 2024-W01-2 as well.
_FORM = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@ordered_by("day")
@frozen(order=True, repr=False)
class TradingDate:
    """The calendar date in New York of the session that an OHLCV bar belongs to.

    Never the UTC date: extended trading ends at 20:00 in New York, which is the next day in UTC.
    """

    day: date = field()

    @day.validator
    def _is_plain_date(self, _: object, day: object) -> None:
        if not isinstance(day, date) or isinstance(day, datetime):
            raise ValidationError(f"a trading date is a date without a time, not {day!r}")

    def __hash__(self) -> int:
        return hash(self.day)  # written by hand for speed, like the comparisons: dates are keys everywhere

    @classmethod
    def of(cls, timestamp: Timestamp) -> TradingDate:
        """Return the date that New York's calendars show at that moment."""
        return cls(timestamp.moment.astimezone(NEW_YORK).date())

    @classmethod
    def parse(cls, text: str) -> TradingDate:
        """Read a date written YYYY-MM-DD. Raises ``ValidationError`` for anything else."""
        try:
            if _FORM.fullmatch(text):
                return cls(date.fromisoformat(text))
        except ValueError as error:
            raise ValidationError(f"{text!r} is not a date of the calendar (YYYY-MM-DD)") from error
        raise ValidationError(f"{text!r} is not a date written YYYY-MM-DD")

    def at(self, wall: time) -> Timestamp:
        """Return the moment at which a wall clock in New York shows ``wall`` on this date."""
        return Timestamp(datetime.combine(self.day, wall, NEW_YORK))

    @property
    def midnight(self) -> Timestamp:
        """New York midnight: the timestamp of a daily bar."""
        return self.at(time())

    def plus_days(self, days: int) -> TradingDate:
        try:
            return TradingDate(self.day + timedelta(days=days))
        except OverflowError as error:
            raise ValidationError(
                f"{self} plus {days} days is outside the supported dates (years 1 to 9999)"
            ) from error

    def __str__(self) -> str:
        return self.day.isoformat()

    def __repr__(self) -> str:
        return f"TradingDate('{self}')"


DISTANT_PAST, DISTANT_FUTURE = TradingDate(date.min), TradingDate(date.max)
EVERY_YEAR = (1, 9999)
"""The first and the last year that dates have."""
"""Bounds of a range without bounds."""


class NumpyDate(Protocol):
    """A ``numpy.datetime64``: its type is not imported, as the domain does not know numpy."""

    @property
    def dtype(self) -> object: ...


AnyDate = TradingDate | date | str | NumpyDate
"""What ``as_trading_date`` converts."""


def as_trading_date(value: AnyDate) -> TradingDate:
    """Convert what a caller gave. Raises ``ValidationError``.

    Text is YYYY-MM-DD. A ``datetime``, ``pandas.Timestamp`` or ``numpy.datetime64`` has to be a midnight, without a
    time zone or in New York: any other moment may belong to another trading date than its own.
    """
    if isinstance(value, TradingDate):
        return value
    if isinstance(value, str):
        return TradingDate.parse(value)
    if isinstance(value, datetime) or str(getattr(value, "dtype", "")).startswith("datetime64"):
        return _of_midnight(value)
    if isinstance(value, date):
        return TradingDate(value)
    raise ValidationError(f"{value!r} is not a date: give YYYY-MM-DD, a date, or a midnight in New York")


def _of_midnight(value: object) -> TradingDate:
    wall = value
    if isinstance(value, datetime) and value.tzinfo is not None:
        # in another zone the wall clocks differ, and so may the dates
        wall, here = value.replace(tzinfo=None), value.astimezone(NEW_YORK).replace(tzinfo=None)
        wall = wall if wall == here else f"{wall} elsewhere"
    text = str(wall).replace(" ", "T")
    day, _, clock = text.partition("T")
    if text == "NaT" or clock.strip("0:."):
        raise ValidationError(
            f"'{value}' is not a trading date: give YYYY-MM-DD, a date, or a midnight without a time zone or in New "
            "York. To choose a part of a day, compare the timestamps of the loaded bars"
        )
    return TradingDate.parse(day)


@frozen
class DaysOfYear:
    """A set of days of one year: bit ``i`` of ``bits`` is the day ``i`` days after 1 January.

    Raises ``ValidationError`` for days after 31 December.
    """

    year: int
    bits: int = field(default=0, repr=lambda bits: f"<{bits.bit_count()} days>")

    @bits.validator
    def _within_the_year(self, _: object, bits: int) -> None:
        if bits < 0 or bits.bit_length() > len(_dates_of(self.year)):
            raise ValidationError(f"the year {self.year} has no day {bits.bit_length()}")

    @classmethod
    def of(cls, year: int, dates: Iterable[TradingDate]) -> DaysOfYear:
        """``dates``: each at most once, all of the year."""
        return cls(year, sum(1 << (date.day.timetuple().tm_yday - 1) for date in dates))

    @property
    def dates(self) -> list[TradingDate]:
        """The days, ascending."""
        days = _dates_of(self.year)
        return [days[number] for number, bit in enumerate(reversed(f"{self.bits:b}")) if bit == "1"]

    def __or__(self, other: DaysOfYear) -> DaysOfYear:
        return DaysOfYear(self.year, self.bits | other.bits)

    def __sub__(self, other: DaysOfYear) -> DaysOfYear:
        return DaysOfYear(self.year, self.bits & ~other.bits)

    def __len__(self) -> int:
        return self.bits.bit_count()


@lru_cache(maxsize=256)
def _dates_of(year: int) -> tuple[TradingDate, ...]:
    first, last = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
    return tuple(TradingDate(date.fromordinal(number)) for number in range(first, last + 1))


class SessionHours(Flag):
    """Parts of a trading date: before the regular session, the regular session, after it; and their combinations."""

    NONE = 0
    REGULAR = 1
    EARLY = 2
    LATE = 4
    EXTENDED = 7

    def covers(self, other: SessionHours) -> bool:
        """Return whether all parts of ``other`` are among these."""
        return self is other or other in self  # the test of flags takes a microsecond


class SessionKind(Enum):
    """Which hours are wanted: 04:00 to 20:00 New York time (to 17:00 on half days), or the regular session only."""

    EXTENDED = "extended"
    REGULAR = "regular"

    @classmethod
    def parse(cls, text: str | SessionKind) -> SessionKind:
        """Read extended or regular. Raises ``ValidationError``."""
        try:
            return cls(text)
        except ValueError as error:
            known = (member.value for member in cls)
            raise ValidationError(f"{text!r} is not a session; {did_you_mean(str(text), known)}") from error

    @property
    def hours(self) -> SessionHours:
        return SessionHours[self.name]

    def __str__(self) -> str:
        return self.value


@frozen
class TradingSession:
    """One day of the exchange. The regular session is from ``opens``, inclusive, to ``closes``, exclusive."""

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
        """04:00 to 20:00 New York time; to 17:00 on half days."""
        return _extended_day(self.trading_date, self.closes)

    @property
    def early(self) -> TimeWindow:
        return TimeWindow(self.extended.start, self.opens)

    @property
    def late(self) -> TimeWindow:
        return TimeWindow(self.closes, self.extended.end)

    def auction(self, closing_auction: int) -> TimeWindow:
        """The minute of the closing auction, which begins ``closing_auction`` minutes after the close."""
        start = self.closes.plus(timedelta(minutes=closing_auction))
        return TimeWindow(start, start.plus(timedelta(minutes=1)))

    def window(self, kind: SessionKind, closing_auction: int | None = None) -> TimeWindow:
        """Return the hours that a store of this kind holds: with the minute of the closing auction, if it is known."""
        if kind is SessionKind.EXTENDED or closing_auction is None:
            return self.regular if kind is SessionKind.REGULAR else self.extended
        return TimeWindow(self.opens, min(self.auction(closing_auction).end, self.extended.end))


@lru_cache(1 << 14)  # 65 years of sessions: time zone arithmetic is slow, and every symbol asks for the same dates
def _extended_day(date: TradingDate, closes: Timestamp) -> TimeWindow:
    is_half_day = closes <= date.at(EARLY_CLOSE)
    return TimeWindow(date.at(EXTENDED_OPEN), date.at(EXTENDED_CLOSE_OF_HALF_DAYS if is_half_day else EXTENDED_CLOSE))


@frozen
class CalendarException:
    """A date on which the exchange was closed, or had other regular hours than a calendar of its rules gives.

    ``opens`` (12:00 or before) and ``closes`` (after 12:00) are whole minutes of New York's wall clock. One that is
    None stays as it is in the calendar; 09:30 or 16:00 if the calendar has no session on that date. ``source`` tells
    where it is known from. Raises ``ValidationError``.
    """

    trading_date: TradingDate
    opens: time | None = None
    closes: time | None = None
    closed: bool = False
    source: str = ""

    def __attrs_post_init__(self) -> None:
        if problem := self._problem():
            raise ValidationError(f"{self.trading_date}: {problem}")

    def _problem(self) -> str | None:
        hours = [each for each in (self.opens, self.closes) if each is not None]
        if self.trading_date.day.weekday() >= SATURDAY:
            return f"is a {self.trading_date.day:%A}; the exchange has no sessions on weekends"
        if bool(hours) == self.closed:
            return "give either 'closed: true', or 'opens', 'closes' or both"
        if any(each.second or each.microsecond or each.tzinfo for each in hours):
            return "opens and closes are whole minutes of New York time, such as 09:33"
        if not EXTENDED_OPEN <= (self.opens or NOON) <= NOON:
            return f"opens: {self.opens:%H:%M} is not between 04:00 and 12:00 New York time"
        if self.closes is not None and not NOON < self.closes <= EXTENDED_CLOSE:
            return f"closes: {self.closes:%H:%M} is not after 12:00 and until 20:00 New York time"
        return None


class TradingCalendar(Protocol):
    """The sessions of an exchange."""

    def sessions(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        """Return the sessions from ``first`` to ``last``, both inclusive, ascending; closed days have none.

        Raises ``ConfigurationError`` for dates outside the calendar.
        """

    def reaching(self, first: TradingDate, last: TradingDate) -> tuple[TradingSession, ...]:
        """Return the sessions of that part of the range that the calendar covers."""


@frozen
class TradedMinutes:
    """Which minutes of a symbol-day have a bar: bit ``i`` is the minute that begins ``i`` minutes after 04:00 New York.

    ``packed`` has the bits in little-endian order without trailing zero bytes, so that equal sets have equal bytes.
    Raises ``ValidationError`` for minutes after the end of the day.
    """

    packed: bytes = field()

    @packed.validator
    def _within_the_day(self, _: object, packed: bytes) -> None:
        if len(packed) > BYTES_A_DAY or packed[-1:] == b"\0":
            raise ValidationError(
                f"a day has {MINUTES_A_DAY} minutes: at most {BYTES_A_DAY} bytes, no zeros at the end"
            )

    @classmethod
    def of(cls, bits: int) -> TradedMinutes:
        """``bits``: a whole number with bit ``i`` set for each minute that has a bar."""
        return cls(bits.to_bytes(max(BYTES_A_DAY, (bits.bit_length() + 7) // 8), "little").rstrip(b"\0"))

    @property
    def bits(self) -> int:
        return int.from_bytes(self.packed, "little")

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __repr__(self) -> str:
        return f"<{len(self)} minutes>"
