from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.store_inventory import RecordedFile
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.shared_kernel.domain.traded_minutes import TradedMinutes
from marketpipe.shared_kernel.domain.trading_session import SessionHours


@frozen
class DayRecord:
    """All that is written down of one symbol-day: what became of asking for it, and the file that lies there for it.

    ``hours`` are those for which the outcome holds. ``answers`` counts how often in a row the provider has given this
    very answer. ``file`` is None where no bars were ever stored; ``minutes`` where nobody has noted them.
    """

    outcome: Outcome
    hours: SessionHours
    answers: int = 1
    rejected: int = 0
    error: str | None = None
    rows: int = 0
    file: RecordedFile | None = None
    minutes: TradedMinutes | None = None

    @property
    def settled_hours(self) -> SessionHours:
        """Those that need no further request."""
        return self.hours if self.outcome.is_settled else SessionHours.NONE
