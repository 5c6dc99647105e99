from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.coverage.verdict import Evidence, Suspicion, Verdict
from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.store_inventory import VersionCondition
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.domain.trading_date import SessionHours, SessionKind
from tests.support.coverage_grids import (
    OPENS,
    REGULAR,
    THRESHOLDS,
    Records,
    empty,
    findings,
    full,
    grid,
    thin,
    traded,
    verdicts,
)
from tests.support.coverage_grids import without as silent
from tests.support.examples import examples

GRID = grid()
DAYS = len(GRID)
MIDDLE = 10


def among(odd: IngestionCheckpoint | None, usual: Records) -> list[IngestionCheckpoint | None]:
    """``odd`` in the middle of ``usual`` sessions."""
    return [*usual[:MIDDLE], odd, *usual[MIDDLE + 1 :]]


def middle(odd: IngestionCheckpoint | None, usual: Records | None = None, **settings: object) -> str:
    records = among(odd, usual or [full()] * DAYS)
    return verdicts(GRID, {"AAPL": records}, **settings)["AAPL"][MIDDLE]


def test_a_day_that_was_fetched_whole_is_complete_with_nothing_to_say() -> None:
    (found,) = {*findings(GRID, {"AAPL": [full()] * DAYS})["AAPL"]}

    assert (found.verdict, found.detail, found.suspicion) == (Verdict.COMPLETE, None, None)


def test_a_day_that_was_never_requested_is_missing_once_it_is_final_and_pending_before() -> None:
    assert middle(None) == "missing"
    assert verdicts(grid(final=False), {"AAPL": [None] * DAYS})["AAPL"] == ["pending"] * DAYS


def test_a_failed_day_is_missing_with_its_error() -> None:
    failed = IngestionCheckpoint(Outcome.FAILED, SessionHours.EXTENDED, error="the provider failed")
    found = findings(GRID, {"AAPL": among(failed, [full()] * DAYS)})["AAPL"][MIDDLE]

    assert (found.verdict, found.detail) == (Verdict.MISSING, "the provider failed")


def test_a_day_asked_for_before_it_was_final_is_partial() -> None:
    assert middle(evolve(full(), outcome=Outcome.PARTIAL)) == "partial"


def test_a_regular_session_is_partial_where_the_extended_one_is_wanted_and_whole_where_it_is_not() -> None:
    regular = evolve(full(), hours=SessionHours.REGULAR)

    assert middle(regular) == "partial"
    assert middle(regular, kind=SessionKind.REGULAR) == "complete"


def test_a_lost_file_is_missing_and_an_altered_one_suspect() -> None:
    date = GRID.dates[MIDDLE]

    assert middle(full(), conditions={date: VersionCondition.GONE}) == "missing"
    assert middle(full(), conditions={date: VersionCondition.ALTERED}) == "file altered"
    assert middle(None, conditions={date: VersionCondition.UNRECORDED}) == "missing"
    assert middle(empty(), conditions={date: VersionCondition.UNRECORDED}) == "file not recorded"


def test_a_confirmed_answer_does_not_excuse_an_altered_file() -> None:
    assert middle(full(answers=9), conditions={GRID.dates[MIDDLE]: VersionCondition.ALTERED}) == "file altered"


def test_aggregates_of_other_minutes_make_a_day_suspect() -> None:
    found = findings(GRID, {"AAPL": [full()] * DAYS}, stale={GRID.dates[3]: ("5m", "1d")})["AAPL"]

    assert [finding.suspicion for finding in found] == [
        Suspicion.STALE_AGGREGATE if i == 3 else None for i in range(DAYS)
    ]
    assert "5m, 1d" in str(found[3].detail)


def test_a_liquid_symbol_with_a_dead_half_hour_is_suspect_and_the_detail_has_the_time() -> None:
    found = findings(GRID, {"AAPL": among(silent(100, 130), [full()] * DAYS)})["AAPL"][MIDDLE]

    assert found.suspicion is Suspicion.HOLES
    assert "from 11:10 to 11:40" in str(found.detail)


