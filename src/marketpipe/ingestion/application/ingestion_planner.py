from __future__ import annotations

from collections.abc import Collection

from attrs import evolve

from marketpipe.ingestion.application.job_scheduler import JobScheduler, WantedDates
from marketpipe.ingestion.application.known_days import known_days
from marketpipe.ingestion.application.ports import IngestionState
from marketpipe.ingestion.domain.ingestion_plan import IngestionPlan
from marketpipe.ingestion.domain.ingestion_scope import IngestionScope
from marketpipe.ingestion.domain.typical_volume import TypicalVolumes
from marketpipe.shared_kernel.domain.bars_request import BarsRequest
from marketpipe.shared_kernel.domain.clock import Clock
from marketpipe.shared_kernel.domain.store_inventory import StoreInventory
from marketpipe.shared_kernel.domain.symbol_day import SymbolDay
from marketpipe.shared_kernel.domain.trading_date import TradingDate


class IngestionPlanner:
    """Compares what is wanted with what is known and what lies there. Changes nothing."""

    def __init__(self, scheduler: JobScheduler, state: IngestionState, inventory: StoreInventory, clock: Clock) -> None:
        self._scheduler, self._state, self._inventory, self._clock = scheduler, state, inventory, clock

    def plan(self, scope: IngestionScope, doubted: Collection[SymbolDay] = ()) -> IngestionPlan:
        """``doubted`` symbol-days are asked for again though they are settled."""
        known, now = known_days(scope, self._state, self._inventory, doubted), self._clock.now()
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
        return TypicalVolumes(self._state.typical_volumes(scope.symbols), self._state.typical_volume())
