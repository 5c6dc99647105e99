from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import ValidationError

C = TypeVar("C", bound=type)
COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge)


def ordered_by(name: str) -> Callable[[C], C]:
    """Orders a class by one of its fields, five times as quickly as attrs does, which packs all of them into tuples."""

    def decorate(cls: C) -> C:
        for comparison in COMPARISONS:
            setattr(cls, f"__{comparison.__name__}__", _comparing(cls, name, comparison))
        return cls

    return decorate


def _comparing(cls: type, name: str, comparison: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    field = operator.attrgetter(name)

    def compare(self: object, other: object) -> bool:
        return comparison(field(self), field(other)) if other.__class__ is cls else NotImplemented

    return compare


MICROS_PER_MINUTE: Final = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _as_utc(moment: datetime) -> datetime:
    if type(moment) is datetime and moment.tzinfo is UTC:
        return moment
    if not isinstance(moment, datetime) or moment.tzinfo is None or moment.utcoffset() is None:
        raise ValidationError(f"a timestamp needs a time zone: {moment!r}")
    try:
        utc = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValidationError(f"{moment!r} lies beyond the calendar") from error
    return utc if type(utc) is datetime else datetime.combine(utc.date(), utc.time(), UTC)  # pandas has its own kind


@ordered_by("moment")
@frozen(order=True, repr=False)
class Timestamp:
    """A moment in UTC, to the microsecond. Any aware datetime is converted; a naive one raises ``ValidationError``."""

    moment: datetime = field(converter=_as_utc)

    @classmethod
    def from_epoch_micros(cls, micros: int) -> Timestamp:
        try:
            return cls(_EPOCH + micros * _MICROSECOND)
        except OverflowError as error:
            raise ValidationError(f"{micros} microseconds from 1970 lies beyond the calendar") from error

    @classmethod
    def parse(cls, text: str) -> Timestamp:
        """RFC 3339 with an offset or Z."""
        try:
            return cls(datetime.fromisoformat(text))
        except ValueError as error:
            raise ValidationError(f"{text!r} is not an RFC 3339 moment such as 2024-01-02T14:30:00Z") from error

    @property
    def epoch_micros(self) -> int:
        return (self.moment - _EPOCH) // _MICROSECOND

    def plus(self, delta: timedelta) -> Timestamp:
        try:
            return Timestamp(self.moment + delta)
        except OverflowError as error:
            raise ValidationError(f"{self} and {delta} lies beyond the calendar") from error

    def __str__(self) -> str:
        return self.moment.isoformat().replace("+00:00", "Z")

    def __repr__(self) -> str:
        return f"Timestamp('{self}')"


AnyMoment = Timestamp | datetime | str


def as_timestamp(value: AnyMoment) -> Timestamp:
    """Accepts what a caller is likely to hold; text is RFC 3339 with an offset or Z. Raises ``ValidationError``."""
    if isinstance(value, Timestamp):
        return value
    return Timestamp.parse(value) if isinstance(value, str) else Timestamp(value)


@frozen
class TimeWindow:
    """``start`` is in, ``end`` is out."""

    start: Timestamp
    end: Timestamp = field()

    @end.validator
    def _not_before_start(self, _: object, end: Timestamp) -> None:
        if end < self.start:
            raise ValidationError(f"a window cannot end ({end}) before it starts ({self.start})")

    def contains(self, moment: Timestamp) -> bool:
        return self.start <= moment < self.end

    def until(self, moment: Timestamp) -> TimeWindow:
        """Cut short at ``moment``, where that lies inside."""
        return TimeWindow(self.start, max(self.start, min(self.end, moment)))


class Clock(Protocol):
    """The only way to know or to spend time."""

    def now(self) -> Timestamp: ...

    def monotonic(self) -> float:
        """Seconds from some fixed moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Raises ``IngestionInterrupted`` at once when interrupted, before or while sleeping."""
        ...

    async def sleep_async(self, seconds: float) -> None: ...

    def interrupt(self) -> None:
        """Wakes every sleeper, and lets nobody sleep until ``resume``. Safe from any thread."""
        ...

    def resume(self) -> None: ...