def test_a_silence_shorter_than_the_threshold_is_not_suspect() -> None:
    assert middle(silent(100, 129)) == "complete"
    assert middle(silent(100, 129), thresholds=evolve(THRESHOLDS, hole_minutes=29)) == "holes"


def test_a_session_that_stops_before_the_close_is_suspect_sooner() -> None:
    assert middle(silent(REGULAR - 10, REGULAR)) == "stops early"
    assert middle(silent(REGULAR - 9, REGULAR)) == "complete"


def test_a_half_day_ends_at_its_own_close() -> None:
    days = grid("2024-11-18", "2024-12-06")
    half = [str(date) for date in days.dates].index("2024-11-29")
    records: list[IngestionCheckpoint | None] = [full()] * len(days)
    records[half] = traded(range(210))
    assert verdicts(days, {"AAPL": records})["AAPL"] == ["complete"] * len(days)

    records[half] = traded(range(200))
    assert verdicts(days, {"AAPL": records})["AAPL"][half] == "stops early"


@examples(60)
@given(st.integers(0, 10_000), st.integers(5, 60))
def test_a_thin_symbol_is_classified_by_its_own_baseline(seed: int, bars: int) -> None:
    records = [thin((seed, position), bars) for position in range(DAYS)]

    assert verdicts(GRID, {"THIN": records})["THIN"] == ["complete"] * DAYS


def test_forty_minutes_a_day_are_enough_for_a_symbol_that_trades_no_more() -> None:
    usual = [thin(position, 40) for position in range(DAYS)]
    assert middle(thin("another", 40), usual) == "complete"

    morning_only = traded(range(0, 30, 3))
    assert middle(morning_only, usual) == "stops early"


@examples(60)
@given(st.integers(0, REGULAR - 60), st.integers(30, 60), st.integers(0, DAYS - 1))
def test_a_dead_half_hour_is_found_at_every_position(start: int, length: int, position: int) -> None:
    records: list[IngestionCheckpoint | None] = [full()] * DAYS
    records[position] = silent(start, start + length)

    found = verdicts(GRID, {"AAPL": records})["AAPL"]

    assert [i for i, verdict in enumerate(found) if verdict != "complete"] == [position]


def test_one_day_alone_is_classified_by_itself() -> None:
    one = grid("2024-01-02", "2024-01-02")

    assert verdicts(one, {"AAPL": [silent(100, 140)]})["AAPL"] == ["holes"]
    assert verdicts(one, {"THIN": [thin("alone", 40)]})["THIN"] == ["complete"]


def test_minutes_that_every_symbol_lacks_are_a_provider_outage() -> None:
    symbols = {name: among(silent(60, 75), [full()] * DAYS) for name in ("A", "B", "C")}
    symbols["THIN"] = among(thin("hurt", 40), [thin(i, 40) for i in range(DAYS)])
    symbols["THIN"][MIDDLE] = traded(m for m in range(0, REGULAR, 10) if not 60 <= m < 75)

    found = verdicts(GRID, symbols)

    assert {name: some[MIDDLE] for name, some in found.items()} == dict.fromkeys(symbols, "provider outage")
    assert all(some.count("complete") == DAYS - 1 for some in found.values())


def test_minutes_that_one_symbol_of_several_lacks_are_its_own_hole() -> None:
    symbols = {"A": among(silent(60, 100), [full()] * DAYS), "B": [full()] * DAYS}

    assert verdicts(GRID, symbols)["A"][MIDDLE] == "holes"
    assert verdicts(GRID, symbols)["B"] == ["complete"] * DAYS


def test_a_day_on_which_the_whole_market_is_quiet_excuses_quiet_symbols() -> None:
    usual = {f"S{n}": [thin((n, i), 120) for i in range(DAYS)] for n in range(9)}
    quiet = {name: among(thin((name, "quiet"), 60), records) for name, records in usual.items()}
    alone = {**usual, "S0": among(thin("S0 alone", 12), usual["S0"])}

    assert [some[MIDDLE] for some in verdicts(GRID, quiet).values()].count("complete") == 9
    assert verdicts(GRID, alone)["S0"][MIDDLE] in ("holes", "stops early", "too few bars")


