from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from attrs import field, frozen

from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion, VersionMark
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradedMinutes, TradingDate
from marketpipe.shared_kernel.events import StoredSymbolDay


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
    file: RecordedVersion | None = None
    minutes: TradedMinutes | None = None

    @property
    def settled_hours(self) -> SessionHours:
        """Those that need no further request."""
        return self.hours if self.outcome.is_settled else SessionHours.NONE


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


@frozen
class DayOutlines:
    """Of a symbol's days as little as says whether anything is left to do: most have been settled long ago.

    ``settled``: the hours that need no further request, of the days that have any. ``marks``: those of
    the recorded versions.
    """

    settled: Mapping[TradingDate, SessionHours] = field(repr=False)
    marks: Mapping[date, VersionMark] = field(repr=False)


@frozen
class LeasedDays:
    """What became of the wish to work on some symbol-days: each is in one of the three.

    ``ours`` are held under ``lease``; of the ``settled`` somebody else has meanwhile found out; the ``busy`` are in
    somebody else's hands.
    """

    lease: int
    ours: frozenset[SymbolDay] = field(repr=lambda days: f"<{len(days)} symbol-days>")
    settled: Mapping[SymbolDay, DayRecord] = field(factory=dict, repr=lambda days: f"<{len(days)} symbol-days>")
    busy: frozenset[SymbolDay] = field(factory=frozenset, repr=lambda days: f"<{len(days)} symbol-days>")
