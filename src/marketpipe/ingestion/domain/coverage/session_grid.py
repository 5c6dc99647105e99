from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from attrs import field, frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.traded_minutes import TradedMinutes
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import TradingSession

MINUTE = 60_000_000


@frozen
class GridSession:
    """A session and where its regular hours lie among the minutes after 04:00. ``final``: its bars are settled."""

    session: TradingSession
    final: bool
    opens: int
    length: int

    def regular(self, minutes: TradedMinutes) -> int:
        """A bit for each minute of the regular session, the open's first."""
        return minutes.bits >> self.opens & (1 << self.length) - 1


def grid_session(session: TradingSession, final: bool) -> GridSession:
    start, opens = session.extended.start.epoch_micros, session.opens.epoch_micros
    return GridSession(session, final, (opens - start) // MINUTE, (session.closes.epoch_micros - opens) // MINUTE)


@frozen
class SessionGrid:
    """Sessions that have begun, ascending."""

    sessions: tuple[GridSession, ...] = field(repr=lambda sessions: f"<{len(sessions)} sessions>")
    dates: tuple[TradingDate, ...] = field(init=False, repr=False)
    starts: tuple[int, ...] = field(init=False, repr=False)
    """Epoch microseconds of 04:00 of each."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "dates", tuple(item.session.trading_date for item in self.sessions))
        object.__setattr__(self, "starts", tuple(item.session.extended.start.epoch_micros for item in self.sessions))

    def __len__(self) -> int:
        return len(self.sessions)

    def within(self, first: TradingDate, last: TradingDate) -> slice:
        """Where the sessions between the dates lie, both inclusive."""
        return slice(bisect_left(self.dates, first), bisect_right(self.dates, last))

    def cut(self, part: slice) -> SessionGrid:
        return SessionGrid(self.sessions[part])

    def moment(self, position: int, minute: int) -> Timestamp:
        return Timestamp.from_epoch_micros(self.starts[position] + minute * MINUTE)


def neighbours_of(position: int, reach: int, profiles: Sequence[int | None]) -> list[int]:
    """Positions of the sessions around one that have a profile, at most ``reach`` away on either side."""
    around = range(max(0, position - reach), min(len(profiles), position + reach + 1))
    return [other for other in around if other != position and profiles[other] is not None]
