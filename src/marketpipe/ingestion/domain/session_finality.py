from __future__ import annotations

from datetime import timedelta

from attrs import frozen

from marketpipe.shared_kernel.domain.bars_request import AskedSession
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_session import SessionKind, TradingSession

MINUTE = 60_000_000


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
        return AskedSession(session, window.until(knowable), final=knowable >= session.extended.end)


def _begin_of_minute(moment: Timestamp) -> Timestamp:
    """The minute that has not ended yet has no bar yet."""
    return Timestamp.from_epoch_micros(moment.epoch_micros // MINUTE * MINUTE)
