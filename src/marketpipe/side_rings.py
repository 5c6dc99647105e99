"""Composes the journeys beside the ring of minutes: of official days, of an audit, and of stored bars to validate.

    OfficialDaysRequested ──▶ OfficialDaysFetched ──▶ OfficialDaysValidated ──▶ OfficialDaysStored
    BarsRequested ──▶ BarsFetched ──▶ BarsValidated ──▶ BarsCompared
    StoredBarsRead ──▶ StoredBarsValidated

The first is subscribed only for a provider that has official days, and always in the main process: there are few
requests. What reads a store to its last byte is made here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve

from marketpipe.config import config_of_import
from marketpipe.parts import Parts, once
from marketpipe.shared_kernel.domain.errors import StateError
from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.shared_kernel.domain.trading_date import SessionKind, TradingDate
from marketpipe.shared_kernel.event_bus import EventBus
from marketpipe.shared_kernel.events import (
    BarsCompared,
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    BarsValidated,
    OfficialDaysChanged,
    OfficialDaysFetched,
    OfficialDaysRequested,
    OfficialDaysStored,
    OfficialDaysValidated,
    StoredBarsRead,
)
from marketpipe.storage.domain.integrity import IntegrityProblem, StoreArea
from marketpipe.validation.domain.business_rules import RuleBook

from . import composition, coverage_parts, place_parts, store_locks

LONGEST_WAIT_SECONDS = 120.0
"""To store a request takes some seconds."""
TURN_SECONDS = 1.0
"""So long an ingestion waits for its turn to request official days before it looks whether it is to stop."""

if TYPE_CHECKING:
    from marketpipe.ingestion.application.audit_coordinator import AuditCoordinator, ScaleKeeper
    from marketpipe.ingestion.application.official_days import OfficialDaysCoordinator, OfficialDaysPlanner
    from marketpipe.ingestion.application.ports import ExclusiveLock
    from marketpipe.ingestion.application.recovery import FigureRecorder
    from marketpipe.ingestion.domain.ingestion_plan import IngestionScope
    from marketpipe.ingestion.infrastructure.sql.state import SqlState
    from marketpipe.integration.application.bars_fetcher import OfficialDaysFetcher
    from marketpipe.integration.application.ports import OwnBars
    from marketpipe.integration.domain.table_import import ImportSettings
    from marketpipe.storage.application.bar_handlers import OfficialDayStorer, StoredBarsReviewer
    from marketpipe.storage.application.integrity_checker import IntegrityChecker
    from marketpipe.storage.application.ports import StoredFiles
    from marketpipe.storage.application.recorded_files import RecordedFiles
    from marketpipe.storage.infrastructure.inventory.symbol_removal import SymbolRemoval
    from marketpipe.storage.infrastructure.official.official_check import OfficialYearCheck
    from marketpipe.storage.infrastructure.official.official_files import OfficialFiles
    from marketpipe.validation.application.bar_validator import OfficialDayValidator
    from marketpipe.validation.infrastructure.broken_rules import BrokenRules


def official_days(parts: Parts) -> OfficialDaysCoordinator:
    """Make what requests official days, and subscribe their journey: four events, and one for what has changed."""
    from marketpipe.ingestion.application.batch_runner import RequestBisection
    from marketpipe.ingestion.application.official_days import OfficialDaysCoordinator

    bus, recorded = parts.bus, place_parts.state(parts)
    bisection, planner = RequestBisection(composition.planner(parts, recorded)), official_planner(parts, recorded)
    made = OfficialDaysCoordinator(
        planner,
        recorded,
        bus,
        parts.clock,
        bisection,
        lambda scope: coverage_parts.assessor(parts, recorded).disagreeing(scope),
        place_parts.store_lock(
            parts, store_locks.OFFICIAL_REQUESTS, waits=True, longest_wait_seconds=TURN_SECONDS
        ).acquired,
    )
    bus.subscribe_lazily(OfficialDaysRequested, lambda: official_fetcher(parts).on_official_days_requested)
    bus.subscribe_lazily(OfficialDaysFetched, lambda: official_validator(parts).on_official_days_fetched)
    bus.subscribe_lazily(OfficialDaysValidated, lambda: official_storer(parts).on_official_days_validated)
    bus.subscribe(OfficialDaysChanged, made.on_official_days_changed)
    bus.subscribe(OfficialDaysStored, made.on_official_days_stored)
    return made


def read_own_bars(parts: Parts, table: object, settings: ImportSettings) -> OwnBars:
    """Read a user's own table, or files by their paths. Raises ``ConfigurationError`` for what is neither."""
    from marketpipe.integration.infrastructure.imported.imported_client import ImportedBars
    from marketpipe.integration.infrastructure.imported.table_files import read_source

    return ImportedBars.read(read_source(table), settings, composition.calendar(parts))


