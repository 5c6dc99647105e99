from __future__ import annotations

from attrs import frozen

from marketpipe.shared_kernel.domain.symbol_day_outcome import SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_session import SessionHours
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay


@frozen
class IngestionCheckpoint:
    """What is known of one symbol-day: the outcome of asking, when and for which hours, and the file that came of it.

    ``stored`` is None where this asking changed no file.
    """

    job_id: int
    result: SymbolDayOutcome
    hours: SessionHours
    checked_at: Timestamp
    stored: StoredSymbolDay | None = None
