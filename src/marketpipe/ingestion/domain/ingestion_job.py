"""A job and its outcomes: the outcome of each symbol-day, what a batch has reached, and the states of a job."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, ValuesView
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Final

from attrs import frozen

from marketpipe.ingestion.domain.ingestion_checkpoint import contradiction
from marketpipe.ingestion.domain.ingestion_plan import IngestionScope, PlanEstimate
from marketpipe.ingestion.domain.official_days import NO_OFFICIAL_DAYS
from marketpipe.shared_kernel.domain.bars_request import AskedSession, BarsRequest
from marketpipe.shared_kernel.domain.errors import MarketPipeError, StateError
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol, SymbolDay, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from marketpipe.shared_kernel.events import RefusedSymbol, StoredSymbolDay

_OUTCOMES: Final = (None, *Outcome)
_NUMBERS: Final = {outcome: number for number, outcome in enumerate(_OUTCOMES)}
OUTCOME_BITS: Final = 3
REJECTED_BITS: Final = 30
_MASK: Final = (1 << OUTCOME_BITS) - 1


class OutcomeLedger(Mapping[SymbolDay, SymbolDayOutcome]):
    """Outcomes in eight bytes for each calendar day: a job may have millions. An object is built when one is read.

    Ordered by symbol, then date. Each symbol has an array that begins at its earliest date; 0 means no outcome yet.
    """

    def __init__(self) -> None:
        self._packed: dict[Symbol, array[int]] = {}
        self._first: dict[Symbol, int] = {}
        self._errors: dict[SymbolDay, str] = {}
        self._count = 0

    def put(self, found: SymbolDayOutcome) -> None:
        day = found.symbol_day
        packed, place = self._room_for(day)
        self._count += not packed[place]
        packed[place] = (found.rows << REJECTED_BITS | found.rejected) << OUTCOME_BITS | _NUMBERS[found.outcome]
        self._errors.pop(day, None)
        if found.error is not None:
            self._errors[day] = found.error

    def counts(self) -> Counter[Outcome]:
        numbers = Counter(value & _MASK for packed in self._packed.values() for value in packed if value)
        return Counter({found: numbers[number] for found, number in _NUMBERS.items() if found and numbers[number]})

    def __getitem__(self, day: SymbolDay) -> SymbolDayOutcome:
        packed = self._packed.get(day.symbol, ())
        place = day.trading_date.day.toordinal() - self._first.get(day.symbol, 0)
        if not 0 <= place < len(packed) or not packed[place]:
            raise KeyError(day)
        return self._unpacked(day, packed[place])

    def __iter__(self) -> Iterator[SymbolDay]:
        return (day for day, _ in self._each())

    def values(self) -> ValuesView[SymbolDayOutcome]:
        return _Outcomes(self)

    def _each(self) -> Iterator[tuple[SymbolDay, int]]:
        for symbol in sorted(self._packed):
            first = self._first[symbol]
            for place, value in enumerate(self._packed[symbol]):
                if value:
                    yield SymbolDay(symbol, TradingDate(date.fromordinal(first + place))), value

    def _unpacked(self, day: SymbolDay, value: int) -> SymbolDayOutcome:
        outcome = _OUTCOMES[value & _MASK]
        assert outcome is not None
        rejected, rows = value >> OUTCOME_BITS & (1 << REJECTED_BITS) - 1, value >> OUTCOME_BITS + REJECTED_BITS
        return SymbolDayOutcome(day, outcome, rows, rejected, self._errors.get(day) if self._errors else None)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<{len(self)} symbol-days>"

    def _room_for(self, day: SymbolDay) -> tuple[array[int], int]:
        ordinal = day.trading_date.day.toordinal()
        packed, first = self._packed.get(day.symbol, array("q")), self._first.get(day.symbol, ordinal)
        if ordinal < first:
            packed, first = array("q", bytes(8 * (first - ordinal))) + packed, ordinal
        if (missing := ordinal - first + 1 - len(packed)) > 0:
            packed.frombytes(bytes(8 * missing))
        self._packed[day.symbol], self._first[day.symbol] = packed, first
        return packed, ordinal - first


class _Outcomes(ValuesView[SymbolDayOutcome]):
    """The outcomes of a ledger, each made without looking for its day."""

    _mapping: OutcomeLedger

    def __iter__(self) -> Iterator[SymbolDayOutcome]:
        return itertools.starmap(self._mapping._unpacked, self._mapping._each())


@frozen
class KeptBars:
    """The stored bars of a day for which the provider returns none; ``rows`` is 0 if they were never recorded.

    ``is_withdrawn``: it has returned none often enough to be believed.
    """

    rows: int
    is_withdrawn: bool = False


class BatchProgress:
    """The outcome of each symbol-day of one request so far. Used by one worker at a time."""

    def __init__(self, job_id: int, request: BarsRequest) -> None:
        self.job_id, self.request = job_id, request
        self.outcomes: dict[SymbolDay, SymbolDayOutcome] = {}
        self._symbols = frozenset(request.symbols)
        self._asked = {asked.trading_date: asked for asked in request.sessions}
        self._hours = {asked.trading_date: hours_asked(request, asked) for asked in request.sessions}

    def stored(self, day: StoredSymbolDay) -> SymbolDayOutcome | None:
        """Return the outcome of a stored day; None if it is not in the request, such as a date that is no session.

        A symbol-day may come in several parts; if one of them failed, the symbol-day has failed.
        """
        if day.symbol_day.symbol not in self._symbols or day.symbol_day.trading_date not in self._asked:
            return None
        earlier = self.outcomes.get(day.symbol_day)
        rejected = day.rejected + (earlier.rejected if earlier else 0)
        error = earlier.error if earlier and day.error is None else day.error
        had_bars = Outcome.COMPLETE if self._asked[day.symbol_day.trading_date].final else Outcome.PARTIAL
        return SymbolDayOutcome(
            day.symbol_day, had_bars if error is None else Outcome.FAILED, day.rows, rejected, error
        )

    def exhausted(self, refused: Iterable[RefusedSymbol], kept: Mapping[SymbolDay, KeptBars]) -> list[SymbolDayOutcome]:
        """Return the outcomes of the days without bars. ``kept``: what is stored of such days."""
        reasons = {item.symbol: item.reason for item in refused}
        return [self._without_bars(day, reasons.get(day.symbol), kept.get(day)) for day in self.open_days()]

    def fail_open_days(self, error: MarketPipeError) -> list[SymbolDayOutcome]:
        return [SymbolDayOutcome(day, Outcome.FAILED, error=str(error)) for day in self.open_days()]

    def note(self, outcomes: Iterable[SymbolDayOutcome]) -> None:
        """Take these outcomes over, after their checkpoints were committed; until then their days stay open."""
        self.outcomes.update((outcome.symbol_day, outcome) for outcome in outcomes)

    def open_days(self) -> list[SymbolDay]:
        return [day for day in self.request.symbol_days if day not in self.outcomes]

    def hours_of(self, day: SymbolDay) -> SessionHours:
        """Return the hours of that day that the request covers."""
        return self._hours[day.trading_date]

    def _without_bars(self, day: SymbolDay, refusal: str | None, kept: KeptBars | None) -> SymbolDayOutcome:
        if refusal is not None:
            return SymbolDayOutcome(day, Outcome.FAILED, error=refusal)
        asked = self._asked[day.trading_date]
        if not asked.final:
            return SymbolDayOutcome(day, Outcome.PARTIAL, rows=kept.rows if kept else 0)
        if kept is not None and SessionHours.REGULAR not in asked.hours:
            # Those bars are of hours that were not requested this time.
            return SymbolDayOutcome(day, Outcome.COMPLETE, kept.rows)
        if kept is not None and not kept.is_withdrawn:
            return SymbolDayOutcome(day, Outcome.FAILED, kept.rows, error=contradiction(kept.rows))
        return SymbolDayOutcome(day, Outcome.EMPTY)


def hours_asked(request: BarsRequest, asked: AskedSession) -> SessionHours:
    """Return the hours of a session that a request covers: all of them if the regular ones are among them."""
    return request.session_kind.hours if SessionHours.REGULAR in asked.hours else asked.hours


class JobState(Enum):
    """The state of a job: running leads to one of the others, and they are final."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    def __str__(self) -> str:
        return self.value


