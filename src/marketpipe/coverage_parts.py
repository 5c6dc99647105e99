"""What compares the stored bars with those that should be stored: a part of the composition root."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import asdict

from marketpipe.parts import Parts, once

from . import composition

if TYPE_CHECKING:
    from marketpipe.ingestion.application.coverage_assessor import CoverageAssessor
    from marketpipe.ingestion.application.ingestion_planner import GapFinder
    from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState


@once
def assessor(parts: Parts, recorded: SQLiteState) -> CoverageAssessor:
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


def new_gap_finder(parts: Parts) -> GapFinder:
    from marketpipe.ingestion.application.ingestion_planner import GapFinder

    recorded, stored = composition.known_state(parts), composition.inventory(parts)
    days = composition.stored_official_days(parts, recorded) if composition.holds_imported_bars(recorded) else None
    return GapFinder(
        composition.calendar(parts), composition.finality(parts), recorded.checkpoints, stored, parts.clock, days
    )
