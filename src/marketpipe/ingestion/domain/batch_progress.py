from __future__ import annotations

from collections.abc import Iterable

from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import MarketPipeError
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.symbol_day_outcome import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.trading_session import SessionHours
from marketpipe.shared_kernel.events.bar_events import StoredSymbolDay


class BatchProgress:
    """What has become of each symbol-day of one batch so far. Lives on one worker at a time."""

    def __init__(self, job_id: int, request: BarsRequest) -> None:
        self.job_id, self.request = job_id, request
        self.outcomes: dict[SymbolDay, SymbolDayOutcome] = {}
        self._symbols = frozenset(request.symbols)
        self._asked = {asked.trading_date: asked for asked in request.sessions}

    def stored(self, day: StoredSymbolDay) -> SymbolDayOutcome | None:
        """None for what is not in the request, such as a date that is no session: nobody waits for it.

        A symbol-day may come in several parts; where one of them failed, the whole has failed.
        """
        if day.symbol_day.symbol not in self._symbols or day.symbol_day.trading_date not in self._asked:
            return None
        earlier = self.outcomes.get(day.symbol_day)
        rejected = day.rejected + (earlier.rejected if earlier else 0)
        error = earlier.error if earlier and day.error is None else day.error
        outcome = self._had_bars(day.symbol_day) if error is None else Outcome.FAILED
        return SymbolDayOutcome(day.symbol_day, outcome, day.rows, rejected, error)

    def exhausted(self, refused: dict[SymbolDay, str], kept: dict[SymbolDay, int]) -> list[SymbolDayOutcome]:
        """What becomes of the days the provider had nothing for. ``kept``: bars of the days that are stored."""
        return [self._without_bars(day, refused.get(day), kept.get(day)) for day in self.open_days()]

    def fail_open_days(self, error: MarketPipeError) -> list[SymbolDayOutcome]:
        return [SymbolDayOutcome(day, Outcome.FAILED, error=str(error)) for day in self.open_days()]

    def note(self, outcomes: Iterable[SymbolDayOutcome]) -> None:
        """Once their checkpoints are committed; until then their days stay open."""
        self.outcomes.update((outcome.symbol_day, outcome) for outcome in outcomes)

    def open_days(self) -> list[SymbolDay]:
        return [day for day in self.request.symbol_days if day not in self.outcomes]

    def hours_of(self, day: SymbolDay) -> SessionHours:
        """For which hours of that day this batch speaks."""
        return hours_asked(self.request, self._asked[day.trading_date])

    def refused_days(self, symbols: Iterable[tuple[object, str]]) -> dict[SymbolDay, str]:
        reasons = dict(symbols)
        return {day: reasons[day.symbol] for day in self.request.symbol_days if day.symbol in reasons}

    def _had_bars(self, day: SymbolDay) -> Outcome:
        return Outcome.COMPLETE if self._asked[day.trading_date].final else Outcome.PARTIAL

    def _without_bars(self, day: SymbolDay, refusal: str | None, kept: int | None) -> SymbolDayOutcome:
        if refusal is not None:
            return SymbolDayOutcome(day, Outcome.FAILED, error=refusal)
        asked = self._asked[day.trading_date]
        if not asked.final:
            return SymbolDayOutcome(day, Outcome.PARTIAL, rows=kept or 0)
        if kept is not None and SessionHours.REGULAR not in asked.hours:
            return SymbolDayOutcome(day, Outcome.COMPLETE, kept)  # those bars lie in hours nobody asked for this time
        if kept is not None:
            contradiction = f"none came where {_bars(kept)} known; what is stored stays"
            return SymbolDayOutcome(day, Outcome.FAILED, kept, error=contradiction)
        return SymbolDayOutcome(day, Outcome.EMPTY)


def hours_asked(request: BarsRequest, asked: AskedSession) -> SessionHours:
    """Where the regular session is among them, what is asked for is the day."""
    return request.session_kind.hours if SessionHours.REGULAR in asked.hours else asked.hours


def _bars(count: int) -> str:
    return f"{count} bars are" if count else "bars are"
