from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingDate
from marketpipe.shared_kernel.domain.trading_session import SessionKind
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay


@frozen
class InterruptedJob:
    """A job that did not come to its end. It began before it wrote its first file; the dates are inclusive."""

    job_id: int
    started_at: Timestamp
    first: TradingDate
    last: TradingDate
    session_kind: SessionKind

    def may_have_written(self, found: StoredSymbolDay) -> bool:
        """Whether a file that can be believed came to lie there after the job began, for a date of its scope."""
        asked = self.first <= found.symbol_day.trading_date <= self.last
        begun = found.known_since is not None and found.known_since >= self.started_at
        return asked and begun and found.error is None and found.rows > 0
