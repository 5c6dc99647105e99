"""Short functions that build symbol-days for tests of coverage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from attrs import asdict

from marketpipe.config import CoverageConfig
from marketpipe.ingestion.domain.coverage.baseline import CoverageThresholds, SessionGrid, grid_session
from marketpipe.ingestion.domain.coverage.classification import CoverageClassifier
from marketpipe.ingestion.domain.coverage.market import MarketSurvey, SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion, VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradedMinutes, TradingDate
from marketpipe.testing import sessions

OPENS = 330  # minutes after 04:00
REGULAR = 390
VERSION = RecordedVersion("a mark", Timestamp.parse("2024-06-01T00:00:00Z"), "ab" * 32)
THRESHOLDS = CoverageThresholds(**asdict(CoverageConfig()))
Records = Sequence[IngestionCheckpoint | None]


def grid(first: str = "2024-01-02", last: str = "2024-01-31", *, final: bool = True) -> SessionGrid:
    return SessionGrid(tuple(grid_session(session, final) for session in sessions(first, last)))


def traded(minutes: Iterable[int], **changes: object) -> IngestionCheckpoint:
    """Return a complete day with a bar in each of these minutes after the open."""
    return _with_minutes(sum(1 << OPENS + minute for minute in set(minutes)), changes)


def _with_minutes(bits: int, changes: Mapping[str, object]) -> IngestionCheckpoint:
    known = {"rows": bits.bit_count(), "version": VERSION, "minutes": TradedMinutes.of(bits)}
    return IngestionCheckpoint(Outcome.COMPLETE, SessionHours.EXTENDED, **{**known, **changes})  # type: ignore[arg-type]


def full(**changes: object) -> IngestionCheckpoint:
    return _with_minutes(((1 << REGULAR) - 1) << OPENS, changes)


def without(start: int, end: int, **changes: object) -> IngestionCheckpoint:
    """Return a liquid day without bars from minute ``start``, inclusive, to ``end``, exclusive."""
    return traded([minute for minute in range(REGULAR) if not start <= minute < end], **changes)


def thin(seed: object, bars: int, length: int = REGULAR) -> IngestionCheckpoint:
    return traded(Random(str(seed)).sample(range(length), bars))


def empty(answers: int = 1) -> IngestionCheckpoint:
    return IngestionCheckpoint(Outcome.EMPTY, SessionHours.EXTENDED, answers)


def findings(
    days: SessionGrid,
    symbols: Mapping[str, Records],
    *,
    thresholds: CoverageThresholds = THRESHOLDS,
    kind: SessionKind = SessionKind.EXTENDED,
    conditions: Mapping[TradingDate, VersionCondition] | None = None,
    stale: Mapping[TradingDate, tuple[str, ...]] | None = None,
    official: Mapping[str, Mapping[TradingDate, OfficialDay | None]] | None = None,
) -> dict[str, list[Finding]]:
    """Return the findings by symbol, one for each session; the records are those of the sessions, in order."""
    survey = MarketSurvey(days, thresholds)
    known = {
        name: SymbolDays(Symbol(name), records, conditions or {}, official=(official or {}).get(name, {}))
        for name, records in symbols.items()
    }
    for item in known.values():
        survey.add(item.profiles(days), item.silent())
    classifier = CoverageClassifier(days, survey.sessions(), kind, thresholds)
    return {name: classifier.classify(item, stale or {}) for name, item in known.items()}


def verdicts(days: SessionGrid, symbols: Mapping[str, Records], **settings: object) -> dict[str, list[str]]:
    found = findings(days, symbols, **settings)  # type: ignore[arg-type]
    return {name: [str(finding.suspicion or finding.verdict) for finding in some] for name, some in found.items()}
