"""The checkpoint of a symbol-day: what is known of it, and how the next answer of a provider changes that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from attrs import field, frozen

from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradedMinutes
from marketpipe.shared_kernel.events import StoredSymbolDay


def contradiction(bars: int) -> str:
    """Return the error of a day for which the provider returned no bars, though ``bars`` are stored; 0 if unknown."""
    stored = f"{bars} bars are" if bars else "bars are"
    return f"the provider returned no bars, but {stored} stored; they are kept"


Answer = tuple[SymbolDayOutcome, SessionHours, StoredSymbolDay | None]
"""What a provider answered for a symbol-day, the hours that it was asked for, and what was stored of the answer; None
if no stored bar changed."""


@frozen
class IngestionCheckpoint:
    """What is known of one symbol-day.

    ``hours`` are those for which the outcome holds. ``answers`` counts how often in a row the provider has given this
    same answer, ``days`` on how many dates (UTC) it did. ``version`` is None if no bars were ever stored; ``minutes``
    and ``figures`` also if they were never recorded.
    """

    outcome: Outcome
    hours: SessionHours
    answers: int = 1
    rejected: int = 0
    error: str | None = None
    rows: int = 0
    version: RecordedVersion | None = None
    minutes: TradedMinutes | None = None
    figures: DayFigures | None = None
    days: int = 1

    @property
    def contradictions(self) -> int:
        """How often in a row the provider has returned no bars, though bars are stored."""
        contradicted = self.outcome is Outcome.FAILED and self.error == contradiction(self.rows)
        return self.answers if contradicted else 0

    @property
    def settled_hours(self) -> SessionHours:
        """The hours that need no further request."""
        return self.hours if self.outcome.is_settled else SessionHours.NONE


def next_checkpoint(
    known: IngestionCheckpoint | None, answer: Answer, another_date: bool = True
) -> IngestionCheckpoint | None:
    """Return the checkpoint after an answer, without its version; None if the known one stays as it is.

    ``another_date``: the answer before came on another date.
    """
    result, hours, _ = answer
    failed = result.outcome is Outcome.FAILED and result.error != contradiction(result.rows)
    if known is not None and known.outcome.is_settled and failed:
        return None  # a request that failed disproves no earlier answer; one that returned no bars does
    if known is None or hours.covers(SessionHours.REGULAR):
        answers, days = 1, 1
        if known is not None and _is_repeated(known, answer):
            answers, days = known.answers + 1, known.days + another_date
        return IngestionCheckpoint(result.outcome, hours, answers, result.rejected, result.error, days=days)
    if known.outcome.is_settled and result.outcome.is_settled:
        outcome = Outcome.COMPLETE if Outcome.COMPLETE in (known.outcome, result.outcome) else Outcome.EMPTY
        rejected = known.rejected + result.rejected
        return IngestionCheckpoint(outcome, known.hours | hours, known.answers, rejected, days=known.days)
    return None


def _is_repeated(known: IngestionCheckpoint, answer: Answer) -> bool:
    result, _, stored = answer
    if known.outcome is not result.outcome:
        return result.outcome is Outcome.EMPTY and known.contradictions > 0
    if result.outcome is Outcome.FAILED and known.error != result.error:
        return False
    # An empty or failed answer stores nothing that could be compared, though an earlier version may still be stored.
    if stored is None or stored.sha256 is None:
        return result.outcome in (Outcome.EMPTY, Outcome.FAILED) or known.version is None
    return known.version is not None and known.version.sha256 == stored.sha256


CLOCKS_DIFFER = timedelta(minutes=5)
"""Processes of several machines may record into one state: their clocks may differ by so much."""


def premature_reason(recorded: Timestamp) -> str:
    """Return why an answer is not believed: it is dated in the future, or before its session ended."""
    return f"recorded at {recorded} by a clock that was ahead; it is requested again"


@frozen
class LeasedDays:
    """The result of an attempt to lease symbol-days: each is in one of the three.

    ``ours`` are leased under the number ``lease``; the ``settled`` were settled by another process meanwhile; the
    ``busy`` are leased by other processes: the ``holders``, named as a user may find them.
    """

    lease: int
    ours: frozenset[SymbolDay] = field(repr=lambda days: f"<{len(days)} symbol-days>")
    settled: Mapping[SymbolDay, IngestionCheckpoint] = field(
        factory=dict, repr=lambda days: f"<{len(days)} symbol-days>"
    )
    busy: frozenset[SymbolDay] = field(factory=frozenset, repr=lambda days: f"<{len(days)} symbol-days>")
    holders: frozenset[str] = frozenset()
