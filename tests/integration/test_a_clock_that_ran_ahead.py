"""What was recorded at a moment that had not come is doubted, said and requested again; one clock is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe import ClockError, Pipeline, SessionVerdict
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.testing import FakeClock, bars_request
from tests.support.clients import scripted_alpaca
from tests.support.pipeline_ring import THURSDAY, TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider
from tests.support.scripted_transport import Answer

HALF_OF_WEDNESDAY = "2024-01-03T18:00:00Z"
FRIDAY_NOON = "2024-01-05T17:00:00Z"


def provider(until: str) -> ScriptedProvider:
    """Return a provider of bars up to a moment, whatever the clock of its client shows."""
    last = Timestamp.parse(until)
    days = {
        day: [row for row in minutes(day, 390) if Timestamp(row["timestamp"]) < last]
        for day in (TUESDAY, WEDNESDAY, THURSDAY)
    }
    return ScriptedProvider({"AAPL": days})


def store(root: Path, now: str, until: str) -> Pipeline:
    return pipeline(config(root, ["AAPL"], TUESDAY, THURSDAY, session="regular"), provider(until), FakeClock(now))


def found(opened: Pipeline) -> dict[str, SessionVerdict]:
    return {str(day.symbol_day.trading_date): day for day in opened.coverage().days()}


def settle_the_future(root: Path) -> None:
    with store(root, "2024-01-10T12:00:00Z", HALF_OF_WEDNESDAY) as ahead:
        assert ahead.ingest().ok


def test_coverage_says_that_the_clock_was_ahead(tmp_path: Path) -> None:
    settle_the_future(tmp_path)
    with store(tmp_path, HALF_OF_WEDNESDAY, HALF_OF_WEDNESDAY) as right:
        days = found(right)
    assert {date: str(day.verdict) for date, day in days.items()} == {TUESDAY: "missing", WEDNESDAY: "missing"}
    assert days[WEDNESDAY].finding.detail == (
        "recorded at 2024-01-10T12:00:00Z by a clock that was ahead; it is requested again"
    )


@pytest.mark.parametrize("ask", ["ingest", "update"])
def test_what_it_settled_is_planned_and_requested_again(tmp_path: Path, ask: str) -> None:
    settle_the_future(tmp_path)
    with store(tmp_path, FRIDAY_NOON, FRIDAY_NOON) as right:
        assert right.plan().planned == 3
        getattr(right, ask)()
        assert {date: day.bars for date, day in found(right).items()} == dict.fromkeys(
            (TUESDAY, WEDNESDAY, THURSDAY), 390
        )
        assert right.plan().planned == 0


def test_a_record_of_the_future_stays_failed_once_a_right_clock_was_seen(tmp_path: Path) -> None:
    """The moment comes at last, and the record would look true; but an ingestion in between has taken it back."""
    settle_the_future(tmp_path)
    with store(tmp_path, HALF_OF_WEDNESDAY, HALF_OF_WEDNESDAY) as right:
        right.ingest()
    with store(tmp_path, "2024-01-11T12:00:00Z", "2024-01-11T12:00:00Z") as later:
        assert later.ingest().planned == 2
        assert later.coverage().ok
        assert {day.bars for day in found(later).values()} == {390}


def test_bars_that_are_known_since_a_moment_to_come_are_suspect_until_then(tmp_path: Path) -> None:
    settle_the_future(tmp_path)
    with store(tmp_path, FRIDAY_NOON, FRIDAY_NOON) as right:
        right.ingest()
        day = found(right)[TUESDAY]
        assert (str(day.verdict), str(day.finding.suspicion)) == ("suspect", "clock was ahead")
    with store(tmp_path, "2024-01-10T12:00:01Z", FRIDAY_NOON) as later:
        assert later.coverage().ok


def test_clocks_of_several_machines_may_differ_a_little(tmp_path: Path) -> None:
    with store(tmp_path, "2024-01-05T12:00:00Z", FRIDAY_NOON) as one:
        one.ingest()
    with store(tmp_path, "2024-01-05T11:56:00Z", FRIDAY_NOON) as other:
        assert (other.plan().planned, other.coverage().ok) == (0, True)


ASKED = bars_request(("AAPL",), "2024-03-11", "2024-03-11")
BARS = {"bars": {"AAPL": [{"t": "2024-03-11T14:30:00Z", "o": 5, "h": 5, "l": 5, "c": 5, "v": 1}]}}


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": "Mon, 02 Jun 2025 11:57:00 GMT"},
        {"Date": "Sun, 02 Mar 2025 12:00:00 GMT"},
        {"Date": "Mon, 02 Jun 2025 10:00:00 GMT", "Age": "7000"},
    ],
)
def test_a_clock_ahead_of_the_provider_stops_the_job_and_names_both_times(headers: dict[str, str]) -> None:
    setting, transport = scripted_alpaca(Answer(body=BARS, headers=headers))  # it is 2025-06-02T12:00:00Z
    with pytest.raises(ClockError, match=r"shows 2025-06-02T12:00:00Z, that of alpaca 2025-0\d-02T1"):
        list(setting.client.fetch_batch(ASKED))
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Date": "Mon, 02 Jun 2025 11:59:00 GMT"},
        {"Date": "Tue, 03 Jun 2025 12:00:00 GMT"},
        {"Date": "Mon, 02 Jun 2025 10:00:00 GMT", "Age": "7200"},
        {"Date": "yesterday"},
        {"Date": "Mon, 99 Jun 2025 10:00:00 GMT"},
        {"Date": "Mon, 02 Jun 2025 10:00:00 GMT", "Age": "999999999999999"},
    ],
    ids=["none", "a minute ahead", "behind", "from a cache", "no date", "no such day", "an endless age"],
)
def test_a_clock_that_settles_nothing_too_early_is_used(headers: dict[str, str]) -> None:
    setting, _ = scripted_alpaca(Answer(body=BARS, headers=headers))
    assert [page.num_rows for page in setting.client.fetch_batch(ASKED)] == [1]
