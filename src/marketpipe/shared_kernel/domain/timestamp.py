"""Moments in UTC, windows between two of them, and the clock that everything asks for the time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError

MICROS_PER_MINUTE: Final = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

C = TypeVar("C", bound=type)


def ordered_by(*names: str) -> Callable[[C], C]:
    """Give a class <, <=, > and >= by some of its fields; ``names`` may be dotted.

    Written by hand because planning and coverage compare very many timestamps and dates: attrs packs all fields of both
    sides into tuples for each comparison, which takes five times as long.
    """

    def decorate(cls: C) -> C:
        for comparison in (operator.lt, operator.le, operator.gt, operator.ge):
            setattr(cls, f"__{comparison.__name__}__", _comparing(cls, names, comparison))
        return cls

    return decorate


def _comparing(cls: type, names: Sequence[str], comparison: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    value_of = operator.attrgetter(*names)

    def compare(self: object, other: object) -> bool:
        return comparison(value_of(self), value_of(other)) if other.__class__ is cls else NotImplemented

    return compare


def _as_utc(moment: datetime) -> datetime:
    if type(moment) is datetime and moment.tzinfo is UTC:
        return moment
    if not isinstance(moment, datetime) or moment.tzinfo is None or moment.utcoffset() is None:
        raise ValidationError(f"a timestamp needs a time zone: {moment!r}")
    try:
        utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValidationError(f"{moment!r} is outside the supported dates (years 1 to 9999)") from error
    # A subclass of datetime, such as pandas' Timestamp, must not get into the store's comparisons and hashes.
    return utc if type(utc) is datetime else datetime.combine(utc.date(), utc.time(), UTC)


@ordered_by("moment")
@frozen(order=True, repr=False)
class Timestamp:
    """A moment in UTC, to the microsecond.

    Any aware datetime is converted. Raises ``ValidationError`` for a datetime without a time zone.
    """

    moment: datetime = field(converter=_as_utc)

    @classmethod
    def from_epoch_micros(cls, micros: int) -> Timestamp:
        """``micros``: microseconds since 1970-01-01T00:00:00Z."""
        try:
            return cls(_EPOCH + micros * _MICROSECOND)
        except OverflowError as error:
            raise ValidationError(
                f"{micros} microseconds from 1970 is outside the supported dates (years 1 to 9999)"
            ) from error

    @classmethod
    def parse(cls, text: str) -> Timestamp:
        """Read RFC 3339 text with an offset or Z. Raises ``ValidationError`` for anything else."""
        try:
            return cls(datetime.fromisoformat(text))
        except ValueError as error:
            raise ValidationError(f"{text!r} is not an RFC 3339 moment such as 2024-01-02T14:30:00Z") from error

    @property
    def epoch_micros(self) -> int:
        return (self.moment - _EPOCH) // _MICROSECOND

    def plus(self, delta: timedelta) -> Timestamp:
        """Return the sum. Raises ``ValidationError`` if it is outside the years 1 to 9999."""
        try:
            return Timestamp(self.moment + delta)
        except OverflowError as error:
            raise ValidationError(f"{self} plus {delta} is outside the supported dates (years 1 to 9999)") from error

    def __str__(self) -> str:
        return self.moment.isoformat().replace("+00:00", "Z")

    def __repr__(self) -> str:
        return f"Timestamp('{self}')"


AnyMoment = Timestamp | datetime | str
"""What callers may give for a moment: text is RFC 3339 with an offset or Z, a datetime has a time zone."""


def as_timestamp(value: AnyMoment) -> Timestamp:
    """Convert what a caller gave. Raises ``ValidationError``."""
    if isinstance(value, Timestamp):
        return value
    return Timestamp.parse(value) if isinstance(value, str) else Timestamp(value)


@frozen
class TimeWindow:
    """The time from ``start``, inclusive, to ``end``, exclusive. It may be empty."""

    start: Timestamp
    end: Timestamp = field()

    @end.validator
    def _not_before_start(self, _: object, end: Timestamp) -> None:
        if end < self.start:
            raise ValidationError(f"a window cannot end ({end}) before it starts ({self.start})")

    def contains(self, moment: Timestamp) -> bool:
        return self.start <= moment < self.end

    def until(self, moment: Timestamp) -> TimeWindow:
        """Return the part before ``moment``: all of the window if it ends earlier, an empty one if it starts later."""
        return TimeWindow(self.start, max(self.start, min(self.end, moment)))


class Clock(Protocol):
    """The only source of time, and the only way to wait: tests replace it by a clock that does not wait."""

    def now(self) -> Timestamp: ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; the value never decreases."""

    def sleep(self, seconds: float) -> None:
        """Wait. Raises ``IngestionInterrupted`` at once if ``interrupt`` was or is called."""

    async def sleep_async(self, seconds: float) -> None:
        """Do the same on an event loop."""

    def interrupt(self) -> None:
        """Wake all sleepers, and let no further sleep begin until ``resume``. Safe from any thread."""

    def resume(self) -> None: ...