def test_a_liquid_symbol_without_a_bar_among_its_busy_days_is_withheld() -> None:
    symbols = {"AAPL": among(empty(), [full()] * DAYS), "MSFT": [full()] * DAYS}
    found = findings(GRID, symbols)["AAPL"][MIDDLE]

    assert found.suspicion is Suspicion.WITHHELD
    assert "about 390 are usual. 1 of 1 other symbols traded" in str(found.detail)


@pytest.mark.parametrize("records", [among(empty(), [full()] * DAYS), [full()] * MIDDLE + [empty()] * (DAYS - MIDDLE)])
def test_without_other_symbols_the_market_is_no_evidence(records: list[IngestionCheckpoint]) -> None:
    found = findings(GRID, {"AAPL": records})["AAPL"][MIDDLE]

    assert (found.suspicion, found.evidence) == (Suspicion.WITHHELD, Evidence.NEIGHBOURS)
    assert "other symbols" not in str(found.detail)


def test_a_day_without_bars_of_any_symbol_is_an_outage() -> None:
    symbols = {name: among(empty(), [full()] * DAYS) for name in ("AAPL", "MSFT")}

    assert [found[MIDDLE] for found in verdicts(GRID, symbols).values()] == ["provider outage"] * 2


def test_a_symbol_that_seldom_trades_may_have_nothing_for_a_day() -> None:
    usual = [thin(i, 6) for i in range(DAYS)]

    assert middle(empty(), usual) == "empty"


CONFIRMED = {
    "holes": (silent(100, 200, answers=2), [full()] * DAYS),
    "stops early": (silent(300, REGULAR, answers=2), [full()] * DAYS),
    "too few bars": (traded(range(0, REGULAR, 19), answers=2), [full()] * DAYS),
    "withheld": (empty(answers=2), [full()] * DAYS),
    "all rejected": (IngestionCheckpoint(Outcome.COMPLETE, SessionHours.EXTENDED, 2, rejected=390), [full()] * DAYS),
}


@pytest.mark.parametrize("suspicion", CONFIRMED)
def test_what_the_provider_repeats_is_short_and_the_reason_stays(suspicion: str) -> None:
    odd, usual = CONFIRMED[suspicion]
    found = findings(GRID, {"AAPL": among(odd, usual)})["AAPL"][MIDDLE]

    assert (found.verdict, str(found.suspicion)) == (Verdict.SHORT, suspicion)
    assert "; the provider gave the same answer 2 times" in str(found.detail)
    patient = evolve(THRESHOLDS, confirmations=3)
    assert findings(GRID, {"AAPL": among(odd, usual)}, thresholds=patient)["AAPL"][MIDDLE].verdict is Verdict.SUSPECT


def test_an_outage_that_the_provider_repeats_is_short_for_every_symbol() -> None:
    symbols = {name: among(silent(60, 75, answers=2), [full()] * DAYS) for name in ("A", "B", "C")}

    found = [some[MIDDLE] for some in findings(GRID, symbols).values()]

    assert {(each.verdict, each.suspicion) for each in found} == {(Verdict.SHORT, Suspicion.OUTAGE)}


def test_a_thin_symbol_that_repeats_an_unsuspicious_answer_is_not_short() -> None:
    assert middle(full(answers=5)) == "complete"
    assert middle(empty(answers=5), [thin(i, 6) for i in range(DAYS)]) == "empty"


