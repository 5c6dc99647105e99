from __future__ import annotations

from marketpipe.ingestion.domain.day_record import DayRecord
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome
from marketpipe.shared_kernel.domain.trading_session import SessionHours


def merged(known: DayRecord | None, new: IngestionCheckpoint) -> DayRecord | None:
    """What is known of a symbol-day's outcome from now on, without its file; None where that stays as it was."""
    if known is not None and known.outcome.is_settled and new.result.outcome is Outcome.FAILED:
        return None  # an answer that did not come takes nothing back
    if known is None or new.hours.covers(SessionHours.REGULAR):
        return _replaced(known, new)
    if known.outcome.is_settled and new.result.outcome.is_settled:
        return _widened(known, new)
    return None


def _replaced(known: DayRecord | None, new: IngestionCheckpoint) -> DayRecord:
    result = new.result
    answers = known.answers + 1 if known is not None and _says_the_same(known, new) else 1
    return DayRecord(result.outcome, new.hours, answers, result.rejected, result.error)


def _widened(known: DayRecord, new: IngestionCheckpoint) -> DayRecord:
    has_bars = Outcome.COMPLETE in (known.outcome, new.result.outcome)
    outcome = Outcome.COMPLETE if has_bars else Outcome.EMPTY
    return DayRecord(outcome, known.hours | new.hours, known.answers, known.rejected + new.result.rejected)


def _says_the_same(known: DayRecord, new: IngestionCheckpoint) -> bool:
    """An answer that there is nothing, or none, has no file to compare; what was stored before may still lie there."""
    outcome, digest = new.result.outcome, _digest_of(new)
    brought_nothing = digest is None and outcome in (Outcome.EMPTY, Outcome.FAILED)
    return known.outcome is outcome and (brought_nothing or digest == _recorded_digest(known))


def _digest_of(new: IngestionCheckpoint) -> str | None:
    return new.stored.sha256 if new.stored else None


def _recorded_digest(known: DayRecord) -> str | None:
    return known.file.sha256 if known.file else None
