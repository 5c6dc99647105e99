"""Section ``calendar``: what the exchange's calendar does not know, and minutes in which trading was halted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import time
from itertools import pairwise
from typing import Any, TypeVar

from attrs import frozen

from marketpipe.config.arguments import with_stated_arguments
from marketpipe.config.values import setting, symbols
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError, did_you_mean
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import (
    EXTENDED_CLOSE,
    EXTENDED_OPEN,
    CalendarException,
    TradingDate,
    as_trading_date,
)

T = TypeVar("T")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
EXAMPLE = "{date: 2027-01-12, closed: true}"
EXAMPLE_OF_A_HALT = "{date: 2024-06-03, from: '09:50', to: '11:35', symbols: [BRK.A]}"


@frozen
class HaltConfig:
    """An entry of ``calendar.halts``: from ``start``, inclusive, to ``end``, exclusive, New York time.

    Without ``symbols`` the whole market was halted.
    """

    trading_date: TradingDate
    start: time
    end: time
    symbols: tuple[Symbol, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not EXTENDED_OPEN <= self.start < self.end <= EXTENDED_CLOSE:
            span = f"from {self.start:%H:%M} to {self.end:%H:%M}"
            raise ValidationError(f"{self.trading_date}: {span} is not a time between 04:00 and 20:00 New York time")


def clock_time(value: Any) -> time:
    """Read a time of New York's wall clock, such as 09:33."""
    if isinstance(value, time):
        return value
    if isinstance(value, str) and (found := _CLOCK.fullmatch(value.strip())):
        return time(int(found[1]), int(found[2]), int(found[3] or 0))
    raise ValidationError(f"{value!r} is not a time of day in New York such as 09:33")


def exceptions(value: Any) -> tuple[CalendarException, ...]:
    """Read a list of exceptions, sorted by date. A date may be there once."""
    found = sorted(_entries(value, _exception, EXAMPLE), key=lambda each: each.trading_date)
    for one, other in pairwise(found):
        if one.trading_date == other.trading_date:
            raise ValidationError(f"{one.trading_date} is there twice")
    return tuple(found)


def halts(value: Any) -> tuple[HaltConfig, ...]:
    return tuple(_entries(value, _halt, EXAMPLE_OF_A_HALT))


def _entries(value: Any, read: Callable[[Any], T], example: str) -> list[T]:
    if isinstance(value, Mapping | str) or not isinstance(value, Sequence):
        raise ValidationError(f"expected a list of entries such as {example}, not {value!r}")
    found = []
    for number, entry in enumerate(value, 1):
        try:
            found.append(read(entry))
        except (ValidationError, ConfigurationError) as error:
            raise ValidationError(f"entry {number}: {error}") from error
    return found


def _exception(value: Any) -> CalendarException:
    if isinstance(value, CalendarException):
        return value
    keys = _keys(value, ("date", "closed", "opens", "closes"), ("date",), EXAMPLE)
    if keys.get("closed") not in (None, True):
        raise ValidationError(f"closed: expected true, not {keys['closed']!r}; leave it out if the exchange was open")
    opens, closes = (None if keys.get(key) is None else _of(key, clock_time, keys[key]) for key in ("opens", "closes"))
    return CalendarException(_of("date", as_trading_date, keys["date"]), opens, closes, keys.get("closed") is True)


def _halt(value: Any) -> HaltConfig:
    if isinstance(value, HaltConfig):
        return value
    keys = _keys(value, ("date", "from", "to", "symbols"), ("date", "from", "to"), EXAMPLE_OF_A_HALT)
    start, end = (_of(key, clock_time, keys[key]) for key in ("from", "to"))
    named = () if keys.get("symbols") is None else _of("symbols", symbols, keys["symbols"])
    return HaltConfig(_of("date", as_trading_date, keys["date"]), start, end, named)


def _keys(value: Any, allowed: Sequence[str], needed: Sequence[str], example: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(f"expected keys and values such as {example}, not {value!r}")
    for key in value:
        if key not in allowed:
            raise ValidationError(f"unknown key {str(key)!r}; {did_you_mean(str(key), allowed)}")
    if missing := [key for key in needed if value.get(key) is None]:
        raise ValidationError(f"missing {', '.join(missing)}, as in {example}")
    return value


def _of(key: str, read: Callable[[Any], T], value: Any) -> T:
    try:
        return read(value)
    except (ValidationError, ConfigurationError) as error:
        raise ValidationError(f"{key}: {error}") from error


@with_stated_arguments
@frozen(kw_only=True, init=False)
class CalendarConfig:
    """Section ``calendar``: dates on which the exchange's calendar is wrong, and halts that are no outages."""

    exceptions: tuple[CalendarException, ...] = setting(exceptions, ())
    """Dates with other hours than the calendar says: {date: 2027-01-12, closed: true}, or opens and closes."""
    halts: tuple[HaltConfig, ...] = setting(halts, ())
    """Minutes without trading: {date: 2024-06-03, from: '09:50', to: '11:35', symbols: [BRK.A]}; without symbols, of
    the whole market."""

    def __init__(
        self,
        *,
        exceptions: Sequence[CalendarException | Mapping[str, object]] = ...,
        halts: Sequence[HaltConfig | Mapping[str, object]] = ...,
    ) -> None: ...