def test_a_verdict_names_what_it_rests_on() -> None:
    one = grid("2024-01-02", "2024-01-02")
    alone, several = {"AAPL": [full()] * DAYS}, {"AAPL": [full()] * DAYS, "MSFT": [full()] * DAYS}

    assert str(findings(one, {"AAPL": [full()]})["AAPL"][0].evidence) == "nothing"
    assert str(findings(one, {"AAPL": [full()], "MSFT": [full()]})["AAPL"][0].evidence) == "market"
    assert {str(found.evidence) for found in findings(GRID, alone)["AAPL"]} == {"neighbours"}
    assert {str(found.evidence) for found in findings(GRID, several)["MSFT"]} == {"neighbours+market"}
    assert str(findings(GRID, {"AAPL": among(None, [full()] * DAYS)})["AAPL"][MIDDLE].evidence) == "record"
    assert str(findings(GRID, {"AAPL": among(silent(9, 99), [full()] * DAYS)})["AAPL"][MIDDLE].evidence) == "neighbours"


def test_a_day_of_which_every_bar_was_rejected_is_suspect() -> None:
    rejected = IngestionCheckpoint(Outcome.COMPLETE, SessionHours.EXTENDED, rejected=390)

    assert middle(rejected) == "all rejected"


def test_before_its_first_and_after_its_last_bars_a_symbol_is_unlisted() -> None:
    records = [empty()] * 6 + [full()] * 9 + [evolve(empty(2), days=2)] * 5 + [empty()] * (DAYS - 20)

    assert verdicts(GRID, {"NEW": records})["NEW"] == ["unlisted"] * 6 + ["complete"] * 9 + ["unlisted"] * (DAYS - 15)


def test_a_busy_symbol_without_newer_bars_is_withheld_until_the_answer_came_on_two_dates() -> None:
    for answers, expected in ((empty(), "withheld"), (empty(2), "withheld"), (evolve(empty(2), days=2), "unlisted")):
        records = [full()] * (DAYS - 6) + [answers] * 5 + [empty()]
        assert verdicts(GRID, {"A": records, "B": [full()] * DAYS})["A"][-6:] == [expected] * 6


def test_a_thin_symbol_without_newer_bars_is_unlisted_at_once() -> None:
    records = [thin(i, 5) for i in range(DAYS - 6)] + [empty()] * 6

    assert verdicts(GRID, {"A": records, "B": [full()] * DAYS})["A"][-6:] == ["unlisted"] * 6


def test_days_that_were_never_requested_are_missing_not_unlisted() -> None:
    records = [None] * 3 + [empty()] * 6 + [full()] * (DAYS - 9)
    assert verdicts(GRID, {"NEW": records})["NEW"][:10] == ["missing"] * 3 + ["unlisted"] * 6 + ["complete"]

    unsure = [empty()] * 6 + [None] + [full()] * (DAYS - 7)
    found = verdicts(GRID, {"NEW": unsure})["NEW"]
    assert found[6] == "missing"
    assert "unlisted" not in found


def test_few_silent_days_at_an_end_are_suspect_and_short_if_they_are_answered_twice() -> None:
    assert verdicts(GRID, {"AAPL": [full()] * (DAYS - 2) + [empty()] * 2})["AAPL"][-2:] == ["withheld"] * 2
    found = findings(GRID, {"AAPL": [full()] * (DAYS - 2) + [empty(2)] * 2})["AAPL"]
    assert [finding.verdict for finding in found[-2:]] == [Verdict.SHORT] * 2


def test_a_symbol_that_often_pauses_is_not_unlisted_for_another_pause() -> None:
    pause = [thin(i, 5) if i % 8 == 0 else empty() for i in range(DAYS)]

    found = verdicts(GRID, {"RARE": pause})["RARE"]

    assert set(found) == {"complete", "empty"}


def test_a_symbol_without_any_bars_is_empty() -> None:
    assert verdicts(GRID, {"NONE": [empty()] * DAYS})["NONE"] == ["empty"] * DAYS


def test_the_open_is_where_the_regular_session_begins_in_summer_and_in_winter() -> None:
    days = grid("2024-03-04", "2024-03-15")

    assert {item.opens for item in days.sessions} == {OPENS}
    assert {item.length for item in days.sessions} == {REGULAR}