class IngestionJob:
    """One run over one scope. It ends completed only if every planned symbol-day has an outcome and none has failed."""

    def __init__(
        self,
        job_id: int,
        scope: IngestionScope,
        *,
        planned: int,
        settled: int = 0,
        not_begun: int = 0,
        estimate: PlanEstimate | None = None,
    ) -> None:
        """``planned``, already ``settled`` and ``not_begun`` are numbers of symbol-days; their sum is the scope.

        ``estimate`` is what the job was expected to cost.
        """
        self.job_id, self.scope, self.estimate = job_id, scope, estimate
        self.planned, self.settled, self.not_begun = planned, settled, not_begun
        self.official = NO_OFFICIAL_DAYS
        self._state = JobState.RUNNING
        self._outcomes = OutcomeLedger()
        self._absorbed = 0

    @property
    def state(self) -> JobState:
        return self._state

    @property
    def outcomes(self) -> Mapping[SymbolDay, SymbolDayOutcome]:
        """The outcomes of the symbol-days that this job has requested."""
        return MappingProxyType(self._outcomes)

    @property
    def left(self) -> int:
        """The number of planned symbol-days without an outcome yet."""
        return max(0, self.planned - self._absorbed)

    @property
    def counts(self) -> Mapping[Outcome, int]:
        return self._outcomes.counts()

    @property
    def totals(self) -> tuple[int, int, int]:
        """How many symbol-days were planned, are done and have failed; of a job that needed no minutes, official days.

        What is done has an outcome and has not failed.
        """
        official = self.official
        if not self.planned and official.requested:
            return official.requested, official.answered, len(official.failures)
        failed = self.counts.get(Outcome.FAILED, 0)
        return self.planned, len(self._outcomes) - failed, failed

    def absorb(self, outcomes: Iterable[SymbolDayOutcome]) -> None:
        if self._state is not JobState.RUNNING:
            raise StateError(f"job {self.job_id} is {self._state} and takes no more outcomes")
        for outcome in outcomes:
            earlier = self._outcomes.get(outcome.symbol_day)
            if earlier is None or earlier.error is None:  # requested in two parts of which one failed: it has failed
                self._outcomes.put(outcome)
            self._absorbed += 1

    def finish(self) -> None:
        complete = self._absorbed >= self.planned and not self.counts.get(Outcome.FAILED)
        self._end(JobState.COMPLETED if complete else JobState.FAILED)

    def interrupt(self) -> None:
        self._end(JobState.INTERRUPTED)

    def _end(self, state: JobState) -> None:
        if self._state is not JobState.RUNNING:
            raise StateError(f"job {self.job_id} cannot go from {self._state} to {state}")
        self._state = state


def worst_state(jobs: Sequence[IngestionJob]) -> JobState:
    """Return the state of a run of several jobs: completed only if all are."""
    states = {job.state for job in jobs}
    return next((state for state in (JobState.INTERRUPTED, JobState.FAILED) if state in states), JobState.COMPLETED)


@frozen
class InterruptedJob:
    """A job that did not end by itself. It started before it wrote its first file; both dates are inclusive."""

    job_id: int
    started_at: Timestamp
    first: TradingDate
    last: TradingDate
    session_kind: SessionKind

    def may_have_written(self, found: StoredSymbolDay) -> bool:
        """Whether the file is of a date of the job's scope, undamaged, and known since the job started or later."""
        asked = self.first <= found.symbol_day.trading_date <= self.last
        begun = found.known_since is not None and found.known_since >= self.started_at
        return asked and begun and found.error is None and found.rows > 0
