from __future__ import annotations

from datetime import timedelta

from attrs import frozen

from marketpipe.shared_kernel.domain.bars_request import AskedSession
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_calendar import TradingCalendar
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind, TradingSession

MINUTE = 60_000_000
LONGEST_CLOSURE_DAYS = 14  # in 2001 the exchange stayed closed for six days


@frozen
class SessionFinality:
    """A session is final once its extended close lies further back than the provider's ``delay``."""

    delay: timedelta

    def ask(self, session: TradingSession, kind: SessionKind, now: Timestamp) -> AskedSession | None:
        """What may be asked of the session at ``now``; None while there is nothing yet."""
        knowable = _begin_of_minute(now.plus(-self.delay))
        window = session.window(kind)
        if knowable <= window.start:
            return None
        return AskedSession(session, window.until(knowable), self.is_final(session, now))

    def is_final(self, session: TradingSession, now: Timestamp) -> bool:
        return now.plus(-self.delay) >= session.extended.end

    def latest_final(self, calendar: TradingCalendar, now: Timestamp) -> TradingDate:
        """The trading date of the newest session that is final."""
        today = TradingDate.of(now)
        sessions = calendar.sessions(today.plus_days(-LONGEST_CLOSURE_DAYS), today)
        return [session.trading_date for session in sessions if self.is_final(session, now)][-1]


def _begin_of_minute(moment: Timestamp) -> Timestamp:
    """The minute that has not ended yet has no bar yet."""
    return Timestamp.from_epoch_micros(moment.epoch_micros // MINUTE * MINUTE)
