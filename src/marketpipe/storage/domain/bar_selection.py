"""What a caller wants of the bars that are loaded: which hours, which columns, and in which time zone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from typing import Final, Self
from zoneinfo import ZoneInfo, available_timezones

from attrs import frozen

from marketpipe.shared_kernel.domain.errors import ValidationError, did_you_mean
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import SessionKind

KEYS: Final = "symbol", "timestamp"
VALUES: Final = "open", "high", "low", "close", "volume", "trade_count", "vwap"
TRADING_DATE: Final = "trading_date"


@frozen
class BarSelection:
    """Which hours, columns and time zone a loaded table has.

    ``columns`` are in the order of the table. ``session`` is None if it does not matter; regular: only bars from the
    open, inclusive, to the close, exclusive, of each regular session. ``time_zone`` is a name of the tz database.
    """

    columns: tuple[str, ...]
    session: SessionKind | None = None
    time_zone: str = "UTC"

    @classmethod
    def of(
        cls,
        timeframe: Timeframe,
        session: str | SessionKind | None = None,
        columns: str | Iterable[str] | None = None,
        tz: str | tzinfo | None = None,
        *,
        trading_date: bool = False,
    ) -> Self:
        """Return the selection for bars of ``timeframe``. Raises ``ValidationError``, with the nearest valid name."""
        kind = None if session is None else SessionKind.parse(session)
        if kind is SessionKind.EXTENDED and not timeframe.is_intraday:
            raise ValidationError(
                f"session: a bar of {timeframe} is of the regular session; leave session out, or load 4h or shorter"
            )
        hours = kind if timeframe.is_intraday else None  # a day is of the regular session anyway
        return cls(_chosen(timeframe, columns, trading_date), hours, "UTC" if tz is None else _time_zone(tz))

    @property
    def regular_hours(self) -> bool:
        return self.session is SessionKind.REGULAR

    @property
    def extended_hours(self) -> bool:
        """Whether hours are asked for that a store of regular sessions does not have."""
        return self.session is SessionKind.EXTENDED

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns to read of a file of bars. The times are always among them: they decide which rows are wanted."""
        return tuple(name for name in ("timestamp", *VALUES) if name == "timestamp" or name in self.columns)


def _columns_of(timeframe: Timeframe) -> tuple[str, ...]:
    """Return all columns that a table can have, in their usual order."""
    return (KEYS[0], TRADING_DATE, KEYS[1], *VALUES, *(() if timeframe.is_intraday else ("source",)))


def _chosen(timeframe: Timeframe, columns: str | Iterable[str] | None, trading_date: bool) -> tuple[str, ...]:
    known = _columns_of(timeframe)
    if columns is None:
        return tuple(name for name in known if trading_date or name != TRADING_DATE)
    if not isinstance(columns, Iterable):
        raise ValidationError(f"columns: {columns!r} is neither a name nor a list of names")
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    if not names:
        raise ValidationError(f"columns: no column is named; use one of: {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ValidationError(
                f"columns: bars of {timeframe} have no column {name!r}; {did_you_mean(str(name), known)}"
            )
    chosen = tuple(dict.fromkeys(names))
    return chosen if not trading_date or TRADING_DATE in chosen else (*chosen, TRADING_DATE)


def _time_zone(tz: str | tzinfo) -> str:
    name = tz if isinstance(tz, str) else getattr(tz, "key", str(tz))
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError) as error:  # no name, no path, or no file of the tz database
        raise ValidationError(f"tz: {name!r} is not a time zone; {_nearest_zone(name)}") from error


def _nearest_zone(name: str) -> str:
    near = did_you_mean(name, available_timezones())
    return near if near.startswith("did you mean") else "use a name such as 'America/New_York' or 'UTC'"
