from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.coverage.verdict import Finding, Suspicion, Verdict
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures, OfficialDay
from tests.support.coverage_grids import REGULAR, empty, findings, full, grid, thin, without
from tests.support.coverage_grids import traded as minutes_of

GRID = grid()
DAYS, MIDDLE = len(GRID), 10
FIGURES = DayFigures(
    open=50.0, high=51.0, low=49.0, close=50.4, volume=9e5, late_volume=1e5, auction_open=50.5, auction_volume=8e4
)
OFFICIAL = OfficialDay(50.0, 51.0, 49.0, 50.5, 1e6)
Official = OfficialDay | None


def traded(record: IngestionCheckpoint | None = None, **changes: float) -> IngestionCheckpoint:
    return evolve(record or full(), figures=FIGURES._replace(**changes))


def judged(
    records: dict[int, IngestionCheckpoint], official: dict[int, Official], usual: Sequence[Official] = (OFFICIAL,)
) -> list[Finding]:
    """Judge good days of AAPL, among them the ``records`` and ``official`` days at these positions."""
    known = {date: official.get(i, usual[0]) for i, date in enumerate(GRID.dates)}
    days = [records.get(i, traded()) for i in range(DAYS)]
    return findings(GRID, {"AAPL": days, "MSFT": [full()] * DAYS}, official={"AAPL": known})["AAPL"]


def middle(record: IngestionCheckpoint, official: Official) -> Finding:
    return judged({MIDDLE: record}, {MIDDLE: official})[MIDDLE]


def shown(found: Finding) -> tuple[str, str, str]:
    return str(found.verdict), str(found.suspicion or ""), str(found.evidence)


def test_a_day_that_agrees_rests_on_the_official_day_too() -> None:
    assert {shown(found) for found in judged({}, {})} == {("complete", "", "official+neighbours+market")}


def test_minutes_that_hold_a_part_of_the_official_volume_are_suspect_and_short_if_the_answer_repeats() -> None:
    found = middle(traded(volume=5.1e5), OFFICIAL)

    assert shown(found) == ("suspect", "differs from official day", "official")
    assert found.detail == "minutes hold 61% of the official volume; 100% is usual"
    assert shown(middle(traded(full(answers=2), volume=5.1e5), OFFICIAL))[:2] == ("short", "differs from official day")


def test_a_silence_that_costs_no_volume_is_a_halt_and_no_loss() -> None:
    halted = traded(without(100, 190))

    assert shown(middle(halted, OFFICIAL))[0] == "complete"
    assert shown(judged({MIDDLE: halted}, dict.fromkeys(range(DAYS)))[MIDDLE])[1] == "holes"


def test_no_bars_but_an_official_volume_are_withheld_whatever_the_neighbours_did() -> None:
    rare = {i: thin(i, 3) if i % 4 == 0 else empty() for i in range(DAYS)}
    usual = {i: None if record.rows == 0 else OFFICIAL for i, record in rare.items()}
    found = judged(rare, {**usual, 13: evolve(OFFICIAL, volume=2_300.0)})

    assert shown(found[13]) == ("suspect", "withheld", "official")
    assert found[13].detail == "no bars; the official day has a volume of 2,300"
    assert [
        i for i, each in enumerate(found) if each.verdict is Verdict.SUSPECT and each.suspicion is Suspicion.WITHHELD
    ] == [13]
    assert shown(middle(empty(2), OFFICIAL)) == ("short", "withheld", "official")


def test_shares_below_a_lot_need_no_bar() -> None:
    assert shown(middle(empty(), evolve(OFFICIAL, volume=99.0))) == ("empty", "", "official")


def test_no_bars_and_no_official_day_are_empty_for_sure_among_the_busiest_neighbours() -> None:
    assert shown(middle(empty(), None)) == ("empty", "", "official")


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_symbol_is_unlisted_before_its_first_official_day_and_after_its_last(count: int) -> None:
    outside = [*range(count), *range(DAYS - count, DAYS)]

    found = judged(dict.fromkeys(outside, empty()), dict.fromkeys(outside))

    assert [shown(found[i]) for i in outside] == [("unlisted", "", "official")] * len(outside)
    assert {found[i].verdict for i in range(count, DAYS - count)} == {Verdict.COMPLETE}


def test_a_provider_without_official_days_of_a_symbol_shows_nothing() -> None:
    found = judged({MIDDLE: empty()}, {}, usual=(None,))

    assert shown(found[MIDDLE])[:2] == ("suspect", "withheld")
    assert {str(each.verdict) for i, each in enumerate(found) if i != MIDDLE} == {"complete"}


def test_minutes_without_an_official_day_are_suspect_but_the_official_day_may_be_wrong() -> None:
    found = middle(traded(), None)

    assert shown(found) == ("suspect", "no official day", "official")
    assert "it may be the official day that is wrong" in str(found.detail)
    assert shown(middle(traded(full(answers=2)), None))[0] == "short"
    assert shown(middle(traded(volume=400.0), None))[0] == "complete"


def test_a_day_without_figures_is_judged_by_its_neighbours() -> None:
    assert shown(middle(full(), OFFICIAL)) == ("complete", "", "neighbours+market")
    assert shown(middle(without(100, 190), OFFICIAL))[1] == "holes"


@pytest.mark.parametrize("last", [120, 150])
def test_a_market_that_is_silent_at_the_same_time_each_day_is_cut_unless_the_official_volume_is_there(
    last: int,
) -> None:
    records = [traded(without(last, REGULAR)) for _ in range(DAYS)]
    symbols, known = dict.fromkeys(("AAPL", "MSFT"), records), dict.fromkeys(GRID.dates, OFFICIAL)

    found = findings(GRID, symbols, official={"AAPL": known})

    assert {str(one.verdict) for one in found["AAPL"]} == {"complete"}
    assert {str(one.verdict) for one in found["MSFT"]} == {"suspect"}


@pytest.mark.parametrize(("volume", "verdict"), [(9e5, "complete"), (9e5 - 1500, "suspect")])
def test_minutes_that_all_symbols_lack_are_quiet_if_the_official_volume_is_there(volume: float, verdict: str) -> None:
    quiet = minutes_of({*range(REGULAR)} - {40, 41, 90, 160, 230, 300, 301, 302})
    records = {
        name: [full()] * MIDDLE + [quiet] + [full()] * (DAYS - MIDDLE - 1) for name in ("MSFT", "KO", "PEP", "T")
    }
    days = [traded()] * MIDDLE + [traded(quiet, volume=volume)] + [traded()] * (DAYS - MIDDLE - 1)
    official = {"AAPL": dict.fromkeys(GRID.dates, OFFICIAL)}
    found = findings(GRID, {"AAPL": days, **records}, official=official)

    assert str(found["AAPL"][MIDDLE].verdict) == verdict
    assert str(found["KO"][MIDDLE].suspicion) == "provider outage"
