"""Days that are not over, delays, regular and extended hours: what is asked for when the clock has moved on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from marketpipe.shared_kernel.domain.errors import DatasetMismatchError, ProviderUnavailableError
from marketpipe.shared_kernel.domain.symbol import Outcome
from marketpipe.shared_kernel.events import BarsExhausted
from marketpipe.testing import FakeClock
from tests.support.builders import day
from tests.support.pipeline_ring import (
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    config,
    contents,
    fingerprints,
    minutes,
    pipeline,
    stored_rows,
)
from tests.support.scripted_provider import ScriptedProvider

IN_SESSION = f"{WEDNESDAY}T15:00:00Z"
TO_FINAL = timedelta(hours=10).total_seconds()


def test_a_running_session_is_stored_as_partial_and_asked_for_again_when_it_is_over(tmp_path: Path) -> None:
    tuesday, wednesday = minutes(TUESDAY, 3), minutes(WEDNESDAY, 10, start="14:56")
    provider, clock = ScriptedProvider({"AAPL": {TUESDAY: tuesday, WEDNESDAY: wednesday}}), FakeClock(IN_SESSION)
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY), provider, clock) as made:
        first = made.ingest()
        assert first.outcomes[day("AAPL", WEDNESDAY)].outcome is Outcome.PARTIAL
        assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == wednesday[:4]
        assert first.ok

        provider.forget()
        clock.advance(120)
        made.ingest()
        assert provider.asked == [f"AAPL {WEDNESDAY}"]
        assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == wednesday[:6]

        provider.forget()
        clock.advance(TO_FINAL)
        last = made.ingest()
        assert provider.asked == [f"AAPL {WEDNESDAY}"]
        assert last.outcomes[day("AAPL", WEDNESDAY)].outcome is Outcome.COMPLETE
        assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == wednesday

        provider.forget()
        made.ingest()
        assert provider.requests == []


def test_a_bar_of_a_minute_that_has_not_ended_is_not_stored(tmp_path: Path) -> None:
    rows = minutes(WEDNESDAY, 3, start="14:58")
    provider, clock = ScriptedProvider({"AAPL": {WEDNESDAY: rows}}), FakeClock(f"{WEDNESDAY}T14:59:59Z")

    with pipeline(config(tmp_path, ["AAPL"], WEDNESDAY, WEDNESDAY), provider, clock) as made:
        made.ingest()

    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == rows[:1]


def test_a_day_restated_between_partial_and_final_is_replaced(tmp_path: Path) -> None:
    """One bar corrected, one withdrawn, one that had been missing."""
    sent = minutes(WEDNESDAY, 4)
    provider, clock = ScriptedProvider({"AAPL": {WEDNESDAY: sent}}), FakeClock(IN_SESSION)
    with pipeline(config(tmp_path, ["AAPL"], WEDNESDAY, WEDNESDAY), provider, clock) as made:
        made.ingest()
        assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == sent

        earlier, later = minutes(WEDNESDAY, 1, start="14:29", price=99.0), {**sent[1], "volume": 5.0}
        restated = [*earlier, sent[0], later, sent[3]]
        provider.bars["AAPL"][WEDNESDAY] = restated
        clock.advance(TO_FINAL)
        report = made.ingest()

    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == restated
    assert (report.ok, report.bars) == (True, 4)


def test_a_partial_answer_that_leaves_bars_out_takes_none_away(tmp_path: Path) -> None:
    sent = minutes(WEDNESDAY, 4)
    provider, clock = ScriptedProvider({"AAPL": {WEDNESDAY: sent}}), FakeClock(IN_SESSION)
    with pipeline(config(tmp_path, ["AAPL"], WEDNESDAY, WEDNESDAY), provider, clock) as made:
        made.ingest()
        provider.bars["AAPL"][WEDNESDAY] = sent[2:]
        made.ingest()
        assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == sent

        provider.bars["AAPL"].clear()
        report = made.ingest()

    found = report.outcomes[day("AAPL", WEDNESDAY)]
    assert (found.outcome, found.rows) == (Outcome.PARTIAL, 4)
    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == sent


def test_final_silence_where_bars_are_stored_fails_and_keeps_them(tmp_path: Path) -> None:
    sent = minutes(WEDNESDAY, 4)
    provider, clock = ScriptedProvider({"AAPL": {WEDNESDAY: sent}}), FakeClock(IN_SESSION)
    with pipeline(config(tmp_path, ["AAPL"], WEDNESDAY, WEDNESDAY), provider, clock) as made:
        made.ingest()
        provider.bars["AAPL"].clear()
        clock.advance(TO_FINAL)

        report = made.ingest()

    assert report.state == "failed"
    assert report.failures == {
        day("AAPL", WEDNESDAY): "the provider returned no bars, but 4 bars are stored; they are kept"
    }
    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == sent


def test_sessions_that_have_not_begun_are_neither_asked_for_nor_remembered(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY), WEDNESDAY: minutes(WEDNESDAY)}})
    clock = FakeClock(f"{WEDNESDAY}T08:59:00Z")
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY), provider, clock) as made:
        report = made.ingest()
        assert (report.planned, report.not_begun, report.ok) == (1, 1, True)
        assert provider.asked == [f"AAPL {TUESDAY}"]

        clock.advance(24 * 3600)
        made.ingest()

    assert provider.asked == [f"AAPL {TUESDAY}", f"AAPL {WEDNESDAY}"]


def test_a_session_that_has_begun_without_bars_yet_is_asked_for_again(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {WEDNESDAY: minutes(WEDNESDAY)}})
    clock = FakeClock(f"{WEDNESDAY}T09:30:00Z")
    with pipeline(config(tmp_path, ["AAPL"], WEDNESDAY, WEDNESDAY), provider, clock) as made:
        first = made.ingest()
        clock.advance(TO_FINAL * 2)
        made.ingest()

    found = first.outcomes[day("AAPL", WEDNESDAY)]
    assert (found.outcome, found.rows) == (Outcome.PARTIAL, 0)
    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == minutes(WEDNESDAY)


@pytest.mark.parametrize(("now", "outcome"), [("01:14:59", Outcome.PARTIAL), ("01:15:00", Outcome.COMPLETE)])
def test_a_session_is_complete_only_after_the_providers_delay(tmp_path: Path, now: str, outcome: Outcome) -> None:
    provider = ScriptedProvider({"AAPL": {WEDNESDAY: minutes(WEDNESDAY)}}, delay=timedelta(minutes=15))

    with pipeline(config(tmp_path, ["AAPL"], WEDNESDAY, WEDNESDAY), provider, FakeClock(f"2024-01-04T{now}Z")) as made:
        report = made.ingest()

    assert report.outcomes[day("AAPL", WEDNESDAY)].outcome is outcome


def test_a_half_day_is_complete_after_its_extended_close_at_five(tmp_path: Path) -> None:
    half_day = "2024-07-03"  # regular hours end at 17:00Z, extended ones at 21:00Z
    provider = ScriptedProvider({"AAPL": {half_day: minutes(half_day)}})
    clock = FakeClock(f"{half_day}T18:00:00Z")
    with pipeline(config(tmp_path, ["AAPL"], half_day, half_day, session="regular"), provider, clock) as made:
        first = made.ingest()
        clock.advance(3 * 3600)
        second = made.ingest()

    assert first.outcomes[day("AAPL", half_day)].outcome is Outcome.PARTIAL
    assert second.outcomes[day("AAPL", half_day)].outcome is Outcome.COMPLETE


def test_a_regular_store_is_widened_without_asking_again_for_what_is_there(tmp_path: Path) -> None:
    early, during, late = minutes(TUESDAY, 2, start="10:00"), minutes(TUESDAY, 3), minutes(TUESDAY, 2, start="22:00")
    next_day = minutes(WEDNESDAY, 2)
    provider = ScriptedProvider({"AAPL": {TUESDAY: [*early, *during, *late], WEDNESDAY: next_day}})
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY, session="regular"), provider) as made:
        made.ingest()
    assert stored_rows(tmp_path, "AAPL", TUESDAY) == during
    provider.forget()

    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY), provider) as made:
        report = made.ingest()
        again = made.ingest()

    asked = [(str(request.window.start), str(request.window.end)) for request in provider.requests]
    assert sorted(asked) == [
        ("2024-01-02T09:00:00Z", "2024-01-02T14:30:00Z"),
        ("2024-01-02T21:00:00Z", "2024-01-03T14:30:00Z"),
        ("2024-01-03T21:00:00Z", "2024-01-04T01:00:00Z"),
    ]
    assert report.ok
    assert (again.planned, again.already_settled) == (0, 2)
    assert stored_rows(tmp_path, "AAPL", TUESDAY) == [*early, *during, *late]
    assert stored_rows(tmp_path, "AAPL", WEDNESDAY) == next_day


def test_a_widened_store_has_the_bytes_of_one_that_was_extended_from_the_start(tmp_path: Path) -> None:
    bars = {
        symbol: {
            date: [*minutes(date, 3, start="10:00"), *minutes(date, 5), *minutes(date, 2, start="22:30")]
            for date in (TUESDAY, WEDNESDAY, THURSDAY)
        }
        for symbol in ("AAPL", "MSFT")
    }
    settings: dict[str, Any] = {"timeframes": ["5m", "1d"]}
    for root, sessions in ((tmp_path / "widened", ("regular", "extended")), (tmp_path / "direct", ("extended",))):
        for session in sessions:
            asked = config(root, ["AAPL", "MSFT"], TUESDAY, THURSDAY, session=session, **settings)
            with pipeline(asked, ScriptedProvider(bars)) as made:
                assert made.ingest().ok

    widened, direct = contents(tmp_path / "widened"), contents(tmp_path / "direct")
    assert {name: digest for name, digest in widened.items() if not name.startswith("revisions")} == direct


def test_a_day_that_failed_while_it_was_widened_is_widened_the_next_time(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {TUESDAY: [*minutes(TUESDAY, 2), *minutes(TUESDAY, 1, start="22:00")]}})
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY, session="regular"), provider) as made:
        made.ingest()
    provider.forget()
    provider.errors[2] = ProviderUnavailableError("the night is broken")

    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), provider) as made:
        broken = made.ingest()
        provider.errors.clear()
        healed = made.ingest()
        settled = made.ingest()

    assert (broken.state, healed.state, settled.planned) == ("failed", "completed", 0)
    assert len(stored_rows(tmp_path, "AAPL", TUESDAY)) == 3


def test_an_extended_store_does_not_take_regular_sessions_and_both_are_named(tmp_path: Path) -> None:
    provider = ScriptedProvider({"AAPL": {TUESDAY: minutes(TUESDAY)}})
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), provider) as made:
        made.ingest()
    before = fingerprints(tmp_path)
    provider.forget()

    with (
        pipeline(config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY, session="regular"), provider) as made,
        pytest.raises(DatasetMismatchError, match=r"session extended.*session regular"),
    ):
        made.ingest()

    assert provider.requests == []
    assert fingerprints(tmp_path) == before


def test_extended_bars_among_regular_ones_are_left_out_silently(tmp_path: Path) -> None:
    before, during = minutes(TUESDAY, 2, start="10:00"), minutes(TUESDAY, 3)
    provider = ScriptedProvider(script={1: [[("AAPL", row) for row in (*before, *during)]]})
    exhausted: list[BarsExhausted] = []
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY, session="regular"), provider) as made:
        made.subscribe(BarsExhausted, exhausted.append)
        report = made.ingest()

    assert stored_rows(tmp_path, "AAPL", TUESDAY) == during
    assert (report.rejected, [event.unrequested for event in exhausted]) == (0, [0])
