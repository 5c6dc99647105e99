from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console

from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.events import (
    JobStarted,
    OfficialDaysRequested,
    RateLimitWaited,
    RequestCompleted,
    RequestRetried,
    SymbolDaysRecorded,
)
from marketpipe.terminal.progress import ProgressLines, progress_bar, progress_line
from marketpipe.terminal.run_counts import RunCounts
from marketpipe.testing import FakeClock, bars_request
from tests.support.builders import day

TUESDAY = "2024-01-02"


def recorded(days: int, rows: int = 390) -> SymbolDaysRecorded:
    return SymbolDaysRecorded(1, "p", (SymbolDayOutcome(day("AAPL", TUESDAY), Outcome.COMPLETE, rows),) * days)


def a_run_in_progress(clock: FakeClock) -> RunCounts:
    counts = RunCounts(clock.monotonic)
    counts.add(JobStarted(1, "p", 250_000, 1_000, 10))
    clock.advance(600)
    counts.add(recorded(10_000))
    counts.add(RequestCompleted("p", 0.1, rate_limit_remaining=999_999))
    return counts


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_count_percentage_and_time_to_go_are_on_the_line_at_any_width(width: int) -> None:
    line = progress_line(a_run_in_progress(FakeClock()), width).plain
    for text in ("ingesting", "10,000/250,000", "4%", "ETA 4:00:00"):
        assert text in line
    assert len(line) <= width


@pytest.mark.parametrize("width", [80, 140])
def test_a_wait_comes_before_everything_that_may_be_left_out(width: int) -> None:
    counts = a_run_in_progress(FakeClock())
    counts.add(RateLimitWaited("p", 42.0))
    line = progress_line(counts, width).plain
    assert "rate limit: 42 s" in line
    assert "999,999" not in line
    assert "ETA 4:16:48" in line


def test_a_retry_is_on_the_line_of_a_narrow_terminal() -> None:
    counts = a_run_in_progress(FakeClock())
    counts.add(RequestRetried("p", 2, 0.0, "alpaca answered 503: Service Unavailable"))
    assert "provider: HTTP 503, try 3" in progress_line(counts, 80).plain


def test_a_wide_line_has_the_pace_and_the_requests() -> None:
    line = progress_line(a_run_in_progress(FakeClock()), 140).plain
    assert line.endswith("3,900,000 bars · 6,500 bars/s · 1 request · 1,000 already settled")


def test_the_last_line_has_no_pace_beside_that_of_the_summary() -> None:
    clock = FakeClock()
    counts = RunCounts(clock.monotonic)
    counts.add(JobStarted(1, "p", 2, 0, 1))
    clock.advance(83)
    counts.add(recorded(2))
    line = progress_line(counts, 140).plain
    assert "2/2 100% in 0:01:23 · 780 bars" in line
    assert "bars/s" not in line


def test_the_live_line_has_its_signs_although_standard_output_is_replaced_meanwhile() -> None:
    output = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with progress_bar(Console(file=output, force_terminal=True, width=100, color_system="standard")) as show:
        show(a_run_in_progress(FakeClock()))
    output.seek(0)
    drawn = output.read()
    assert " · " in drawn
    assert "\x1b[1mingesting" in drawn


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_terminal_has_room_for_the_ctrl_c_that_it_writes_behind_the_line(width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    with progress_bar(console) as show:
        for bars in range(3, 12):  # the line has any length, and would fill the terminal for one of them
            counts = a_run_in_progress(FakeClock())
            counts.bars = 10**bars
            show(counts)
            console.print()  # draws the line again
    drawn = re.findall(r"ingesting[^\r\n\x1b]*", output.getvalue())
    assert width - 20 < max(map(len, drawn)) <= width - 3
    assert ("─" in drawn[0]) is (width >= 80)


def test_what_is_printed_to_a_file_meanwhile_does_not_go_to_the_terminal() -> None:
    before = sys.stdout
    with progress_bar(Console(file=io.StringIO(), force_terminal=True)):
        assert sys.stdout is before


def test_a_terminal_without_unicode_gets_ascii() -> None:
    line = progress_line(a_run_in_progress(FakeClock()), 140, "ascii").plain
    assert line.isascii()
    assert "ingesting ------------------------ 10,000/250,000 4%" in line


def test_an_ingestion_without_anything_to_request_shows_that() -> None:
    counts = RunCounts(FakeClock().monotonic)
    counts.add(JobStarted(1, "p", 0, 732, 0))
    assert progress_line(counts, 80).plain == "ingesting nothing to request · 0 bars · 0 requests · 732 already settled"


def test_plain_lines_come_every_five_seconds_and_once_if_a_long_wait_begins() -> None:
    clock, written = FakeClock(), list[str]()
    counts, lines = RunCounts(clock.monotonic), ProgressLines(written.append, clock.monotonic)

    def event(seconds: float, event: object) -> None:
        clock.advance(seconds)
        counts.add(event)  # type: ignore[arg-type]
        lines.show(counts)

    event(0, OfficialDaysRequested(bars_request(["AAPL"], TUESDAY, TUESDAY)))
    event(1, JobStarted(1, "p", 4, 0, 1))
    event(1, recorded(1))
    assert written == ["requesting official days, 0 bars, 0 requests"]
    event(1, RateLimitWaited("p", 30.0))
    event(0, RateLimitWaited("p", 30.0))
    assert written[1:] == [
        "1 of 4 symbol-days, 25%, ETA 0:01:36, rate limit: 30 s, 390 bars, 195 bars/s, 0 requests",
    ]
    event(30, recorded(1))
    event(0, recorded(2))
    event(0, recorded(0))
    assert [line.split(",")[0] for line in written[2:]] == ["2 of 4 symbol-days", "4 of 4 symbol-days"]


def test_months_are_counted_in_their_own_unit_and_what_takes_five_seconds_writes_no_line() -> None:
    clock, written = FakeClock(), list[str]()
    counts = RunCounts(clock.monotonic, activity="compacting", unit="month")
    lines = ProgressLines(written.append, clock.monotonic, first_after=5.0)
    assert progress_line(counts, 60).plain == "compacting"
    for done in range(3):
        counts.step(done, 4)
        lines.show(counts)
        clock.advance(3)
    assert written == ["compacting: 2 of 4 months, 50%, ETA 0:00:06"]
    assert progress_line(counts, 60).plain == "compacting 2/4 50% ETA 0:00:09"
    counts.step(4, 4)
    lines.show(counts)
    assert written[1:] == ["compacting: 4 of 4 months"]
