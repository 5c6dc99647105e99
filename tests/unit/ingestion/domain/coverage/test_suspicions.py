"""Each suspicion by the minutes alone: the smallest input that shows it, and the twin that must not be suspect."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from attrs import evolve

from marketpipe.ingestion.domain.ingestion_checkpoint import IngestionCheckpoint
from marketpipe.shared_kernel.domain.trading_date import SessionHours, TradedMinutes
from tests.support.coverage_grids import OPENS, REGULAR, empty, findings, full, grid, thin, traded, verdicts

SHORT, LONG = grid("2024-02-05", "2024-02-16"), grid("2024-01-02", "2024-04-30")
"""Two weeks; four months, in which the clocks change on 10 March."""
AUTUMN = grid("2024-11-04", "2024-12-31")
"""With two half days."""


def dense(seed: object, silent_share: float = 0.02, first: int = 0, last: int = REGULAR) -> IngestionCheckpoint:
    random = Random(str(seed))
    return traded(minute for minute in range(first, last) if random.random() >= silent_share)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 150), (0, 330), (0, 360), (0, 385), (15, 390), (60, 390), (5, 385)], ids=str
)
@pytest.mark.parametrize("days", [SHORT, AUTUMN], ids=["two weeks", "autumn"])
@pytest.mark.parametrize("symbols", [("AAPL",), ("AAPL", "MSFT", "SPY")], ids=len)
def test_dense_sessions_that_all_begin_or_end_at_one_minute_are_cut(
    first: int, last: int, days: object, symbols: tuple[str, ...]
) -> None:
    sessions = SHORT if days is SHORT else AUTUMN
    records = {
        name: [dense((name, i), first=first, last=min(last, item.length)) for i, item in enumerate(sessions.sessions)]
        for name in symbols
    }

    found = findings(sessions, records)

    for name in symbols:
        for item, finding in zip(sessions.sessions, found[name], strict=True):
            is_cut = first > 0 or item.length > last
            assert str(finding.verdict) == ("suspect" if is_cut else "complete"), (item, finding)


def test_the_detail_of_a_cut_has_the_minutes_of_the_clock() -> None:
    records = [traded(range(150)) for _ in range(len(SHORT))]
    (found,) = {*findings(SHORT, {"AAPL": records})["AAPL"]}

    assert str(found.suspicion) == "cut at the same minute"
    assert "from 12:00 to 16:00 New York time" in str(found.detail)


def test_an_hour_that_is_lost_in_the_middle_of_every_day_is_a_cut() -> None:
    records = [traded(m for m in range(REGULAR) if not 120 <= m < 180) for _ in range(len(SHORT))]

    assert set(verdicts(SHORT, {"AAPL": records})["AAPL"]) == {"cut at the same minute"}


def test_a_symbol_that_stops_at_times_of_its_own_has_no_cut() -> None:
    random = Random(3)
    for density in (1.0, 0.5, 0.2):
        records = [
            traded(m for m in range(random.randint(120, 200)) if random.random() < density) for _ in range(len(LONG))
        ]
        assert "cut at the same minute" not in verdicts(LONG, {"OWN": records})["OWN"]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3, 0.6, 0.9])
def test_symbols_that_trade_to_the_close_are_complete(share: float) -> None:
    records = [dense((share, i), share, last=item.length) for i, item in enumerate(AUTUMN.sessions)]

    assert set(verdicts(AUTUMN, {"OWN": records})["OWN"]) == {"complete"}


def test_a_thin_symbol_of_a_store_that_is_cut_is_suspect_with_it() -> None:
    symbols = {name: [traded(range(150)) for _ in range(len(SHORT))] for name in ("AAPL", "MSFT")}
    symbols["THIN"] = [thin(i, 20, 150) for i in range(len(SHORT))]

    assert set(verdicts(SHORT, symbols)["THIN"]) == {"provider outage"}


def lacking(minutes: range | list[int], **changes: object) -> IngestionCheckpoint:
    return traded([m for m in range(REGULAR) if m not in minutes], **changes)


@pytest.mark.parametrize("minutes", [range(100, 109), [3, 50, 77, 140, 200, 201, 260, 301, 388], [200], [0]], ids=str)
def test_minutes_that_ten_liquid_symbols_lack_at_once_are_lost(minutes: range | list[int]) -> None:
    symbols = {f"S{n}": [dense((n, i), 0.005) for i in range(len(SHORT))] for n in range(10)}
    for name in symbols:
        symbols[name][4] = lacking(minutes)
    symbols["THIN"] = [thin((i, "thin"), 40) for i in range(len(SHORT))]

    found = findings(SHORT, symbols)

    for n in range(10):
        assert [i for i, finding in enumerate(found[f"S{n}"]) if finding.detail] == [4]
        assert str(found[f"S{n}"][4].suspicion) == "provider outage"
    assert "in which 10 of 10 liquid symbols have none" in str(found["S0"][4].detail)
    assert {str(finding.verdict) for finding in found["THIN"]} == {"complete"}


def test_one_symbol_that_lacks_three_minutes_is_complete() -> None:
    symbols = {f"S{n}": [dense((n, i), 0.005) for i in range(len(SHORT))] for n in range(10)}
    symbols["S0"][4] = lacking([100, 101, 102])

    assert {v for some in verdicts(SHORT, symbols).values() for v in some} == {"complete"}


@pytest.mark.parametrize("share", [0.05, 0.07, 0.1])
@pytest.mark.parametrize("count", [2, 3])
def test_a_few_symbols_that_now_and_then_lack_the_same_minute_lost_nothing(share: float, count: int) -> None:
    """Two symbols with a bar in 93 of 100 minutes lack two minutes of a session together, by chance."""
    found = verdicts(LONG, {f"S{n}": [dense((n, i), share) for i in range(len(LONG))] for n in range(count)})

    assert {one for days in found.values() for one in days} == {"complete"}


def test_a_quiet_noon_of_all_symbols_is_no_outage() -> None:
    def at_noon(seed: object) -> IngestionCheckpoint:
        random = Random(str(seed))
        return traded(m for m in range(REGULAR) if random.random() < (0.75 if 150 <= m < 240 else 0.98))

    symbols = {f"S{n}": [at_noon((n, i)) for i in range(len(LONG))] for n in range(8)}

    assert {v for some in verdicts(LONG, symbols).values() for v in some} == {"complete"}


def lost_days(first: str, last: str) -> list[int]:
    return [i for i, date in enumerate(LONG.dates) if first <= str(date) <= last]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2024-02-28", "2024-03-13"),
        ("2024-04-16", "2024-04-30"),
        ("2024-02-01", "2024-04-30"),
        ("2024-03-04", "2024-03-06"),
    ],
)
@pytest.mark.parametrize("kept", [1, 20, 90], ids=lambda kept: f"{kept} bars kept")
def test_a_loss_that_lasts_is_no_habit(first: str, last: str, kept: int) -> None:
    lost = lost_days(first, last)
    records = [dense(i) for i in range(len(LONG))]
    for i in lost:
        records[i] = thin((i, "lost"), kept) if kept > 1 else traded([0])

    found = verdicts(LONG, {"A": records, "B": [dense((i, "B")) for i in range(len(LONG))]})

    assert [i for i, verdict in enumerate(found["A"]) if verdict != "complete"] == lost
    assert set(found["B"]) == {"complete"}


def test_growth_and_decline_over_months_are_no_change() -> None:
    for sign in (1, -1):
        records = [thin((sign, i), round(40 * 8 ** (sign * (i / len(LONG) - 0.5)) + 5)) for i in range(len(LONG))]
        assert set(verdicts(LONG, {"OWN": records})["OWN"]) == {"complete"}


def test_a_busy_week_that_ends_is_no_loss() -> None:
    records = [thin(("usual", i), 60) for i in range(len(LONG))]
    for i in range(40, 50):
        records[i] = dense(i)

    assert set(verdicts(LONG, {"NEWS": records})["NEWS"]) == {"complete"}


def test_a_new_level_that_was_confirmed_is_the_usual_one() -> None:
    records = [dense(i) for i in range(len(LONG))]
    for i in range(60, len(LONG)):
        records[i] = evolve(thin(i, 30), answers=2 if i < 65 else 1)

    found = [str(finding.verdict) for finding in findings(LONG, {"OLD": records})["OLD"]]

    assert found == ["short" if 60 <= i < 65 else "complete" for i in range(len(LONG))]


@pytest.mark.parametrize("share", [0.6, 0.75, 0.9])
def test_a_random_loss_of_most_bars_of_one_day_is_suspect(share: float) -> None:
    for silent in (0.0, 0.02, 0.1):
        records = [dense((i, silent), silent) for i in range(len(SHORT))]
        records[4] = dense("lost", 1 - (1 - silent) * (1 - share))
        assert [i for i, v in enumerate(verdicts(SHORT, {"A": records})["A"]) if v != "complete"] == [4]


def test_a_day_of_a_thin_symbol_with_a_third_of_its_bars_is_its_own() -> None:
    records = [thin(i, 45) for i in range(len(SHORT))]
    records[4] = thin("quiet", 15)

    assert verdicts(SHORT, {"A": records})["A"][4] == "complete"


def extended(early: int, late: int, seed: object = 0) -> IngestionCheckpoint:
    random = Random(str(seed))
    bits = sum(1 << m for m in random.sample(range(OPENS), early)) + (((1 << REGULAR) - 1) << OPENS)
    bits |= 1 << OPENS + REGULAR  # the closing auction
    bits |= sum(1 << m for m in random.sample(range(OPENS + REGULAR + 5, 960), late))
    return IngestionCheckpoint(
        full().outcome, SessionHours.EXTENDED, rows=1, version=full().version, minutes=TradedMinutes.of(bits)
    )


@pytest.mark.parametrize(
    ("early", "late", "name"), [(90, 0, "no bars after the close"), (0, 120, "no bars before the open")]
)
@pytest.mark.parametrize("lost", [[4], [8, 9], list(range(40, 55)), list(range(70, 83))], ids=len)
def test_an_evening_or_a_morning_is_missed_if_the_symbol_trades_in_it_day_after_day(
    early: int, late: int, name: str, lost: list[int]
) -> None:
    symbols = {n: [extended(90, 120, (n, i)) for i in range(len(LONG))] for n in ("A", "B")}
    for i in lost:
        symbols["A"][i] = extended(early, late, i)

    found = findings(LONG, symbols)

    assert [i for i, finding in enumerate(found["A"]) if finding.detail] == lost
    assert name in str(found["A"][lost[0]].detail)
    assert {str(finding.verdict) for finding in found["B"]} == {"complete"}


def test_an_evening_with_few_bars_as_usual_is_complete() -> None:
    random = Random(5)
    records = [extended(random.randint(0, 20), random.randint(0, 15), i) for i in range(len(LONG))]

    assert set(verdicts(LONG, {"A": records})["A"]) == {"complete"}


def test_hours_that_were_not_requested_are_not_missed() -> None:
    records = [extended(90, 120, i) for i in range(len(SHORT))]
    records[4] = evolve(full(), hours=SessionHours.REGULAR)

    assert Counter(verdicts(SHORT, {"A": records})["A"]) == {"complete": len(SHORT) - 1, "partial": 1}


@pytest.mark.parametrize("weekdays", [{0}, {1, 3}, {0, 2, 4}, {0, 1, 2, 3}], ids=str)
def test_a_symbol_that_trades_on_some_weekdays_only_has_nothing_withheld_on_others(weekdays: set[int]) -> None:
    records = [dense(i) if date.day.weekday() in weekdays else empty() for i, date in enumerate(LONG.dates)]

    found = verdicts(LONG, {"CLUB": records, "B": [dense((i, "B")) for i in range(len(LONG))]})["CLUB"]

    assert set(found) == {"complete", "empty"}


def test_a_weekday_on_which_the_symbol_used_to_trade_is_withheld() -> None:
    records = [
        empty() if date.day.weekday() == 4 and str(date) > "2024-03-10" else dense(i)
        for i, date in enumerate(LONG.dates)
    ]

    assert "withheld" in verdicts(LONG, {"A": records, "B": [dense((i, "B")) for i in range(len(LONG))]})["A"]


def test_a_weekday_with_few_bars_is_compared_with_its_own_kind() -> None:
    for busy in ({0, 1, 2, 3}, {0}):
        records = [dense(i) if date.day.weekday() in busy else thin(i, 30) for i, date in enumerate(LONG.dates)]
        assert set(verdicts(LONG, {"A": records})["A"]) == {"complete"}


@pytest.mark.parametrize(("lacking", "suspected"), [(range(100, 125), True), (range(100, 106), False)])
def test_a_symbol_that_lacks_few_of_the_minutes_which_many_lack_is_not_part_of_the_outage(
    lacking: range, suspected: bool
) -> None:
    records = {f"S{number}": [full() for _ in range(len(SHORT))] for number in range(12)}
    for name in list(records)[:8]:
        records[name][4] = traded(minute for minute in range(REGULAR) if not 100 <= minute < 125)
    records["S8"][4] = traded(minute for minute in range(REGULAR) if minute not in lacking)

    assert (verdicts(SHORT, records)["S8"][4] == "provider outage") == suspected