def parts_of_import(parts: Parts, bars: OwnBars, scope: IngestionScope) -> Parts:
    """Make the parts of a ring that requests these bars of their table. The observers of ``parts`` see its events."""
    store = evolve(parts.config, session=scope.session_kind)
    config = config_of_import(store, bars.preview.provider, scope.symbols, scope.first, scope.last)
    return Parts(
        config,
        clock=parts.clock,
        new_executor=parts.new_executor,
        market_data_provider=bars.provider(),
        new_object_store=parts.new_object_store,
        bus=parts.bus.branch(),
        machine=parts.machine,
    )


@once
def official_planner(parts: Parts, recorded: SqlState) -> OfficialDaysPlanner:
    from marketpipe.ingestion.application.official_days import OfficialDaysPlanner
    from marketpipe.ingestion.domain.official_days import OfficialLimits

    provided = composition.capabilities(parts)
    symbols = provided.symbols_per_official_request or provided.symbols_per_request
    limits = OfficialLimits(provided.bars_per_page, symbols)
    stored = composition.stored_official_days(parts, recorded)
    return OfficialDaysPlanner(composition.calendar(parts), composition.finality(parts), stored, limits, parts.clock)


def official_check(parts: Parts, recorded: SqlState) -> OfficialYearCheck:
    from marketpipe.storage.infrastructure.official.official_check import OfficialYearCheck

    lock = official_lock(parts).acquired
    return OfficialYearCheck(place_parts.layout(parts), recorded.official_years, lock)


def official_lock(parts: Parts) -> ExclusiveLock:
    """Make the lock for storing official days. A process that hangs with it blocks the others for a bounded time."""
    return place_parts.store_lock(parts, store_locks.OFFICIAL, waits=True, longest_wait_seconds=LONGEST_WAIT_SECONDS)


@once
def official_fetcher(parts: Parts) -> OfficialDaysFetcher:
    from marketpipe.integration.application.bars_fetcher import OfficialDaysFetcher
    from marketpipe.integration.infrastructure.whole_day_assembler import WholeAnswerAssembler

    provider = composition.provider(parts)
    return OfficialDaysFetcher(provider, WholeAnswerAssembler, parts.bus, lambda: parts.is_stopped)


@once
def official_validator(parts: Parts) -> OfficialDayValidator:
    from marketpipe.validation.application.bar_validator import OfficialDayValidator
    from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator
    from marketpipe.validation.infrastructure.column_masks import official_day_columns
    from marketpipe.validation.infrastructure.columnar_validator import ColumnarValidator
    from marketpipe.validation.infrastructure.schema_validator import bar_schema_validator

    rules = BusinessRuleValidator(RuleBook.of_official_days(parts.config.validation.severities))
    schema, kind = bar_schema_validator(), SessionKind.EXTENDED
    columnar = ColumnarValidator(schema, rules, composition.calendar(parts), kind, official_day_columns)
    return OfficialDayValidator(columnar.validate, parts.bus, parts.clock)


@once
def official_storer(parts: Parts) -> OfficialDayStorer:
    """Make the handler that publishes files of official days, under a lock of all processes that share the state."""
    from marketpipe.storage.application.bar_handlers import OfficialDayStorer

    stored = new_official_files(parts, composition.capabilities(parts).identity)
    return OfficialDayStorer(stored, official_lock(parts).acquired, parts.bus)


def new_official_files(parts: Parts, identity: DatasetIdentity) -> OfficialFiles:
    from marketpipe.storage.infrastructure.official.official_files import OfficialFiles
    from marketpipe.storage.infrastructure.parquet_files import ParquetWriter

    writer, recorded = ParquetWriter(parts.config.compression), place_parts.state(parts)
    records = recorded.official_years, recorded.file_digests
    return OfficialFiles(place_parts.layout(parts), identity, writer, place_parts.files(parts), parts.clock, *records)


def subscribe_audit(parts: Parts, bus: EventBus, audit: AuditCoordinator) -> None:
    """Subscribe the journey of bars that are compared with stored ones instead of being stored."""
    from marketpipe.storage.application.bar_handlers import BarAuditor
    from marketpipe.storage.infrastructure.reading.bar_comparer import ParquetBarComparer

    bus.subscribe_lazily(BarsRequested, lambda: composition.fetcher(parts, bus).on_bars_requested)
    bus.subscribe_lazily(BarsFetched, lambda: composition.validator(parts, bus, parts.config.session).on_bars_fetched)
    bus.subscribe(
        BarsValidated, BarAuditor(ParquetBarComparer(place_parts.layout(parts)).compare, bus).on_bars_validated
    )
    bus.subscribe(BarsCompared, audit.on_bars_compared)
    bus.subscribe(BarsExhausted, audit.on_bars_exhausted)


@once
def scale_keeper(parts: Parts) -> ScaleKeeper:
    """Make what keeps adjusted prices in one scale; an audit finds what it must request again."""
    from marketpipe.ingestion.application.audit_coordinator import ScaleKeeper

    recorded, ingestion = place_parts.state(parts), composition.coordinator(parts, official_days)
    return ScaleKeeper(auditor(parts), ingestion, composition.planner(parts, recorded), recorded.checkpoints)


