from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import evolve, frozen

from marketpipe.ingestion.application.job_scheduler import JobScheduler, KnownHours, WantedDates
from marketpipe.ingestion.application.ports import Checkpoints, Statistics
from marketpipe.ingestion.domain.ingestion_checkpoint import DayRecord
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan, IngestionScope, TypicalVolumes
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.store_inventory import FileCondition, StoreInventory
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Clock
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradingDate

MOST_LOOKS = 5


@frozen
class ExaminedSymbol:
    """What is recorded of a symbol's days, and where the files differ from that."""

    records: Mapping[TradingDate, DayRecord]
    conditions: Mapping[TradingDate, FileCondition]


def examine(
    symbol: Symbol, first: TradingDate, last: TradingDate, checkpoints: Checkpoints, inventory: StoreInventory
) -> ExaminedSymbol:
    """Between the dates, both inclusive.

    Somebody may be ingesting meanwhile: a file that differs is believed to differ only when its record has not changed
    by then.
    """
    records = checkpoints.between(symbol, first, last)
    for _ in range(MOST_LOOKS):
        files = {date: record.file for date, record in records.items() if record.file is not None}
        conditions = inventory.conditions(symbol, first, last, files)
        if not conditions or (again := checkpoints.between(symbol, first, last)) == records:
            break
        records = again
    return ExaminedSymbol(records, conditions)


@frozen
class KnownDays:
    """For which ``hours`` each symbol-day of a scope needs no request, and which have a file and no record at all."""

    hours: KnownHours
    unrecorded: frozenset[SymbolDay]


def known_days(
    scope: IngestionScope,
    checkpoints: Checkpoints,
    inventory: StoreInventory,
    suspect: Collection[SymbolDay] = (),
) -> KnownDays:
    """A checkpoint counts for nothing where its file is gone or altered, where a file lies though it says that there
    were no bars, and where the symbol-day is ``suspect``.

    Where all files of a symbol appear as they have to, their days are looked at no closer.
    """
    doubts, hours, unrecorded = frozenset(suspect), dict[Symbol, Mapping[TradingDate, SessionHours]](), set[SymbolDay]()
    in_doubt = {day.symbol for day in doubts}
    for symbol in scope.symbols:
        first, last = scope.first_of(symbol), scope.last
        outlines = checkpoints.outlines(symbol, first, last)
        if symbol not in in_doubt and inventory.marks(symbol, first, last) == outlines.marks:
            hours[symbol] = outlines.settled
            continue
        examined = examine(symbol, first, last, checkpoints, inventory)
        hours[symbol] = _settled_hours(symbol, examined, doubts)
        unrecorded.update(SymbolDay(symbol, date) for date in _without_record(examined))
    return KnownDays(hours, frozenset(unrecorded))


def _settled_hours(
    symbol: Symbol, examined: ExaminedSymbol, doubts: frozenset[SymbolDay]
) -> Mapping[TradingDate, SessionHours]:
    return {
        date: record.settled_hours
        for date, record in examined.records.items()
        if record.settled_hours
        and examined.conditions.get(date) is None
        and not (doubts and SymbolDay(symbol, date) in doubts)
    }


def _without_record(examined: ExaminedSymbol) -> list[TradingDate]:
    unknown = FileCondition.UNRECORDED
    return [date for date, found in examined.conditions.items() if found is unknown and date not in examined.records]


class IngestionPlanner:
    """Compares what is wanted with what is known and what lies there. Changes nothing."""

    def __init__(
        self,
        scheduler: JobScheduler,
        checkpoints: Checkpoints,
        statistics: Statistics,
        inventory: StoreInventory,
        clock: Clock,
    ) -> None:
        self._scheduler, self._checkpoints, self._statistics = scheduler, checkpoints, statistics
        self._inventory, self._clock = inventory, clock

    def plan(self, scope: IngestionScope, suspect: Collection[SymbolDay] = ()) -> IngestionPlan:
        """``suspect`` symbol-days are asked for again though they are settled."""
        known, now = known_days(scope, self._checkpoints, self._inventory, suspect), self._clock.now()
        plan = self._scheduler.plan(scope, known.hours, now)
        if plan.batches:  # what symbols usually bring takes a while to find out, and matters only then
            plan = self._scheduler.plan(scope, known.hours, now, self._volumes(scope))
        return evolve(plan, unrecorded=known.unrecorded)

    def plan_again(self, scope: IngestionScope, wanted: WantedDates) -> IngestionPlan:
        """Just the ``wanted`` dates, whatever is known of them."""
        return self._scheduler.plan_again(scope, wanted, self._clock.now(), self._volumes(scope))

    def narrowed(self, request: BarsRequest, days: Collection[SymbolDay]) -> tuple[BarsRequest, ...]:
        """What is left of a request of a plan when nothing but these of its symbol-days is wanted."""
        return tuple(self._scheduler.narrowed(request, days))

    def latest_final(self) -> TradingDate:
        return self._scheduler.latest_final(self._clock.now())

    def _volumes(self, scope: IngestionScope) -> TypicalVolumes:
        return TypicalVolumes(self._statistics.typical_volumes(scope.symbols), self._statistics.typical_volume())
