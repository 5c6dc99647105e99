"""What compares the stored bars with those that should be stored: a part of the composition root."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from attrs import asdict

from marketpipe.parts import Parts, once

from . import composition, place_parts

if TYPE_CHECKING:
    from marketpipe.ingestion.application.coverage_assessor import CoverageAssessor
    from marketpipe.ingestion.application.ingestion_planner import GapFinder, RangeOfSymbol
    from marketpipe.ingestion.infrastructure.sql.state import SqlState
    from marketpipe.shared_kernel.domain.store_inventory import StoreInventory
    from marketpipe.shared_kernel.domain.symbol import Symbol
    from marketpipe.shared_kernel.domain.trading_date import TradingDate
    from marketpipe.storage.infrastructure.inventory.day_file_scans import RangeScan


@once
def assessor(parts: Parts, recorded: SqlState) -> CoverageAssessor:
    from marketpipe.ingestion.application.coverage_assessor import CoverageAssessor
    from marketpipe.ingestion.domain.coverage.baseline import CoverageThresholds
    from marketpipe.ingestion.domain.coverage.halts import KNOWN_HALTS, TradingHalt

    thresholds, given = CoverageThresholds(**asdict(parts.config.coverage)), parts.config.calendar.halts
    halts = (TradingHalt(each.trading_date, each.start, each.end, frozenset(each.symbols)) for each in given)
    return CoverageAssessor(
        composition.calendar(parts),
        composition.finality(parts),
        recorded.checkpoints,
        composition.inventory(parts),
        parts.clock,
        thresholds,
        (*KNOWN_HALTS, *halts),
        composition.stored_official_days(parts, recorded),
        partial(composition.holds_imported_bars, recorded),
    )


def new_scan(parts: Parts, symbols: Sequence[Symbol], first: TradingDate, last: TradingDate) -> RangeScan:
    """Return what scans the day files of these symbols and dates once, for all that ask it."""
    from marketpipe.storage.infrastructure.inventory.day_file_scans import RangeScan

    return RangeScan(composition.day_file_scans(parts), place_parts.layout(parts), symbols, first, last)


def _inventory_of(parts: Parts, scan: RangeScan) -> StoreInventory:
    """Return the inventory whose marks are those of the day files that were scanned."""
    from marketpipe.storage.infrastructure.inventory.file_inventory import FileInventory

    return FileInventory(place_parts.layout(parts), scan=scan.readable_days)


def new_gap_finder(parts: Parts, scan: RangeScan | None = None) -> GapFinder:
    """Make what finds gaps; with a ``scan`` in the day files that it finds, and not again in what had none."""
    from marketpipe.ingestion.application.ingestion_planner import CompleteRanges, GapFinder

    recorded, stored = place_parts.known_state(parts), composition.inventory(parts)
    complete: CompleteRanges | None = None
    if scan is not None:
        stored, version = _inventory_of(parts, scan), recorded.version()
        complete = CompleteRanges(_complete_ranges(parts, recorded), lambda symbol: (version, scan.version(symbol)))
    days = composition.stored_official_days(parts, recorded) if composition.holds_imported_bars(recorded) else None
    return GapFinder(
        *(composition.calendar(parts), composition.finality(parts), recorded.checkpoints, stored, parts.clock),
        days,
        complete,
    )


@once
def _complete_ranges(_: Parts, __: SqlState) -> dict[RangeOfSymbol, object]:
    return {}