@once
def auditor(parts: Parts) -> AuditCoordinator:
    """Make the audit's coordinator on a bus of its own: bars that come to be compared must not be stored."""
    from marketpipe.ingestion.application.audit_coordinator import AuditCoordinator

    bus, recorded = parts.bus.branch(), place_parts.state(parts)
    made = AuditCoordinator(
        composition.planner(parts, recorded), recorded.checkpoints, bus, parts.clock, composition.new_runner(parts)
    )
    subscribe_audit(parts, bus, made)
    parts.stopping(made)
    return made


# --- what reads a store to its last byte
@once
def reviewer(parts: Parts) -> StoredBarsReviewer:
    """Make what validates stored bars, and subscribe its one step."""
    from marketpipe.storage.application.bar_handlers import StoredBarsReviewer

    # of the extended session: a store may hold it though the configuration wants the regular one now
    validator = composition.validator(parts, parts.bus, SessionKind.EXTENDED)
    parts.bus.subscribe(StoredBarsRead, validator.on_stored_bars_read)
    stored = composition.stored_bars(parts)
    return StoredBarsReviewer(stored.stored_days, stored.read, parts.bus)


@once
def broken_rules(parts: Parts) -> BrokenRules:
    """Make what finds which stored bars break a rule, warnings included."""
    from marketpipe.validation.infrastructure.broken_rules import BrokenRules
    from marketpipe.validation.infrastructure.business_rule_validator import BusinessRuleValidator

    rules = BusinessRuleValidator(RuleBook.with_severities(parts.config.validation.severities))
    return BrokenRules(rules, composition.calendar(parts), parts.clock)


def new_figure_recorder(parts: Parts) -> FigureRecorder | None:
    """Make the recorder; None for a store whose dataset is not known."""
    from marketpipe.ingestion.application.recovery import FigureRecorder

    recorded = place_parts.known_state(parts)
    dataset = recorded.dataset()
    if dataset is None:
        return None
    stored = composition.new_stored_files(parts)
    return FigureRecorder(recorded.checkpoints, lambda symbol, dates: stored.stored_days(symbol, dataset[0], dates))


def new_recorded_files(parts: Parts, files: StoredFiles) -> RecordedFiles:
    from marketpipe.storage.application.recorded_files import RecordedFiles

    return RecordedFiles(files, place_parts.known_state(parts).file_digests)


def recorded_timeframes(parts: Parts) -> list[Timeframe]:
    """Return the timeframes that have recorded aggregates, whether these are lost or not."""
    digests = place_parts.known_state(parts).file_digests
    return [each for each in Timeframe if digests.has_any(f"{StoreArea.AGGREGATES}/timeframe={each}/")]


def new_integrity_checker(parts: Parts) -> IntegrityChecker:
    from marketpipe.ingestion.application.recovery import RecordedVersions
    from marketpipe.storage.application.integrity_checker import IntegrityChecker

    recorded, files = place_parts.known_state(parts), composition.new_stored_files(parts)
    dataset = recorded.dataset()
    identity = dataset[0] if dataset else composition.stored_identity(parts).prevailing()
    register, with_digests = RecordedVersions(recorded.checkpoints), new_recorded_files(parts, files)
    return IntegrityChecker(files, register, identity, recorded.leases.being_written, with_digests)


def new_symbol_removal(parts: Parts) -> SymbolRemoval:
    from marketpipe.storage.infrastructure.inventory.symbol_removal import SymbolRemoval

    return SymbolRemoval(place_parts.layout(parts), place_parts.files(parts))


def record_figures(parts: Parts, symbols: Iterable[Symbol] | None, first: TradingDate, last: TradingDate) -> None:
    """Record the figures that days of an earlier version lack. A state that is only readable stays without."""
    recorder = new_figure_recorder(parts)
    spans = place_parts.known_state(parts).checkpoints.stored_spans() if recorder else {}
    with suppress(StateError):
        for symbol in sorted(spans if symbols is None else spans.keys() & set(symbols)):
            if recorder is not None:
                recorder.record(symbol, first, last)


def official_problems(
    parts: Parts, symbols: Sequence[Symbol] | None, first: TradingDate, last: TradingDate
) -> list[IntegrityProblem]:
    """Compare the files of official days with what was recorded of them; without ``symbols`` of all."""
    state = place_parts.known_state(parts)
    every = state.official_years.symbols() | composition.new_stored_files(parts).symbols()
    return official_check(parts, state).problems(sorted(every) if symbols is None else symbols, first, last)


def recover_official_days(parts: Parts, symbols: Sequence[Symbol], identity: DatasetIdentity) -> int:
    """Record the official days of the files, and the digests of their histories; return the number of the days.

    Days without one left no file: they are requested once more.
    """
    state, recorded = place_parts.state(parts), 0
    check = official_check(parts, state)
    for symbol in symbols:
        years = list(check.stored(symbol, identity))
        state.official_years.record(parts.clock.now(), years)
        state.file_digests.adopt(check.history_digests(symbol, identity))
        recorded += sum(len(year.answered) for year in years)
    return recorded
