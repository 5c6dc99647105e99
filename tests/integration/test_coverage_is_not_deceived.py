"""Losses that would like to pass for something else, and honest days that would be accused."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from attrs import evolve

from marketpipe.pipeline import Pipeline
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.errors import StoreBusyError, TransientProviderError
from marketpipe.testing import FakeClock, bar, sessions
from tests.support.child_processes import run
from tests.support.examples import some
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

SESSIONS = sessions("2024-03-01", "2024-03-28")
DATES = [str(session.trading_date) for session in SESSIONS]
FIRST, LAST, ODD = DATES[0], DATES[-1], DATES[8]
Keep = Callable[[int], bool]


def history(*symbols: str, odd: Keep = lambda _: True, dates: list[str] = DATES) -> dict[str, dict[str, list[Row]]]:
    """Liquid days; of the ``ODD`` one only those minutes after the open that ``odd`` keeps."""
    made = {date: minutes(date, 390, start="13:30" if date >= "2024-03-10" else "14:30") for date in dates}
    made[ODD] = [row for number, row in enumerate(made.get(ODD, [])) if odd(number)]
    return {symbol: {date: rows for date, rows in made.items() if rows} for symbol in symbols}


def found(report: CoverageReport) -> dict[str, str]:
    days = {str(day.symbol_day): str(day.finding.suspicion or day.verdict) for day in report.days()}
    return {day: verdict for day, verdict in days.items() if verdict != "complete"}


def ingested(root: Path, provider: ScriptedProvider, *symbols: str) -> Pipeline:
    made = pipeline(config(root, list(symbols), FIRST, LAST), provider)
    made.ingest()
    return made


@pytest.mark.parametrize("kept", some([lambda m: m < 9, lambda m: m < 4 or m >= 386, lambda m: m % 40 == 0]))
def test_an_outage_of_nearly_everything_does_not_excuse_itself(tmp_path: Path, kept: Keep) -> None:
    symbols = [*"ABCDEF"]
    with ingested(tmp_path, ScriptedProvider(history(*symbols, odd=kept)), *symbols) as made:
        assert found(made.coverage()) == {f"{symbol} {ODD}": "provider outage" for symbol in symbols}


def test_a_market_without_bars_is_an_outage_and_delists_no_symbol(tmp_path: Path) -> None:
    symbols = ("AAPL", "MSFT", "NVDA")
    with ingested(tmp_path, ScriptedProvider(history(*symbols, dates=DATES[:-6])), *symbols) as made:
        report = made.coverage()

    assert set(found(report).values()) == {"provider outage"}
    assert (report.ok, len(found(report))) == (False, 18)


def test_the_verdict_on_a_day_does_not_depend_on_the_range_asked_for(tmp_path: Path) -> None:
    bars = history("AAPL", "MSFT")
    lost = DATES[9:15]
    for date in lost:
        del bars["AAPL"][date]
    provider = ScriptedProvider(bars)
    with ingested(tmp_path, provider, "AAPL", "MSFT") as made:
        expected = dict.fromkeys((f"AAPL {date}" for date in lost), "withheld")
        assert found(made.coverage()) == expected
        assert found(made.coverage(end=lost[-1])) == expected
        assert found(made.coverage("AAPL", lost[0], lost[-1])) == expected
        assert found(made.coverage("AAPL", lost[0], lost[0])) == {f"AAPL {lost[0]}": "withheld"}
        provider.forget()
        made.ingest(end=lost[-1], retry_suspect=True)
        assert provider.asked == sorted(expected)


@pytest.mark.parametrize("kept", [lambda m: m % 30 == 29, lambda m: m % 9 == 0])
def test_bars_that_are_lost_here_and_there_are_missed(tmp_path: Path, kept: Keep) -> None:
    with ingested(tmp_path, ScriptedProvider(history("AAPL", odd=kept)), "AAPL") as made:
        assert found(made.coverage()) == {f"AAPL {ODD}": "too few bars"}


def test_a_store_of_three_sessions_is_judged_by_them(tmp_path: Path) -> None:
    holes = minutes(DATES[1], 390, start="14:30")
    thin = {date: minutes(date, 40, start="15:00") for date in DATES[:3]}
    liquid = {date: minutes(date, 390, start="14:30") for date in (DATES[0], DATES[2])}
    liquid[DATES[1]] = [row for i, row in enumerate(holes) if not (60 <= i < 105 or 200 <= i < 245)]
    for symbol, days, expected in (("AAPL", liquid, {f"AAPL {DATES[1]}": "holes"}), ("THIN", thin, {})):
        settings = config(tmp_path / symbol, [symbol], DATES[0], DATES[2])
        with pipeline(settings, ScriptedProvider({symbol: days})) as made:
            made.ingest()
            assert found(made.coverage()) == expected


def test_the_first_session_of_a_new_symbol_may_begin_late(tmp_path: Path) -> None:
    bars = history("NEW", "OLD")
    bars["NEW"] = {date: rows for date, rows in bars["NEW"].items() if date >= DATES[6]}
    bars["NEW"][DATES[6]] = bars["NEW"][DATES[6]][195:]
    with ingested(tmp_path, ScriptedProvider(bars), "NEW", "OLD") as made:
        assert found(made.coverage()) == {f"NEW {date}": "unlisted" for date in DATES[:6]}


def path_of(root: Path, symbol: str, date: str) -> Path:
    year, month, day = date.split("-")
    return root / "data" / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"


def test_a_file_on_a_day_without_a_session_is_suspect(tmp_path: Path) -> None:
    with ingested(tmp_path, ScriptedProvider(history("AAPL")), "AAPL") as made:
        shutil.copy2(path_of(tmp_path, "AAPL", ODD), path_of(tmp_path, "AAPL", "2024-03-09"))
        report = made.coverage()

    (gap,) = report.gaps()
    assert (report.ok, str(gap.first)) == (False, "2024-03-09")
    assert "move the file away" in str(gap.finding.detail)


def test_files_and_folders_of_impossible_dates_are_passed_over(tmp_path: Path) -> None:
    with ingested(tmp_path, ScriptedProvider(history("AAPL")), "AAPL") as made:
        day = path_of(tmp_path, "AAPL", ODD)
        shutil.copy2(day, day.with_name("day=99.parquet"))
        shutil.copytree(day.parent, day.parent.parent / "month=13")

        assert made.validate().ok
        assert made.aggregate(timeframes=["1d"]).ok
        assert made.load("AAPL", ODD, ODD, "1d")["volume"].to_pylist() == [390_000.0]


def test_silence_about_a_day_whose_bars_are_known_is_no_answer(tmp_path: Path) -> None:
    bars = {"THIN": {date: [bar(f"{date}T{hour}:00:00Z") for hour in range(15, 20)] for date in DATES}}
    with ingested(tmp_path, ScriptedProvider(bars), "THIN") as made:
        path_of(tmp_path, "THIN", ODD).unlink()
        del bars["THIN"][ODD]
    with ingested(tmp_path, ScriptedProvider(bars), "THIN") as made:
        assert found(made.coverage()) == {f"THIN {ODD}": "missing"}


def test_a_file_where_the_state_knows_of_none_is_asked_for_and_recorded(tmp_path: Path) -> None:
    bars = history("AAPL")
    late = bars["AAPL"].pop(ODD)
    provider = ScriptedProvider(bars)
    with ingested(tmp_path, provider, "AAPL") as made:
        provider.bars["AAPL"][ODD] = late
        other = config(tmp_path, ["AAPL"], ODD, ODD, state_path=tmp_path / "other" / "state.sqlite")
        with pipeline(other, provider) as killed_before_its_checkpoint:
            killed_before_its_checkpoint.ingest()
        assert found(made.coverage()) == {f"AAPL {ODD}": "file not recorded"}
        provider.forget()
        made.ingest()

        assert provider.asked == [f"AAPL {ODD}"]
        assert made.coverage().ok


def test_a_retry_that_fails_takes_nothing_back(tmp_path: Path) -> None:
    provider = ScriptedProvider(history("AAPL", odd=lambda m: not 100 <= m < 150))
    with ingested(tmp_path, provider, "AAPL") as made:
        provider.errors["AAPL"] = TransientProviderError("503")
        assert not made.ingest(retry_suspect=True).ok
        assert found(made.coverage()) == {f"AAPL {ODD}": "holes"}


def test_what_an_update_asked_for_beyond_the_configured_end_is_covered(tmp_path: Path) -> None:
    provider, clock = ScriptedProvider(history("AAPL")), FakeClock("2024-03-16T12:00:00Z")
    with pipeline(config(tmp_path, ["AAPL"], FIRST, DATES[10]), provider, clock) as made:
        made.ingest()
        clock.advance(14 * 86_400)
        provider.errors["AAPL"] = TransientProviderError("503")
        assert not made.update().ok
        assert str(made.coverage().last) == LAST
        assert set(found(made.coverage()).values()) == {"missing"}


def test_two_stores_in_one_state_file_do_not_wait_for_each_other(tmp_path: Path) -> None:
    first = config(tmp_path, ["AAPL"], ODD, ODD)
    second = evolve(
        first,
        **{
            f"{name}_path": tmp_path / f"other-{name}"
            for name in ("output", "aggregates", "quarantine", "revisions", "official")
        },
    )
    done: list[bool] = []

    def update_the_other(_: object) -> None:
        with pipeline(second, ScriptedProvider(history("AAPL"))) as other:
            done.append(other.update(["AAPL"]).ok)

    from marketpipe import JobStarted

    with pipeline(first, ScriptedProvider(history("AAPL"))) as made:
        made.subscribe(JobStarted, update_the_other)
        made.update()
    assert done == [True]
    assert issubclass(StoreBusyError, Exception)


def test_as_of_survives_a_lost_file_a_tampered_one_and_a_copy_without_times(tmp_path: Path) -> None:
    clock, provider = FakeClock("2025-06-01T00:00:00Z"), ScriptedProvider({"AAPL": {ODD: minutes(ODD, 3, price=100.0)}})
    path = path_of(tmp_path, "AAPL", ODD)

    def restate(price: float) -> None:
        clock.advance(3600)
        provider.bars["AAPL"][ODD] = minutes(ODD, 3, price=price)
        assert made.audit(start=ODD, adopt=True).ok

    def price_at(hour: str) -> float:
        opens: list[float] = made.load("AAPL", ODD, ODD, as_of=f"2025-06-01T{hour}:30:00Z")["open"].to_pylist()
        return opens[0]

    with pipeline(config(tmp_path, ["AAPL"], ODD, ODD), provider, clock) as made:
        made.ingest()
        restate(200.0)
        clock.advance(3600)
        path.unlink()
        made.ingest()
        assert [price_at(hour) for hour in ("00", "01", "02")] == [100.0, 200.0, 200.0]
        pq.write_table(pq.read_table(path), path)  # readable, and not what was recorded
        made.ingest()
        restate(300.0)
        os.utime(path)
        restate(400.0)
        assert [price_at(hour) for hour in ("00", "01", "02", "03", "04")] == [100.0, 200.0, 200.0, 300.0, 400.0]


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from tests.support.pipeline_ring import config, pipeline
from tests.support.scripted_provider import ScriptedProvider
settings = config(Path(sys.argv[1]), ["AAPL"], sys.argv[2], sys.argv[3])
with pipeline(settings, ScriptedProvider()) as first:
    first.coverage(), first.plan(), first.status()  # the other user may not read what they import
os.setgid(65534), os.setuid(65534)
with pipeline(settings, ScriptedProvider()) as reader:
    print(reader.coverage().ok, reader.plan().planned, reader.status().symbols[0].complete)
"""


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="only root can become another user")
def test_a_store_that_can_only_be_read_is_covered(readable_folder: Path) -> None:
    with ingested(readable_folder, ScriptedProvider(history("AAPL")), "AAPL"):
        """Closed before the store is shared out."""
    command = [sys.executable, "-c", READ_AS_NOBODY, str(readable_folder), FIRST, LAST]
    done = run(command, cwd=Path(__file__).parents[2])
    assert done.stdout == f"True 0 {len(DATES)}\n", done.stderr
