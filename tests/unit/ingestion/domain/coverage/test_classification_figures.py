"""What prices and volumes show of a session, and what an agreeing official day refutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve

from marketpipe.ingestion.domain.coverage.classification import CoverageClassifier, suspect_if_dated_ahead
from marketpipe.ingestion.domain.coverage.market import MarketSession, SymbolDays
from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, Verdict
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.ingestion.domain.restatement import FORMER_SCALE
from marketpipe.shared_kernel.domain.ohlcv_bar import OfficialDay
from marketpipe.shared_kernel.domain.symbol import Outcome, Symbol
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind, TradingDate
from tests.support.coverage_grids import THRESHOLDS, VERSION, full, grid, traded, verdicts
from tests.support.figure_grids import record, scaled, walk

GRID = grid("2024-01-02", "2024-04-30")
COUNT, ODD = len(GRID), 40
MARKET = [MarketSession(1.0, 1, 0)] * COUNT
AAPL, MSFT = Symbol("AAPL"), Symbol("MSFT")
Records = Sequence[IngestionCheckpoint | None]


def classified(
    records: Records,
    copied: Mapping[int, Symbol] | None = None,
    official: Mapping[TradingDate, OfficialDay | None] | None = None,
) -> list[Finding]:
    days = SymbolDays(AAPL, records, {}, official=official or {})
    return CoverageClassifier(GRID, MARKET, SessionKind.EXTENDED, THRESHOLDS).classify(days, {}, copied)


def walked() -> list[IngestionCheckpoint]:
    return [record(day) for day in walk(1, COUNT)]


def agreeing(records: Sequence[IngestionCheckpoint]) -> dict[TradingDate, OfficialDay | None]:
    known = dict[TradingDate, OfficialDay | None]()
    for date, each in zip(GRID.dates, records, strict=True):
        assert each.figures is not None
        day = each.figures
        known[date] = OfficialDay(day.open, day.high, day.low, day.auction_open, day.total_volume)
    return known


def test_bars_of_another_symbol_are_suspect_and_short_once_the_answer_repeats() -> None:
    records = walked()
    found = classified(records, {ODD: MSFT})
    assert (found[ODD].verdict, found[ODD].suspicion) == (Verdict.SUSPECT, Suspicion.COPIED)

    records[ODD] = evolve(records[ODD], answers=THRESHOLDS.confirmations)
    found = classified(records, {ODD: MSFT})
    assert (found[ODD].verdict, found[ODD].suspicion) == (Verdict.SHORT, Suspicion.COPIED)


def test_bars_that_hold_the_official_volume_are_the_symbols_own() -> None:
    records = walked()

    assert classified(records, {ODD: MSFT}, agreeing(records))[ODD].verdict is Verdict.COMPLETE


def test_a_session_that_is_missing_stays_so_whatever_its_figures_show() -> None:
    records: list[IngestionCheckpoint | None] = [*walked()]
    records[ODD] = None

    assert classified(records, {ODD: MSFT})[ODD].verdict is Verdict.MISSING


def test_a_likely_split_is_a_note_on_a_complete_session() -> None:
    days = walk(1, COUNT)
    days[ODD:] = [scaled(day, 0.1, 10) for day in days[ODD:]]

    found = classified([record(day) for day in days])[ODD]

    assert (found.verdict, found.suspicion) == (Verdict.COMPLETE, None)
    assert "likely a 10:1 split" in str(found.detail)


def test_a_session_of_a_former_scale_is_suspect_until_it_is_requested_again() -> None:
    failed = IngestionCheckpoint(Outcome.FAILED, SessionHours.EXTENDED, error=FORMER_SCALE)

    assert classified([*walked()[:-1], failed])[-1].suspicion is Suspicion.FORMER_SCALE


def test_only_complete_bars_that_are_dated_after_now_are_suspect() -> None:
    latest, later = Timestamp.parse("2024-06-01T00:00:00Z"), Timestamp.parse("2024-06-01T00:00:01Z")
    ahead = full(version=evolve(VERSION, known_since=later))
    complete, missing = Finding(Verdict.COMPLETE), Finding(Verdict.MISSING)
    records = [ahead, full(version=evolve(VERSION, known_since=latest)), ahead, None, full(version=None)]

    found = suspect_if_dated_ahead([complete, complete, missing, complete, complete], records, latest)

    assert [each.suspicion for each in found] == [Suspicion.CLOCK, None, None, None, None]
    assert f"known since {later} by a clock that was ahead" in str(found[0].detail)


def test_a_silence_that_is_the_habit_of_a_weekday_is_not_suspect() -> None:
    morning = traded(range(100))
    records = [morning if date.day.weekday() == 4 else full() for date in GRID.dates]
    friday = next(i for i, date in enumerate(GRID.dates) if i > ODD and date.day.weekday() == 4)
    assert verdicts(GRID, {"AAPL": records})["AAPL"][friday] == "complete"

    records[friday - 1] = morning
    assert verdicts(GRID, {"AAPL": records})["AAPL"][friday - 1] == "stops early"
